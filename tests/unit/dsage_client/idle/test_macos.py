"""macOS, as far as its functions can be played: what is asked, what is given back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dsage_client.idle.macos import ANY_INPUT, COMBINED_SESSION, MacOS


class Function:
    """A foreign function: takes its types, and calls what plays it."""

    restype: Any = None
    argtypes: Any = None

    def __init__(self, plays: Callable[..., Any]) -> None:
        self._plays = plays

    def __call__(self, *given: Any) -> Any:
        assert self.argtypes is None or len(self.argtypes) == len(given)
        return self._plays(*given)


class Machine:
    """A Mac: dictionaries and texts are numbered things, which have to be released as often as they are made."""

    def __init__(self, session: dict[bytes, int] | None = None, assertions: dict[bytes, int] | None = None) -> None:
        self.idle_s = 90.5
        self.session, self.assertions = session, assertions
        self.things: dict[int, Any] = {}
        self.held: list[int] = []
        self.next = 100

    def load(self, path: str) -> Any:
        return {
            "ApplicationServices": SimpleNamespace(
                CGEventSourceSecondsSinceLastEventType=Function(self._since),
                CGSessionCopyCurrentDictionary=Function(lambda: self._make(self.session) if self.session else None),
            ),
            "CoreFoundation": SimpleNamespace(
                CFStringCreateWithCString=Function(lambda _, text, __: self._make(text)),
                CFDictionaryGetValue=Function(self._value),
                CFBooleanGetValue=Function(lambda value: self.things[value]),
                CFNumberGetValue=Function(self._number),
                CFRelease=Function(self.held.remove),
            ),
            "IOKit": SimpleNamespace(IOPMCopyAssertionsStatus=Function(self._status)),
        }[path.rpartition("/")[2]]

    def _since(self, source: int, kind: int) -> float:
        assert (source, kind) == (COMBINED_SESSION, ANY_INPUT)
        return self.idle_s

    def _make(self, thing: Any, held: bool = True) -> int:
        self.next += 1
        self.things[self.next] = thing
        if held:
            self.held.append(self.next)
        return self.next

    def _value(self, dictionary: int, name: int) -> int | None:
        found = self.things[dictionary].get(self.things[name])
        return None if found is None else self._make(found, held=False)

    def _number(self, value: int, kind: int, number: Any) -> int:
        number._obj.value = self.things[value]
        return 1

    def _status(self, dictionary: Any) -> int:
        if self.assertions is None:
            return 1
        dictionary._obj.value = self._make(self.assertions)
        return 0


@pytest.mark.parametrize(
    ("machine", "field", "value"),
    [
        (Machine(), "idle_s", 90.5),
        (Machine({b"CGSSessionScreenIsLocked": 1}), "locked", True),
        (Machine({b"kCGSSessionOnConsoleKey": 1}), "locked", False),
        (Machine({b"kCGSSessionOnConsoleKey": 1}), "idle_s", 90.5),
        (Machine({b"kCGSSessionOnConsoleKey": 0}), "idle_s", None),
        (Machine(assertions={b"PreventUserIdleDisplaySleep": 1}), "film", "a program"),
        (Machine(assertions={b"PreventUserIdleDisplaySleep": 0}), "film", ""),
        (Machine(assertions={b"PreventUserIdleSystemSleep": 1}), "film", ""),
    ],
)
def test_what_is_seen(machine: Machine, field: str, value: object) -> None:
    assert getattr(MacOS(machine.load).presence(), field) == value
    assert machine.held == []


def test_a_key_press_is_noticed_by_asking(listener) -> None:
    machine = Machine()
    sensor = MacOS(machine.load)
    listener.listen(sensor, 60)
    listener.until_heard("idle")
    machine.idle_s = 0.1
    listener.until_heard("idle", "return")
    sensor.close()


@pytest.mark.skipif(sys.platform == "darwin", reason="this is macOS")
def test_elsewhere_it_is_an_oserror(listener) -> None:
    with pytest.raises(OSError, match="ApplicationServices"):
        listener.listen(MacOS())
