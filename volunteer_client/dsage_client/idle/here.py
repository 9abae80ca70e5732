"""What the agent itself knows of the computer's user, where no session helper tells it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dsage_client.guest.seen import Presence
from dsage_client.idle.terminals import terminals_idle_s

SESSIONS: Final = Path("/run/systemd/sessions")
SOCKETS: Final = Path("/tmp/.X11-unix")


def graphical() -> bool:
    """Say whether somebody may sit at a desktop of this computer: then only a helper in it knows."""
    try:
        return any(_is_desktop(path) for path in SESSIONS.iterdir() if path.is_file())
    except OSError:
        pass
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    try:
        return any(SOCKETS.iterdir())
    except OSError:
        return False


def here() -> Presence:
    """Return what is known without a session: on a computer without a desktop, from its terminals."""
    if graphical():
        return Presence(idle_s=None, sensor="no session helper")
    return Presence(idle_s=terminals_idle_s(), quality="poll", sensor="terminals")


def _is_desktop(path: Path) -> bool:
    try:
        said = dict(line.partition("=")[::2] for line in path.read_text().splitlines())
    except OSError:
        return False
    return said.get("TYPE") in ("x11", "wayland", "mir") and said.get("CLASS", "user") == "user"
