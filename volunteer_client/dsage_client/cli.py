"""`dsage join`: give a project server this computer's time."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dsage.cli.options import yes_option

if TYPE_CHECKING:
    from dsage_client.door.words import Newcomer

SHOWABLE: Final = ("leaderboard", "discoveries")
"""What others may see of a volunteer."""


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
    "--show",
    "shown",
    type=click.Choice(SHOWABLE),
    multiple=True,
    help="What others may see of you when you join: your pseudonym on the leaderboard, or beside what your computers "
    "find. Nothing if not given; `dsage privacy` changes it later. May be repeated.",
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
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per event on stdout.")
@click.pass_context
def join(
    context: click.Context,
    link: str | None,
    when: str | None,
    slots: int | None,
    shown: tuple[str, ...],
    home: Path | None,
    tags: tuple[str, ...],
    own_work: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Give this computer's time to a server.

    LINK is an invite from its operator. The first time it makes you a volunteer there (put it in quotes: it holds
    # and &); on a terminal you first see what runs there, for whom and under which name, and are asked. After that
    `dsage join` is enough. With the link of one more server, the computer works for both. Ctrl-C stops in good order:
    begun units go on at the next start.
    """
    from dsage.cli.asking import can_ask
    from dsage.errors import Conflict, SandboxRefused
    from dsage.home import Home
    from dsage.labels import labels

    if sys.platform == "win32" or sys.platform == "darwin":
        raise SandboxRefused(
            "this computer cannot run work yet: its system has no sandbox that DSage trusts",
            hint="Linux computers can; for Windows and macOS it comes with the WebAssembly runtime.",
        )
    from dsage.trust.invite import Link
    from dsage.wire import Privacy
    from dsage_client import events
    from dsage_client.door.words import Newcomer
    from dsage_client.guest import preferences
    from dsage_client.joining import volunteer
    from dsage_client.settings import Settings, cores

    settings = Settings(
        folder=(Home() if home is None else Home(home.absolute())).client,
        slots=cores() if slots is None else slots,
        own_work=own_work,
        tags=labels(tags),
    )
    tell = events.json_lines() if as_json else events.plain()
    kept, _ = preferences.load(settings.preferences_file)
    wishes = kept if when is None else kept.changed({"when": when})
    wanted = None if link is None else Link.parse(link)
    newcomer = Newcomer(shown=Privacy(**{name: name in shown for name in SHOWABLE}))
    if wanted is not None and can_ask() and not (yes or as_json or settings.of(wanted.server_id).folder.exists()):
        from dsage_client.consent import agreed

        newcomer = agreed(wanted, newcomer.shown, wishes)
    if when is not None:
        wishes.save(settings.preferences_file)
    try:
        ended_by = asyncio.run(volunteer(settings, wanted, tell, newcomer=newcomer))
    except Conflict:
        if link is None or not asyncio.run(_handed_over(settings.folder, link, newcomer)):
            raise
        return
    if ended_by == signal.SIGINT:
        context.exit(130)


async def _handed_over(folder: Path, link: str, newcomer: Newcomer) -> bool:
    """Let the client that runs already join one more server; say whether there is one that listens."""
    from dsage.errors import NoAgent
    from dsage_client.door.desk import Desk

    try:
        async with await Desk.open(folder) as desk:
            status = await desk.join(link, newcomer)
    except NoAgent:
        return False
    click.echo(status.sentence)
    return True
