"""The turns between idle and in use: each is told once, and none after the end."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Turns:
    """What a sensor last knew, idle or in use, and whom it tells when that turns. It begins in use."""

    def __init__(self, on_idle: Callable[[], None] | None = None, on_return: Callable[[], None] | None = None) -> None:
        self._on_idle = on_idle or _nothing
        self._on_return = on_return or _nothing
        self._lock = threading.Lock()
        self._idle = False
        self._ended = False

    @property
    def idle(self) -> bool:
        """Whether the user is away, as far as was told."""
        return self._idle

    @property
    def ended(self) -> bool:
        """Whether nothing is told any more."""
        return self._ended

    def turn(self, idle: bool) -> None:
        """Tell, in the calling thread, if this is news."""
        with self._lock:
            if self._ended or idle == self._idle:
                return
            self._idle = idle
        (self._on_idle if idle else self._on_return)()

    def touch(self) -> None:
        """Tell of a return, also where nobody was known to be away."""
        with self._lock:
            if self._ended:
                return
            self._idle = False
        self._on_return()

    def end(self) -> None:
        """Tell nothing more."""
        with self._lock:
            self._ended = True


def _nothing() -> None:
    """Nobody listens."""
