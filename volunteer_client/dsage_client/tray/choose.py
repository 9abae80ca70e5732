"""Which tray this session can have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec

from dsage_client.idle.choose import session_address
from dsage_client.tray import Tray
from dsage_client.words import _


def choose(kind: str, environment: Mapping[str, str], tell: Callable[[str], None]) -> Tray | None:
    """Return the tray for a session, None if it has to do without; `tell` hears why.

    `auto` takes the bus on Linux wherever there is one, and pystray elsewhere.
    """
    if kind == "none":
        return None
    address = session_address(environment)
    if kind == "bus" or (kind == "auto" and sys.platform.startswith("linux") and address):
        if address and find_spec("dbus_fast"):
            from dsage_client.tray.sni import BusTray

            return BusTray(address, tell)
        if kind == "bus":
            tell(_("There is no icon: this session has no bus, or the package dbus-fast is not installed."))
            return None
    from dsage_client.tray import pystray_tray

    return pystray_tray.load(tell)
