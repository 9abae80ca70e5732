"""Which tray this session can have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from dsage_client.tray import Tray
from dsage_client.words import _

Kind: TypeAlias = Literal["auto", "bus", "pystray", "none"]


def choose(kind: Kind, environment: Mapping[str, str], tell: Callable[[str], None]) -> Tray | None:
    """Return the tray for a session, None if it has to do without; `tell` hears why.

    `auto` takes the bus on Linux wherever there is one, and pystray elsewhere.
    """
    if kind == "none":
        return None
    address = session_bus(environment)
    if kind == "bus" or (kind == "auto" and sys.platform.startswith("linux") and address):
        if address and find_spec("dbus_fast"):
            from dsage_client.tray.sni import BusTray

            return BusTray(address, tell)
        if kind == "bus":
            tell(_("There is no icon: this session has no bus, or the package dbus-fast is not installed."))
            return None
    from dsage_client.tray import pystray_tray

    return pystray_tray.load(tell)


def session_bus(environment: Mapping[str, str]) -> str:
    """Return the address of the session's bus, "" if there is none."""
    if address := environment.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    socket = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{_uid()}") / "bus"
    return f"unix:path={socket}" if socket.is_socket() else ""


def _uid() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
