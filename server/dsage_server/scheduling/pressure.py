"""How much a server process takes on: whom it lets in, whom it holds, and when those it sends away come back.

Calls wait for the commit that makes them last, and Little's law tells how long: as many as wait, times what one has
taken of late; or as long as nothing has been committed, when the database stands still. Above FETCH_WAIT_S calls that
only want work are sent away with a time to come back; above REPORT_WAIT_S those with results are too: nothing of them
was accepted, so their clients keep them. Every time named is drawn, so that those who left together do not return
together.

All numbers are of one process; times are seconds of a steady clock.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from dsage.errors import Busy

log = logging.getLogger(__name__)

FETCH_WAIT_S: Final = 2.0
"""The longest that a call without results may have to wait: a client's next unit is rarely worth more."""
REPORT_WAIT_S: Final = 10.0
"""The longest for a call with results: half of what clients wait for an answer before they send it again."""
MOST_PENDING: Final = 20_000
"""Calls that may wait for a commit whatever the forecast: each holds a request of some kilobytes in memory."""
MEMORY_S: Final = 2.0
"""How much busy time the measured speed looks back on; older times count half for each such span."""

TELL_S: Final = 10.0
"""How often the log is told that calls are sent away."""

SHORTEST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 3600.0
IDLE_RETRY_S: Final = 5.0
"""How long clients stay away while there is no work, as long as they are few."""
POLLS_PER_S: Final = 200.0
"""Calls that find nothing are to be no more than so many: a tenth of what a slow core serves."""
RETURNS_PER_S: Final = 170.0
"""Clients that come back after an outage, each with a TLS handshake: 10,000 in a minute."""
MOST_HELD: Final = 20_000
"""Calls held open while there is nothing to say; each costs a connection and some 100 kB."""


@dataclass(slots=True)
class Pressure:
    """What waits in this process, how fast it is served, and what follows from that.

    `hosts` is how many hosts are about, as the hub last counted; `draw` returns 0 to 1. A call is served as

        with pressure.call(has_reports=...):  # raises Busy
            ...  # commit

    and one with nothing to say is held while `with pressure.hold() as granted` grants it.
    """

    ticks: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    most_held: int = MOST_HELD
    hosts: int = 0
    pending: int = 0
    held: int = 0
    shed: int = 0
    _busy_s: float = 0.0
    _served: float = 0.0
    _since: float = 0.0
    _told: float = -math.inf

    def enter(self, fetch_only: bool) -> None:
        """Raise Busy, with a time to come back, if one more call is one too many."""
        wait_s = self.wait_s()
        if wait_s <= (FETCH_WAIT_S if fetch_only else REPORT_WAIT_S) and self.pending < MOST_PENDING:
            return
        self.shed += 1
        self._tell(wait_s)
        what = "work is not handed out" if fetch_only else "results are not taken"
        raise Busy(
            f"this server is busy: {self.pending} calls wait, and {what} for the moment",
            retry_s=self._jittered(max(2 * wait_s, self.pending / RETURNS_PER_S)),
        )

    @contextmanager
    def call(self, *, has_reports: bool) -> Iterator[None]:
        """Count a call that waits for a commit. Raises Busy at the door; what ends by an exception served nobody."""
        self.enter(fetch_only=not has_reports)
        if not self.pending:
            self._since = self.ticks()
        self.pending += 1
        try:
            yield
            self._note_served()
        finally:
            self.pending -= 1

    def wait_s(self) -> float:
        """Return how long a call that comes now would wait for its commit."""
        if not self.pending:
            return 0.0
        each_s = self._busy_s / self._served if self._served else 0.0
        return max(self.pending * each_s, self.ticks() - self._since)

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Say whether a call may be held open, and count it while it is; one that may not is told `retry_s`."""
        if self.held >= self.most_held:
            yield False
            return
        self.held += 1
        try:
            yield True
        finally:
            self.held -= 1

    def retry_s(self, idle: bool, least_s: float = 0.0) -> float:
        """Return when a caller that got nothing may ask again: soon if others were quicker, later if all is `idle`; on
        average not before `least_s`.

        The more hosts there are, the later, so that together they ask POLLS_PER_S times a second at most.
        """
        return self._jittered(max(IDLE_RETRY_S if idle else SHORTEST_RETRY_S, least_s, self.hosts / POLLS_PER_S))

    def spread_s(self, hosts: int | None = None) -> float:
        """Return over what time so many clients (all that are known) should return after an outage."""
        return min(LONGEST_RETRY_S, (self.hosts if hosts is None else hosts) / RETURNS_PER_S)

    def _tell(self, wait_s: float) -> None:
        now = self.ticks()
        if now - self._told >= TELL_S:
            self._told = now
            log.warning("busy: calls wait %.1f s for their commit; %d were sent away so far", wait_s, self.shed)

    def _note_served(self) -> None:
        """Note that a call was served: those that share a commit come in a burst, the first bringing all the time."""
        now = self.ticks()
        self._busy_s += now - self._since
        self._served += 1
        self._since = now
        if self._busy_s > 2 * MEMORY_S:
            self._busy_s /= 2
            self._served /= 2

    def _jittered(self, mean_s: float) -> float:
        """Return a time between half and one and a half of `mean_s`, within sensible bounds."""
        return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, mean_s) * (0.5 + self.draw()))
