"""What researchers may still take of their quotas: counted in the tables now and then, and here in between.

A driver that makes units all day asks the tables once in RECOUNT_S. Several server processes count apart, so together
they may go beyond a quota by what each gives away in that time.
"""

from __future__ import annotations

from collections.abc import Callable
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
    _left: dict[tuple[bytes, str], tuple[float, int]] = field(default_factory=dict)

    async def take(self, researcher: bytes, what: str, more: int) -> None:
        """Let a researcher have `more` of `what`. Raises QuotaExceeded."""
        now = self.ticks()
        since, left = self._left.get((researcher, what), (now, -1))
        if left < more or now - since > RECOUNT_S:
            left = more + await self.store.read(lambda c: quotas.check(c, researcher, what, more, self.quota))
            since = now
            if len(self._left) >= MOST:
                self._left.clear()
        self._left[researcher, what] = since, left - more
