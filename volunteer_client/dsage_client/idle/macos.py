"""macOS: the time since the last input event, the lock and what keeps the screen on, by asking.

None of it needs a permission.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

from dsage_client.guest.seen import Presence
from dsage_client.idle.polling import Polled

FRAMEWORKS: Final = {
    "services": "/System/Library/Frameworks/ApplicationServices.framework/ApplicationServices",
    "foundation": "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation",
    "iokit": "/System/Library/Frameworks/IOKit.framework/IOKit",
}
COMBINED_SESSION: Final = 0
ANY_INPUT: Final = 0xFFFFFFFF
UTF8: Final = 0x08000100
SINT32: Final = 3
LOCKED: Final = b"CGSSessionScreenIsLocked"
IN_FRONT: Final = b"kCGSSessionOnConsoleKey"
SCREEN_ON: Final = b"PreventUserIdleDisplaySleep"


class MacOS(Polled):
    """Asked of the session that this program runs in. While that one is not in front, its user is unknown."""

    name = "macos"

    def __init__(self, load: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self._load = load or ctypes.CDLL
        self._libraries: dict[str, Any] = {}

    def idle_s(self) -> float:
        ask = self._library("services").CGEventSourceSecondsSinceLastEventType
        ask.restype, ask.argtypes = ctypes.c_double, (ctypes.c_int32, ctypes.c_uint32)
        return max(0.0, float(ask(COMBINED_SESSION, ANY_INPUT)))

    def presence(self) -> Presence:
        seen = super().presence()
        if seen.idle_s is None:
            return seen
        session, screen = self._session(), self._kept_on()
        return Presence(
            idle_s=seen.idle_s if session.get(IN_FRONT, 1) else None,
            quality=self.quality,
            sensor=self.name,
            film="a program" if screen else "",
            locked=bool(session.get(LOCKED, 0)),
        )

    def _session(self) -> dict[bytes, int]:
        """Return what is told of this session: locked, in front."""
        copy = self._library("services").CGSessionCopyCurrentDictionary
        copy.restype = ctypes.c_void_p
        dictionary = copy()
        if not dictionary:
            return {}
        try:
            told = ((key, self._truth(dictionary, key)) for key in (LOCKED, IN_FRONT))
            return {key: value for key, value in told if value is not None}
        finally:
            self._release(dictionary)

    def _kept_on(self) -> bool:
        """Whether a program keeps the screen on."""
        dictionary = ctypes.c_void_p()
        if self._library("iokit").IOPMCopyAssertionsStatus(ctypes.byref(dictionary)) or not dictionary.value:
            return False
        try:
            return bool(self._number(dictionary.value, SCREEN_ON))
        finally:
            self._release(dictionary.value)

    def _truth(self, dictionary: int, key: bytes) -> int | None:
        value = self._value(dictionary, key)
        if not value:
            return None
        truth = self._library("foundation").CFBooleanGetValue
        truth.restype, truth.argtypes = ctypes.c_ubyte, (ctypes.c_void_p,)
        return int(truth(value))

    def _number(self, dictionary: int, key: bytes) -> int:
        value, number = self._value(dictionary, key), ctypes.c_int32()
        if not value:
            return 0
        get = self._library("foundation").CFNumberGetValue
        get.restype, get.argtypes = ctypes.c_ubyte, (ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p)
        return number.value if get(value, SINT32, ctypes.byref(number)) else 0

    def _value(self, dictionary: int, key: bytes) -> int:
        """Return the address of a dictionary's value, 0 if it lacks one."""
        foundation = self._library("foundation")
        make, get = foundation.CFStringCreateWithCString, foundation.CFDictionaryGetValue
        make.restype, make.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32)
        get.restype, get.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_void_p)
        name = make(None, key, UTF8)
        try:
            return int(get(dictionary, name) or 0)
        finally:
            self._release(name)

    def _release(self, thing: int) -> None:
        release = self._library("foundation").CFRelease
        release.restype, release.argtypes = None, (ctypes.c_void_p,)
        release(thing)

    def _library(self, name: str) -> Any:
        if name not in self._libraries:
            self._libraries[name] = self._load(FRAMEWORKS[name])
        return self._libraries[name]
