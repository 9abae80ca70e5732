"""Token buckets: how many requests somebody may make, decided from a time that is passed in.

A bucket is kept as the one moment at which it will be full again, so a full one needs no place: it is what somebody
has who was never heard of. When the table is full, the bucket that is fullest goes first, so that a flood of new
names puts out its own, and never whoever has asked for most. Source of the form: the virtual scheduling of the ATM
Forum's Traffic Management Specification 4.0, section 4.4.3 (there "generic cell rate algorithm").
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MOST: Final = 100_000
"""Buckets that are remembered, some 300 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one of many may ask for: `burst` requests at once, and `rate_per_s` in the long run."""

    name: str
    rate_per_s: float
    burst: int

    @property
    def window_s(self) -> float:
        """How long an empty bucket takes to be full."""
        return self.burst / self.rate_per_s


class Verdict(NamedTuple):
    """Whether a request is let through, how many more are by now, and the seconds until the bucket is full again.

    `retry_s` is when the next one is let through: 0 if at once.
    """

    allowed: bool
    remaining: int
    full_s: float
    retry_s: float


@dataclass(slots=True)
class Buckets:
    """The buckets of everybody under one policy; at most `most` are remembered."""

    policy: Policy
    most: int = MOST
    _full_at: dict[Hashable, float] = field(default_factory=dict)
    _by_fullness: list[tuple[float, int, Hashable]] = field(default_factory=list)
    """A heap with one entry for each bucket, whose moment may be an older one: they only grow."""
    _entries: int = 0

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, who: Hashable, now: float) -> Verdict:
        """Take a token out of somebody's bucket, if there is one. `now` is in seconds and never goes back."""
        each_s = 1.0 / self.policy.rate_per_s
        window_s = self.policy.window_s
        known = self._full_at.get(who)
        full_s = max(known - now, 0.0) if known is not None else 0.0
        after_s = full_s + each_s
        if after_s > window_s + each_s * 1e-6:
            return Verdict(False, 0, full_s, after_s - window_s)
        if known is None:
            self._make_room(now)
            self._entries += 1
            heapq.heappush(self._by_fullness, (now + after_s, self._entries, who))
        self._full_at[who] = now + after_s
        left = int((window_s - after_s) * self.policy.rate_per_s + 1e-6)
        return Verdict(True, left, after_s, 0.0 if left else after_s + each_s - window_s)

    def _make_room(self, now: float) -> None:
        """Forget a bucket or two that are full, or the fullest one if the table is."""
        for _ in range(2):
            if not self._by_fullness:
                return
            fullest = self._fullest()
            if self._full_at[fullest] > now and len(self._full_at) < self.most:
                return
            heapq.heappop(self._by_fullness)
            del self._full_at[fullest]

    def _fullest(self) -> Hashable:
        """Return whose bucket will be full first; entries that have aged are brought up to date on the way."""
        while True:
            moment, entry, who = self._by_fullness[0]
            current = self._full_at[who]
            if current == moment:
                return who
            heapq.heapreplace(self._by_fullness, (current, entry, who))
