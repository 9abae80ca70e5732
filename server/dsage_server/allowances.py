"""What researchers may still take of their quotas: counted in the tables now and then, and here in between.

A driver that makes units all day asks the tables once in RECOUNT_S. Several server processes count apart, so together
they may go beyond a quota by what each gives away in that time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from dsage_server.settings import Quota
from dsage_server.store import quotas
from dsage_server.store.engine import Store

RECOUNT_S: Final = 5.0
MOST: Final = 10_000
"""Counts that are remembered; then all are made anew."""


@dataclass(slots=True)
class Allowances:
    """The allowances of all researchers at one server process; `quota` is what the settings say."""

    store: Store
    ticks: Callable[[], float]
    quota: Quota = field(default_factory=Quota)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Who counts is alone: many at the same time would each be let have all that is left."""
    _under_way: Counter[tuple[bytes, str]] = field(default_factory=Counter)
    """What was taken and is not in the tables yet."""
    _left: dict[tuple[bytes, str], tuple[float, int]] = field(default_factory=dict)

    @asynccontextmanager
    async def taking(self, researcher: bytes, what: str, more: int) -> AsyncIterator[None]:
        """Let a researcher have `more` of `what`, which is in the tables by the end of the block. Raises
        QuotaExceeded; never if it is nothing."""
        if more:
            await self.take(researcher, what, more)
        self._under_way[researcher, what] += more
        try:
            yield
        finally:
            self._under_way[researcher, what] -= more
            if not self._under_way[researcher, what]:
                del self._under_way[researcher, what]

    async def take(self, researcher: bytes, what: str, more: int) -> None:
        """Let a researcher have `more` of `what`. Raises QuotaExceeded."""
        async with self._turn:
            now = self.ticks()
            since, left = self._left.get((researcher, what), (now, -1))
            if left < more or now - since > RECOUNT_S:
                asked = more + self._under_way[researcher, what]
                left = more + await self.store.read(lambda c: quotas.check(c, researcher, what, asked, self.quota))
                since = now
                if len(self._left) >= MOST:
                    self._left.clear()
            self._left[researcher, what] = since, left - more
