"""Windows, as far as its functions can be played: arguments, structures, the clock that begins anew."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dsage_client.idle.windows import CURRENT_SESSION, DISPLAY_REQUIRED, SESSION_INFO_EX, Windows, _SessionInfo


class Machine:
    """A Windows computer: what its functions answer."""

    def __init__(self, **answers: int) -> None:
        self.now = 1_000_000
        self.touched = 1_000_000
        self.state, self.locked, self.notices, self.execution = 0, 1, 5, 0
        self.told = 1
        self.freed: list[int] = []
        self.__dict__.update(answers)
        self._info = _SessionInfo()

    def load(self, name: str) -> Any:
        return {
            "user32": SimpleNamespace(GetLastInputInfo=self._last_input),
            "kernel32": SimpleNamespace(GetTickCount=lambda: self.now % 2**32),
            "wtsapi32": SimpleNamespace(
                WTSQuerySessionInformationW=self._session, WTSFreeMemory=lambda _: self.freed.append(1)
            ),
            "shell32": SimpleNamespace(SHQueryUserNotificationState=self._notices),
            "powrprof": SimpleNamespace(CallNtPowerInformation=self._power),
        }[name]

    def _last_input(self, last: Any) -> int:
        assert last._obj.size == 8
        last._obj.time_ms = self.touched % 2**32
        return self.told

    def _session(self, server: None, session: int, kind: int, info: Any, size: Any) -> int:
        assert (server, session, kind) == (None, CURRENT_SESSION, SESSION_INFO_EX)
        self._info = _SessionInfo(level=1, session=1, state=self.state, flags=self.locked)
        info._obj.contents, size._obj.value = self._info, 64
        return 1

    def _notices(self, state: Any) -> int:
        state._obj.value = self.notices
        return 0

    def _power(self, level: int, given: None, given_size: int, flags: Any, size: int) -> int:
        assert (level, given, given_size, size) == (16, None, 0, 4)
        flags._obj.value = self.execution
        return 0


def test_seconds_since_the_last_input() -> None:
    assert Windows(Machine(now=1_090_500).load).presence().idle_s == 90.5


@pytest.mark.parametrize(
    ("touched", "now", "idle_s"),
    [
        (2**32 - 1_000, 2**32 + 4_000, 5.0),  # the clock began anew in between
        (5_000, 4_990, 0.0),  # an input a moment ahead of the clock is no 49 days old
        (2**31, 2**31 + 2**31 - 1, (2**31 - 1) / 1000),
        (7, 7, 0.0),
    ],
)
def test_the_clock_of_32_bits(touched: int, now: int, idle_s: float) -> None:
    assert Windows(Machine(touched=touched, now=now).load).presence().idle_s == idle_s


@pytest.mark.parametrize(
    ("answers", "field", "value"),
    [
        ({"locked": 0}, "locked", True),
        ({"locked": 1}, "locked", False),
        ({"notices": 2}, "full_screen", True),
        ({"notices": 3}, "full_screen", True),
        ({"notices": 5}, "full_screen", False),
        ({"notices": 4}, "film", "a presentation"),
        ({"execution": DISPLAY_REQUIRED}, "film", "a program"),
        ({"execution": 1}, "film", ""),
        ({"state": 4}, "idle_s", None),
        ({"told": 0}, "idle_s", None),
    ],
)
def test_what_else_is_seen(answers: dict[str, int], field: str, value: object) -> None:
    assert getattr(Windows(Machine(**answers).load).presence(), field) == value


def test_memory_of_windows_is_given_back() -> None:
    machine = Machine()
    Windows(machine.load).presence()
    assert machine.freed == [1]


def test_the_structure_is_as_windows_lays_it_out() -> None:
    assert (_SessionInfo.session.offset, _SessionInfo.state.offset, _SessionInfo.flags.offset) == (8, 12, 16)


def test_a_key_press_is_noticed_by_asking(listener) -> None:
    machine = Machine(now=1_200_000)
    sensor = Windows(machine.load)
    listener.listen(sensor, 60)
    listener.until_heard("idle")
    machine.touched = machine.now
    listener.until_heard("idle", "return")
    sensor.close()


def test_a_film_is_in_use(listener) -> None:
    machine = Machine(now=1_200_000)
    sensor = Windows(machine.load)
    listener.listen(sensor, 60)
    listener.until_heard("idle")
    machine.execution = DISPLAY_REQUIRED
    listener.until_heard("idle", "return")
    machine.execution = 0
    listener.until_heard("idle", "return", "idle")
    sensor.close()


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
def test_elsewhere_it_says_so(listener) -> None:
    assert not hasattr(ctypes, "WinDLL")
    with pytest.raises(OSError, match="not Windows"):
        listener.listen(Windows())
