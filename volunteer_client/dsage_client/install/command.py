"""`dsage autostart`: whether the client starts with the session, and the files by which it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dsage_client.install.switch import Switch


@click.group(short_help="Start the client with your session, or not.")
def autostart() -> None:
    """Start the client with your session, or not.

    A package switches it on; after an installation by pip or pipx this does.
    """


@autostart.command(short_help="Start the client with your session.")
def on() -> None:
    """Start the client with your session: agent, session helper, menu entry, dsage:// links."""
    for path in _switch().on():
        click.echo(path)


@autostart.command(short_help="Do not start the client with your session.")
def off() -> None:
    """Do not start the client with your session. What runs now goes on until you log out."""
    for path in _switch().off():
        click.echo(path)


@autostart.command(short_help="Say whether the client starts with your session.")
def state() -> None:
    """Say whether the client starts with your session: `on` or `off`."""
    click.echo("on" if _switch().is_on() else "off")


@autostart.command(short_help="Write the files without switching anything on.")
@click.option("--system", type=click.Choice(["linux", "macos", "windows"]), help="Default: this one.")
@click.option(
    "--prefix",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder below which they are written, in place of your home.",
)
@click.option("--everyone", is_flag=True, help="As a package for Linux has them, for every user of a computer.")
@click.option("--program", help="The command that they call. Default: this installation.")
def write(system: str | None, prefix: Path, everyone: bool, program: str | None) -> None:
    """Write the files that start the client on a system below a folder, for packages and for people who look first."""
    from dsage.errors import StorageFull, UsageError
    from dsage_client.install import switch
    from dsage_client.install.autostart import EVERYONE, PERSON, SYSTEMS, files

    kind = next((each for each in SYSTEMS if each == system), switch.this_system())
    if everyone and kind != "linux":
        raise UsageError("--everyone is for Linux only", hint="Leave --everyone away.")
    called = [program] if program else switch.this_program()
    try:
        for path in switch.write_all(files(kind, called, EVERYONE if everyone else PERSON), prefix):
            click.echo(path)
    except OSError as error:
        raise StorageFull(f"{error.filename} cannot be written: {error.strerror}") from error


def _switch() -> Switch:
    import os

    from dsage_client.install.switch import Switch

    return Switch(Path.home(), environ=dict(os.environ))
