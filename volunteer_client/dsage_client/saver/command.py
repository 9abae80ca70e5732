"""`dsage saver`: the screensaver, and the full-screen view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dsage_client.saver.arguments import Where


@click.command(
    short_help="Show what this computer computes, as a screensaver or on the whole screen.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--full-screen", is_flag=True, help="Cover every monitor; a key, a click or the mouse ends it.")
@click.option("--window-id", "-window-id", default="", metavar="ID", help="Draw into this window.")
@click.option("--root", "-root", is_flag=True, help="Draw into the window that XSCREENSAVER_WINDOW names.")
@click.option("--calm", is_flag=True, help="Move little and slowly, whatever the preferences say.")
@click.option("--no-names", is_flag=True, help="Leave out your pseudonym and your team.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the client; that of `dsage join` if not given.",
)
@click.argument("windows", nargs=-1, type=click.UNPROCESSED, metavar="[/s | /p HWND | /c]")
def saver(
    full_screen: bool,
    window_id: str,
    root: bool,
    calm: bool,
    no_names: bool,
    home: Path | None,
    windows: tuple[str, ...],
) -> None:
    """Show what this computer computes, as a screensaver or on the whole screen.

    Without options it opens a window. It reads the client's status file and nothing else: no network, no keys.
    """
    import os

    from dsage.home import Home
    from dsage_client.saver.arguments import where

    place = where(os.environ, window_id=window_id, root=root, full_screen=full_screen, slashed=windows)
    if place.kind == "settings":
        click.echo("What the screensaver shows is a preference: `dsage manager`, or `dsage prefs screen=calm`.")
        return
    folder = (Home() if home is None else Home(home.absolute())).client
    _run(place, folder, calm=calm, names=not no_names)


def _run(place: Where, folder: Path, *, calm: bool, names: bool) -> None:
    """Draw until the window goes away. A signal ends the process at once, in whatever it does."""
    import os
    import signal

    from dsage.errors import UsageError
    from dsage_client.saver.motion import reduced
    from dsage_client.saver.show import Show

    try:
        import tkinter

        from dsage_client.saver.canvas import Screen
    except ImportError:
        raise UsageError(
            "the screensaver draws with Tk, which this Python lacks",
            hint="Install it: `sudo apt install python3-tk` on Debian and Ubuntu.",
        ) from None
    if hasattr(os, "nice"):
        os.nice(19)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    show = Show(folder, calm=calm or reduced(os.environ), names=names)
    try:
        Screen(place, show.moment, show.wait_s).run()
    except OSError as error:
        raise UsageError(f"the screensaver cannot draw: {error}") from None
    except tkinter.TclError as error:
        raise UsageError(
            f"the screensaver has no screen to draw on: {error}", hint="It needs a graphical session."
        ) from None


def main() -> None:
    """Run the command as `dsage saver` does, its errors as sentences."""
    import sys

    from dsage.cli.main import main as command_line

    sys.exit(command_line(["saver", *sys.argv[1:]]))
