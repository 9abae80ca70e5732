"""X11: the server itself counts how long nothing was touched (IDLETIME of XSync) and tells when that passes a limit."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping
from typing import Final

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle.turns import Turns
from dsage_client.idle.wire import Connection

INITIALIZE, LIST_COUNTERS, QUERY_COUNTER, CREATE_ALARM, CHANGE_ALARM = 0, 1, 5, 8, 9
POSITIVE_TRANSITION, NEGATIVE_TRANSITION = 0, 1
ALARM_NOTIFY: Final = 1
WATCHED: Final = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20
"""Of an alarm: its counter, the kind of its value, the value, the test, the step after an alarm, events."""
SYNC: Final = "SYNC"
ANSWER_S: Final = 0.1
"""How long the display may take to answer, once it is known; who does not is unknown for now."""
IDLE_TIME: Final = b"IDLETIME"


class X11:
    """Two alarms on one connection, with a thread that waits; questions go over a second one. Waiting costs nothing.

    If the display goes, its user is unknown from then on, and whoever listens is told as if they had come back.
    """

    name = "x11"
    quality: Quality = "event"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._turns = Turns()
        self._opened: tuple[_Alarms, _Questions] | None = None
        self._gone = True

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        opened: list[Connection] = []
        try:
            for _ in range(2):
                opened.append(Connection(self._environment))
            questions, alarms = _Questions(opened[0]), _Alarms(opened[1], idle_after_s)
        except OSError:
            for connection in opened:
                connection.close()
            raise
        self._turns, self._opened, self._gone = Turns(on_idle, on_return), (alarms, questions), False
        threading.Thread(target=self._wait, args=(alarms, idle_after_s), name="idle-x11", daemon=True).start()

    def presence(self) -> Presence:
        try:
            idle_s, full_screen = self._ask()
        except OSError:
            return Presence(idle_s=None, sensor=self.name)
        return Presence(idle_s=idle_s, quality=self.quality, sensor=self.name, full_screen=full_screen)

    def threshold(self, idle_after_s: float) -> None:
        if self._opened is None or self._gone:
            return
        try:
            self._opened[0].at(idle_after_s)
        except OSError:
            return
        self._begin(idle_after_s)

    def close(self) -> None:
        self._turns.end()
        self._gone = True
        if self._opened is not None:
            self._opened[0].close()
            with self._lock:
                self._opened[1].close()

    def _wait(self, alarms: _Alarms, idle_after_s: float) -> None:
        self._begin(idle_after_s)
        try:
            while True:
                self._turns.turn(alarms.next())
        except OSError:
            self._gone = True
            self._turns.turn(False)

    def _begin(self, idle_after_s: float) -> None:
        """Alarms tell of passing a limit; on which side of it things are at first has to be asked."""
        try:
            idle_s, _ = self._ask()
        except OSError:
            return
        self._turns.turn(idle_s >= idle_after_s)

    def _ask(self) -> tuple[float, bool]:
        """Return for how long nothing was touched, and whether a window fills the screen. Raises OSError."""
        if self._opened is None or self._gone:
            raise OSError("the display has gone")
        with self._lock:
            return self._opened[1].idle_s(), self._opened[1].full_screen()


class _Alarms:
    """The alarms of one connection: the idle time passes a limit, and falls below it."""

    def __init__(self, connection: Connection, idle_after_s: float) -> None:
        self._connection = connection
        self._code, first_event = _sync(connection)
        self._event = first_event + ALARM_NOTIFY
        self._counter = _counter(connection, self._code)
        self._away, self._back = connection.new_id(), connection.new_id()
        self._set(CREATE_ALARM, idle_after_s)

    def at(self, idle_after_s: float) -> None:
        """Move the limit. Raises OSError."""
        self._set(CHANGE_ALARM, idle_after_s)

    def next(self) -> bool:
        """Wait for an alarm; return whether the user has gone (else: come back). Raises OSError."""
        while True:
            event = self._connection.event()
            if event[0] & 0x7F == self._event:
                return bool(struct.unpack_from("<I", event, 4)[0] == self._away)

    def close(self) -> None:
        self._connection.close()

    def _set(self, request: int, idle_after_s: float) -> None:
        # A server looks at its counter only when something wakes it, and a fall counts only from above the limit. The
        # limit on the way back is therefore the half: from the whole, where the first alarm leaves it, is a fall too.
        away = max(2, round(idle_after_s * 1000))
        for alarm, test, limit in (
            (self._away, POSITIVE_TRANSITION, away),
            (self._back, NEGATIVE_TRANSITION, away // 2),
        ):
            values = (self._counter, 0, *divmod(limit, 1 << 32), test, 0, 0, 1)
            self._connection.send(struct.pack("<BBHII8I", self._code, request, 11, alarm, WATCHED, *values))


class _Questions:
    """A connection for questions: how long nothing was touched, and whether a window fills the screen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._code, _ = _sync(connection)
        self._counter = _counter(connection, self._code)
        self._active = connection.atom("_NET_ACTIVE_WINDOW")
        self._state = connection.atom("_NET_WM_STATE")
        self._full = connection.atom("_NET_WM_STATE_FULLSCREEN")
        connection.patience_s = ANSWER_S

    def idle_s(self) -> float:
        """Seconds since the last touch. Raises OSError."""
        reply = self._connection.ask(struct.pack("<BBHI", self._code, QUERY_COUNTER, 2, self._counter))
        high, low = struct.unpack_from("<iI", reply, 8)
        return float((high << 32) + low) / 1000

    def full_screen(self) -> bool:
        """Whether the active window is full-screen. Raises OSError."""
        windows = self._connection.numbers(self._connection.root, self._active)
        if not windows or not windows[0]:
            return False
        try:
            return self._full in self._connection.numbers(windows[0], self._state)
        except TimeoutError:
            raise
        except OSError:
            return False

    def close(self) -> None:
        self._connection.close()


def _sync(connection: Connection) -> tuple[int, int]:
    code, first_event = connection.extension(SYNC)
    connection.ask(struct.pack("<BBHBBxx", code, INITIALIZE, 2, 3, 1))
    return code, first_event


def _counter(connection: Connection, code: int) -> int:
    """Return the id of the counter of idle time. Raises OSError if the display keeps none."""
    reply = connection.ask(struct.pack("<BBH", code, LIST_COUNTERS, 1))
    (count,) = struct.unpack_from("<I", reply, 8)
    at = 32
    for _ in range(count):
        counter, length = struct.unpack_from("<I8xH", reply, at)
        if reply[at + 14 : at + 14 + length] == IDLE_TIME:
            return int(counter)
        at += (14 + length + 3) // 4 * 4
    raise OSError("the display does not count how long nothing was touched")
