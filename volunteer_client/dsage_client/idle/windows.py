"""Windows: the time of the last input in this session, the lock, full-screen programs and films, by asking."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

from dsage_client.guest.seen import Presence
from dsage_client.idle.polling import Polled

WRAP_MS: Final = 1 << 32
"""The clock of input, GetTickCount, begins anew after 49.7 days."""
AHEAD_MS: Final = 60_000
"""An input that seems so little ahead of the clock has just happened, rather than 49.7 days ago."""
CURRENT_SESSION: Final = 0xFFFFFFFF
SESSION_INFO_EX: Final = 25
ACTIVE: Final = 0
LOCKED: Final = 0
EXECUTION_STATE: Final = 16
DISPLAY_REQUIRED: Final = 0x2
BUSY, DIRECT3D_FULL_SCREEN, PRESENTATION = 2, 3, 4
"""Of SHQueryUserNotificationState."""


class _LastInput(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint32), ("time_ms", ctypes.c_uint32))


class _SessionInfo(ctypes.Structure):
    """The beginning of WTSINFOEXW of level 1; its later fields make Windows align it to 8 bytes."""

    _fields_ = (
        ("level", ctypes.c_uint32), ("padding", ctypes.c_uint32),
        ("session", ctypes.c_uint32), ("state", ctypes.c_uint32), ("flags", ctypes.c_int32),
    )  # fmt: skip


class Windows(Polled):
    """Asked of the session that this program runs in. While that one is not in front, its user is unknown."""

    name = "windows"

    def __init__(self, load: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self._load = load or _load
        self._libraries: dict[str, Any] = {}

    def idle_s(self) -> float:
        last = _LastInput(size=ctypes.sizeof(_LastInput))
        if not self._library("user32").GetLastInputInfo(ctypes.byref(last)):
            raise OSError("Windows does not tell of input in this session")
        passed = (self._library("kernel32").GetTickCount() - last.time_ms) % WRAP_MS
        return 0.0 if passed >= WRAP_MS - AHEAD_MS else passed / 1000

    def presence(self) -> Presence:
        seen = super().presence()
        if seen.idle_s is None:
            return seen
        state, flags = self._session()
        notices = self._notices()
        return Presence(
            idle_s=seen.idle_s if state == ACTIVE else None,
            quality=self.quality,
            sensor=self.name,
            film="a presentation" if notices == PRESENTATION else "a program" if self._film() else "",
            full_screen=notices in (BUSY, DIRECT3D_FULL_SCREEN),
            locked=flags == LOCKED,
        )

    def _session(self) -> tuple[int, int]:
        """Return whether this session is in front, and whether it is locked; what is not told is not so."""
        library = self._library("wtsapi32")
        info, size = ctypes.POINTER(_SessionInfo)(), ctypes.c_uint32()
        told = library.WTSQuerySessionInformationW(
            None, CURRENT_SESSION, SESSION_INFO_EX, ctypes.byref(info), ctypes.byref(size)
        )
        if not told or not info:
            return ACTIVE, -1
        try:
            if size.value < ctypes.sizeof(_SessionInfo) or info.contents.level != 1:
                return ACTIVE, -1
            return int(info.contents.state), int(info.contents.flags)
        finally:
            library.WTSFreeMemory(info)

    def _notices(self) -> int:
        state = ctypes.c_int32()
        failed = self._library("shell32").SHQueryUserNotificationState(ctypes.byref(state))
        return 0 if failed else state.value

    def _film(self) -> bool:
        """Whether a program keeps the screen on."""
        flags = ctypes.c_uint32()
        failed = self._library("powrprof").CallNtPowerInformation(
            EXECUTION_STATE, None, 0, ctypes.byref(flags), ctypes.sizeof(flags)
        )
        return not failed and bool(flags.value & DISPLAY_REQUIRED)

    def _library(self, name: str) -> Any:
        if name not in self._libraries:
            self._libraries[name] = self._load(name)
        return self._libraries[name]


def _load(name: str) -> Any:
    """Return a library of Windows. Raises OSError elsewhere."""
    loader = getattr(ctypes, "WinDLL", None)
    if loader is None:
        raise OSError("this is not Windows")
    library = loader(name)
    if name == "kernel32":
        library.GetTickCount.restype = ctypes.c_uint32
    if name == "wtsapi32":
        library.WTSQuerySessionInformationW.argtypes = (
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
        )  # fmt: skip
    return library
