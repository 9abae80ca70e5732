"""KDE, where nothing better answers: the screen saver of the session says how long nothing was touched, if asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from dsage_client.idle.bus import CALL_S, CONNECT_S, Bus, Call
from dsage_client.idle.polling import Polled

NAME: Final = "org.freedesktop.ScreenSaver"
STUCK_S: Final = 2.0
ASK: Final = Call(NAME, "/org/freedesktop/ScreenSaver", NAME, "GetSessionIdleTime")


class Freedesktop(Polled):
    """KDE answers in milliseconds. One that answered in seconds would seem to be in use, which is the safe mistake;
    one whose answer stands still counts nothing, and its user is unknown."""

    name = "freedesktop"

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus
        self._open = False
        self._patience_s = CONNECT_S
        self._last, self._changed = -1, 0.0

    def idle_s(self) -> float:
        (answer,) = self._bus.call(ASK, self._patience_s)
        now = time.monotonic()
        if answer != self._last:
            self._last, self._changed = answer, now
        elif answer and now - self._changed > STUCK_S:
            raise OSError(f"{NAME} does not count how long nothing was touched")
        return float(answer) / 1000

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        self._bus.open(self._look.set)
        self._patience_s = CONNECT_S
        try:
            super().open(idle_after_s, on_idle, on_return)
        except OSError:
            self._bus.close()
            raise
        self._open, self._patience_s = True, CALL_S

    def close(self) -> None:
        super().close()
        if self._open:
            self._open = False
            self._bus.close()
