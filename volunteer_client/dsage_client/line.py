"""The owner's line to the world, as far as bulk may use it: never faster than they allow, and only at their hours.

Bundles, input files and results are bulk; the few hundred bytes by which a client says that it is there are not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

BURST_S: Final = 1.0
"""What was not used of this time's allowance may be used at once."""
SOON_S: Final = 1e-3
"""Nobody waits for less."""
STEP_S: Final = 1.0
"""How soon somebody who waits for their turn sees that the owner has changed the rate."""


class Line:
    """A token bucket for all parts of a client. `bytes_s` is the rate, 0 without a limit.

    What passes is counted afterwards and whoever comes next waits until it is paid off, so that any size may pass and
    the rate holds on average.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.bytes_s = 0
        self._clock = clock
        self._sleep = sleep
        self._left = 0.0
        self._at = clock()
        self._open = asyncio.Event()
        self._open.set()

    @property
    def open(self) -> bool:
        """Whether anything may pass at this hour."""
        return self._open.is_set()

    def set(self, *, open: bool) -> None:
        """The hours of the network begin or end."""
        if open:
            self._open.set()
        else:
            self._open.clear()

    @property
    def due_s(self) -> float:
        """In how many seconds what has passed will be paid off; 0 if something may pass now."""
        if not self.bytes_s:
            self._left, self._at = 0.0, self._clock()
            return 0.0
        now = self._clock()
        self._left = min(self.bytes_s * BURST_S, self._left + max(0.0, now - self._at) * self.bytes_s)
        self._at = now
        due_s = -self._left / self.bytes_s
        return due_s if due_s > SOON_S else 0.0

    @property
    def ready(self) -> bool:
        """Whether something may be sent now."""
        return self.open and not self.due_s

    def count(self, size: int) -> None:
        """So many bytes have passed, or are about to."""
        if self.bytes_s and self.due_s >= 0.0:
            self._left -= size

    async def passed(self, size: int) -> None:
        """So many bytes have come: return when more may come."""
        self.count(size)
        while True:
            await self._open.wait()
            due_s = self.due_s
            if not due_s:
                return
            await self._sleep(min(due_s, STEP_S))
