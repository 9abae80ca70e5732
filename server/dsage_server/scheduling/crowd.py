"""The hosts that this process has met: what each offers, what it holds, and who waits for work.

Everything here is memory of one process; what must outlive it is in the host's row. Times are in ticks of a steady
clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.record import HostRecord

LIVE_S: Final = 90.0
"""A host counts as there when it called within this time."""
COUNT_S: Final = 1.0
"""How old the count of what live hosts can hold may be."""
MOST: Final = 200_000
"""Hosts remembered; a further one puts out who has been silent longest, and is read from its row when it is back."""


@dataclass(slots=True)
class Guest:
    """One host between its calls. `calls` numbers them: a newer one ends an older one that is held. While it `rests` it
    gets nothing."""

    view: HostView
    capacity: int = 0
    calls: int = 0
    seen: float = -math.inf
    noted: float = -math.inf
    rests: bool = False

    @property
    def record(self) -> HostRecord:
        """What was learnt of the host."""
        return self.view.record


class Crowd:
    """The guests by host id, those longest silent first."""

    def __init__(self) -> None:
        self._guests: dict[int, Guest] = {}
        self._idle: dict[int, None] = {}
        self._counted = -math.inf
        self._capacity = 0
        self.live = 0

    def __len__(self) -> int:
        return len(self._guests)

    def get(self, host: int) -> Guest | None:
        """Return a guest that was met before."""
        return self._guests.get(host)

    def meet(self, host: int, view: HostView) -> Guest:
        """Remember a host."""
        while len(self._guests) >= MOST:
            del self._guests[next(iter(self._guests))]
        return self._guests.setdefault(host, Guest(view))

    def seen(self, host: int, guest: Guest, ticks: float) -> None:
        """The host called."""
        guest.seen = ticks
        self._guests.pop(host, None)
        self._guests[host] = guest

    def forget(self, host: int) -> None:
        """A host has left: a call of it that is still held is over."""
        guest = self._guests.pop(host, None)
        if guest is not None:
            guest.calls += 1
        self.busy(host)

    def idles(self, host: int) -> None:
        """A host's call is held, and it would take work."""
        self._idle[host] = None

    def busy(self, host: int) -> None:
        """A host's call is not held any more."""
        self._idle.pop(host, None)

    @property
    def idle(self) -> int:
        """How many hosts wait for work."""
        return len(self._idle)

    def call_idle(self, most: int) -> list[int]:
        """Return up to so many hosts that wait for work, each in its turn."""
        called = list(zip(range(most), self._idle, strict=False))
        for _, host in called:
            del self._idle[host]
            self._idle[host] = None
        return [host for _, host in called]

    def capacity(self, ticks: float) -> int:
        """Return how many copies live hosts can hold at once, as counted lately."""
        if ticks - self._counted >= COUNT_S:
            self._counted = ticks
            live = [guest.capacity for guest in self._guests.values() if guest.seen > ticks - LIVE_S]
            self._capacity, self.live = sum(live), len(live)
        return self._capacity

    def to_note(self, ticks: float, after_s: float) -> Iterator[tuple[int, Guest]]:
        """Yield the guests that called since their row was written, if that is `after_s` ago."""
        for host, guest in self._guests.items():
            if guest.seen > guest.noted and ticks - guest.noted >= after_s:
                yield host, guest
