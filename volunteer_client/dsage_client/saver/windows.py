"""How large a window of somebody else is, and where the monitors are."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Mapping
from typing import Final

from dsage_client.idle.wire import Connection

GET_GEOMETRY: Final = 14
GET_MONITORS: Final = 42


class Windows:
    """Asks the display. Source: X Window System Protocol 11 (GetGeometry), RandR Protocol 1.5 (RRGetMonitors)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._display = None if sys.platform == "win32" else Connection(environment)

    def size(self, window: int) -> tuple[int, int]:
        """Return width and height in pixels. Raises OSError if there is no such window."""
        if self._display is None:
            return _size_on_windows(window)
        reply = self._display.ask(struct.pack("<BBHI", GET_GEOMETRY, 0, 2, window & 0xFFFFFFFF))
        width, height = struct.unpack_from("<HH", reply, 16)
        return width, height

    def monitors(self) -> list[tuple[int, int, int, int]]:
        """Return (left, top, width, height) of each monitor; none if nobody can tell."""
        if self._display is None:
            return []
        try:
            code, _ = self._display.extension("RANDR")
            reply = self._display.ask(struct.pack("<BBHIB3x", code, GET_MONITORS, 3, self._display.root, 1))
            return monitors_in(reply)
        except (OSError, struct.error):
            return []


def monitors_in(reply: bytes) -> list[tuple[int, int, int, int]]:
    """Return (left, top, width, height) of each monitor in an answer of RRGetMonitors. Raises struct.error."""
    (count,) = struct.unpack_from("<I", reply, 12)
    found, at = [], 32
    for _ in range(min(count, 64)):
        outputs, left, top, width, height = struct.unpack_from("<6xHhhHH", reply, at)
        found.append((left, top, width, height))
        at += 24 + 4 * outputs
    return found


def _size_on_windows(window: int) -> tuple[int, int]:
    import ctypes

    edges = (ctypes.c_long * 4)()
    user32 = getattr(ctypes, "windll").user32  # noqa: B009 - only there
    if not user32.GetClientRect(ctypes.c_void_p(window), edges):
        raise OSError("there is no such window")
    return edges[2], edges[3]
