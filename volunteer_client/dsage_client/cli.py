"""`dsage join`: give a project server this computer's time."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click


@click.command(short_help="Give this computer's time to a server.")
@click.argument("link", required=False)
@click.option(
    "--when",
    type=click.Choice(["always"]),
    required=True,
    help="When to compute. So far there is one choice: always, at the lowest priority. "
    "Working only while nobody uses the computer comes later.",
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
    when: str,
    slots: int | None,
    public: bool,
    home: Path | None,
    tags: tuple[str, ...],
    own_work: bool,
    as_json: bool,
) -> None:
    """Give this computer's time to a server.

    LINK is an invite from its operator. The first time it makes you a volunteer there (put it in quotes: it holds
    # and &); after that
    `dsage join --when always` is enough. Ctrl-C stops in good order: begun units go on at the next start.
    """
    from dsage.home import Home
    from dsage.labels import labels
    from dsage.trust.invite import Link
    from dsage_client import events
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
    ended_by = asyncio.run(volunteer(settings, None if link is None else Link.parse(link), tell))
    if ended_by == signal.SIGINT:
        context.exit(130)
