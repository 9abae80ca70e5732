"""Values that many visitors share: however many ask, each is made at most once a second, less often when it is slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

PERIOD_S: Final = 1.0
MOST_PERIOD_S: Final = 60.0
LEISURE: Final = 10.0
"""A value that took t seconds to make is kept for at least ten times that, so pages use a tenth of a core at most."""
KEPT: Final = 64
"""Shared values in memory: pages of the largest answers take a megabyte or so each."""


class Shared(Generic[T]):
    """Values by key, each made at most once a period, by one maker at a time."""

    def __init__(self, *, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._made: dict[str, _Making[T]] = {}

    async def get(self, key: str, make: Callable[[], Awaitable[T]], *, period_s: float = 0.0) -> T:
        """Return the value, made now if the last one is too old; raises what `make` raised.

        It is kept for at least `period_s` seconds.
        """
        entry = self._made.get(key)
        if entry is None or entry.stale(self._clock()):
            self._made.pop(key, None)
            while len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            entry = self._made[key] = _Making(make, max(period_s, self._period_s), self._clock)
        return await asyncio.shield(entry.task)


class _Making(Generic[T]):
    """A value that is being made or was made, and until when it is good."""

    def __init__(self, make: Callable[[], Awaitable[T]], period_s: float, clock: Callable[[], float]) -> None:
        self._until = float("inf")
        self.task = asyncio.ensure_future(self._run(make, period_s, clock))
        self.task.add_done_callback(_look_at_failure)

    async def _run(self, make: Callable[[], Awaitable[T]], period_s: float, clock: Callable[[], float]) -> T:
        started = clock()
        try:
            return await make()
        finally:
            took = clock() - started
            self._until = started + min(max(period_s, LEISURE * took), max(period_s, MOST_PERIOD_S))

    def stale(self, now: float) -> bool:
        return now >= self._until


def _look_at_failure(task: asyncio.Future[T]) -> None:
    """A maker whose callers have all gone may fail unheard: the next caller makes the value anew."""
    if not task.cancelled():
        task.exception()
