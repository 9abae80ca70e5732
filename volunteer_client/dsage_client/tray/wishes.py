"""What the menu's wishes do: most of them ask the agent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dsage.errors import NoAgent, UsageError
from dsage_client.door.desk import Desk
from dsage_client.tray.model import Do, Wish
from dsage_client.words import _

UNIT: Final = "dsage.service"
"""The systemd user unit that a package installs for the agent."""

_VIEW: Final = "dsage_client.saver"


def can_view() -> bool:
    """Whether this installation has the full-screen view."""
    return find_spec(_VIEW) is not None


def can_start(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the agent can be started from here: it was installed as a service of the user."""
    own = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
    return any((folder / "systemd/user" / UNIT).exists() for folder in (own, Path("/etc"), Path("/usr/lib")))


async def do(wish: Wish, folder: Path) -> None:
    """Do what was wished; quitting the helper itself is its own affair.

    Raises NoAgent and what the agent answers, and UsageError for what this desktop cannot do.
    """
    match wish.do:
        case Do.QUIT:
            return
        case Do.START:
            await _start()
        case Do.VIEW:
            await _spawn([sys.executable, "-m", _VIEW, "--full-screen"], {"DSAGE_HOME": str(folder.parent)})
        case _:
            async with await Desk.open(folder) as desk:
                await _ask(desk, wish)


async def browse(address: str, command: str = "dsage manager") -> None:
    """Open a page in the owner's browser; `command` does the same. Raises UsageError if there is no browser."""
    import webbrowser

    if not await asyncio.to_thread(webbrowser.open, address):
        raise UsageError(_("no browser opened"), hint=_("Run `%(command)s` in a terminal.") % {"command": command})


async def _ask(desk: Desk, wish: Wish) -> None:
    match wish.do:
        case Do.MANAGER:
            await browse(await desk.manager())
        case Do.PAGE:
            await browse(await desk.page(wish.what), "dsage me")
        case Do.PAUSE:
            await desk.pause(wish.what)
        case Do.RESUME:
            await desk.resume()
        case Do.ALWAYS:
            await desk.always()
        case Do.FINISH:
            await desk.finish()
        case Do.STOP:
            await desk.stop()


async def _start() -> None:
    if not can_start():
        raise NoAgent(_("DSage does not run on this computer"))
    process = await asyncio.create_subprocess_exec("systemctl", "--user", "--no-block", "start", UNIT)
    if await process.wait():
        raise NoAgent(_("DSage could not be started"), hint="systemctl --user status dsage")


async def _spawn(command: list[str], more: dict[str, str]) -> None:
    await asyncio.create_subprocess_exec(
        *command, env=os.environ | more, stdin=subprocess.DEVNULL, start_new_session=True
    )
