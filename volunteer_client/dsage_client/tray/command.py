"""`dsage tray`: the session helper."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Show the icon beside the clock, and give the computer back when you return.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the client; that of `dsage join` if not given.",
)
@click.option(
    "--icon",
    type=click.Choice(["auto", "bus", "pystray", "none"]),
    default="auto",
    show_default=True,
    help="How to show the icon: over the session's bus, by pystray, or not at all.",
)
def tray(home: Path | None, icon: str) -> None:
    """Show the icon beside the clock, and give the computer back when you return.

    One runs in each desktop session, beside the client that `dsage join` starts: it senses whether somebody uses the
    computer and stops the work itself when you come back. It ends with the session, or by its menu.
    """
    import asyncio
    import os
    import signal

    from dsage.home import Home
    from dsage_client import words
    from dsage_client.events import Event, plain
    from dsage_client.helper import Helper, only_one
    from dsage_client.idle.choose import combined
    from dsage_client.tray.choose import choose

    words.speak()
    folder = (Home() if home is None else Home(home.absolute())).client
    log = plain()

    def tell(text: str) -> None:
        log(Event(kind="helper", text=text))

    with only_one(folder, os.environ):
        shown = choose(icon, os.environ, tell)
        helper = Helper(folder, combined(), shown, tell)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: helper.end())
        if shown is None:
            asyncio.run(helper.run())
        else:
            shown.run(helper.run)
