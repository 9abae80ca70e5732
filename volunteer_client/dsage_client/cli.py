"""`dsage join`: give a project server this computer's time."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click


@click.command(short_help="Give this computer's time to a server.")
@click.argument("link", required=False)
@click.option(
    "--when",
    type=click.Choice(["idle", "always", "never"]),
    help="When to compute: while nobody uses the computer (as a new client does), always at the lowest priority, or "
    "never. It is kept, as by `dsage prefs when=...`.",
)
@click.option(
    "--slots", type=click.IntRange(1, 256), help="How many units to run at a time; one per core if not given."
)
@click.option(
    "--public/--private",
    default=False,
    help="Whether the leaderboard and discoveries may show your pseudonym; decided when you join. Default: private.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for keys and unfinished work; two clients on one computer need one each.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="A label of this computer, such as gpu or lab-2: researchers may ask for computers that have it. "
    "May be repeated.",
)
@click.option(
    "--own-work",
    is_flag=True,
    help="Accept a weaker sandbox where bubblewrap does not work, because the server is your own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per event on stdout.")
@click.pass_context
def join(
    context: click.Context,
    link: str | None,
    when: str | None,
    slots: int | None,
    public: bool,
    home: Path | None,
    tags: tuple[str, ...],
    own_work: bool,
    as_json: bool,
) -> None:
    """Give this computer's time to a server.

    LINK is an invite from its operator. The first time it makes you a volunteer there (put it in quotes: it holds
    # and &); after that `dsage join` is enough. With the link of one more server, the computer works for both. Ctrl-C
    stops in good order: begun units go on at the next start.
    """
    from dsage.errors import Conflict, SandboxRefused
    from dsage.home import Home
    from dsage.labels import labels

    if sys.platform == "win32" or sys.platform == "darwin":
        raise SandboxRefused(
            "this computer cannot run work yet: its system has no sandbox that DSage trusts",
            hint="Linux computers can; for Windows and macOS it comes with the WebAssembly runtime.",
        )
    from dsage.trust.invite import Link
    from dsage_client import events
    from dsage_client.guest import preferences
    from dsage_client.joining import volunteer
    from dsage_client.settings import Settings, cores

    settings = Settings(
        folder=(Home() if home is None else Home(home.absolute())).client,
        slots=cores() if slots is None else slots,
        public=public,
        own_work=own_work,
        tags=labels(tags),
    )
    tell = events.json_lines() if as_json else events.plain()
    if when is not None:
        kept, _ = preferences.load(settings.preferences_file)
        kept.changed({"when": when}).save(settings.preferences_file)
    wanted = None if link is None else Link.parse(link)
    try:
        ended_by = asyncio.run(volunteer(settings, wanted, tell))
    except Conflict:
        if link is None or not asyncio.run(_handed_over(settings.folder, link, public)):
            raise
        return
    if ended_by == signal.SIGINT:
        context.exit(130)


async def _handed_over(folder: Path, link: str, public: bool) -> bool:
    """Let the client that runs already join one more server; say whether there is one that listens."""
    from dsage.errors import NoAgent
    from dsage_client.door.desk import Desk

    try:
        async with await Desk.open(folder) as desk:
            status = await desk.join(link, public=public)
    except NoAgent:
        return False
    click.echo(status.sentence)
    return True
