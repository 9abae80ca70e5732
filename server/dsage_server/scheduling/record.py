"""What the server has learnt of one host: how fast, how long on, how reliable, and how many copies it may have out.

The limit on copies bounds what one account can do by taking units and not answering them, or by answering wrongly:
it grows with every *validated* answer and is halved by each failure. Pure; times are of the wall clock, because a
record is kept, and a clock that is set forward forgives a little early.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from dsage_server.scheduling.terms import REFERENCE_S_PER_MILLI

FIRST: Final = 100
"""Copies that a newcomer may leave unanswered: more than a computer of 64 cores holds."""
MOST: Final = 2000
FLOOR: Final = 4
"""However often it failed, a host may show that it works again."""
RECOVERY_S: Final = 60.0
"""A copy that was never answered is forgiven after this time, one by one; later by a host whose limit was cut."""

KEEP_WORK: Final = 0.95
"""Share of what was measured that each further answer leaves: the last 20 or so count."""
KEEP_TRIALS: Final = 0.98
"""The same for right and failed copies: the last 50 or so."""
PRIOR_S: Final = 60.0
"""So many seconds at the reference's speed are believed of a newcomer."""
SLOWEST: Final = 0.02
FASTEST: Final = 50.0
"""What a client says of its processor time is believed between these."""

CONTACT_S: Final = 1800.0
"""A host that was silent for longer was off; a busy server asks a big fleet to call as rarely as that."""
NOTE_S: Final = 10.0
MEMORY_S: Final = 3 * 86_400.0
"""How far back "the share of time it is on" looks."""
LEAST_ON: Final = 0.05

TRIALS: Final = 3
FAILING: Final = 0.1
"""A host is reliable after so many trials of which fewer than this share failed."""


class HostRecord(msgspec.Struct, omit_defaults=True):
    """One host's. `most` is the limit, `left` how many copies may go out now, as it stood at `at`."""

    most: float = FIRST
    left: float = FIRST
    at: float = 0.0
    seen_at: float = 0.0
    on: float = 1.0
    work_s: float = 0.0
    cpu_s: float = 0.0
    away_s: float = 0.0
    """Reference seconds of work answered, processor seconds they took, and seconds from lease to answer."""
    valid: float = 0.0
    bad: float = 0.0
    """Copies found right, and copies that failed, of late."""
    cut_at: float = -1.0
    """`at` as it was when the limit was halved last."""
    greeted: bool = False
    """Whether it has had its welcome unit."""

    # -- what happens --------------------------------------------------------------------------------------------

    def seen(self, now: float) -> None:
        """The host called."""
        gap = now - self.seen_at
        if self.seen_at and gap < NOTE_S and gap >= 0.0:
            return
        if self.seen_at and gap > 0.0:
            kept = math.exp(-gap / MEMORY_S)
            self.on = self.on * kept + (1.0 - kept) * (gap <= CONTACT_S)
        self.seen_at = now

    def sent(self, n: int, now: float) -> None:
        """So many copies were leased to it."""
        self.allowed(now)
        self.left -= n

    def answered(self, credit_milli: int, cpu_s: float, turnaround_s: float, now: float) -> None:
        """A copy came back with an answer; `turnaround_s` since it was leased, by the server's clock."""
        self.allowed(now)
        self.left = min(self.most, self.left + 1)
        self.work_s = self.work_s * KEEP_WORK + credit_milli * REFERENCE_S_PER_MILLI
        self.cpu_s = self.cpu_s * KEEP_WORK + max(0.0, cpu_s)
        self.away_s = self.away_s * KEEP_WORK + max(0.0, turnaround_s)

    def validated(self, n: int = 1) -> None:
        """So many of its answers were found right: as many more may be out."""
        self.most = min(MOST, self.most + n)
        self.left = min(self.most, self.left + n)
        self.valid = self.valid * KEEP_TRIALS**n + n
        self.bad *= KEEP_TRIALS**n

    def failed(self, n: int = 1) -> None:
        """So many failed: errors, answers found wrong, or leases that ran out.

        The limit is halved once for all that fails between two calls of the host: a computer that was switched off
        with a hundred copies has failed once.
        """
        if self.at != self.cut_at:
            self.cut_at = self.at
            self.most = max(FLOOR, self.most / 2)
            self.left = min(self.most, self.left)
        self.bad = self.bad * KEEP_TRIALS**n + n
        self.valid *= KEEP_TRIALS**n

    def stopped(self, n: int = 1) -> None:
        """So many ended at the server's wish, which is no fault of the host's."""
        self.left = min(self.most, self.left + n)

    # -- what follows --------------------------------------------------------------------------------------------

    def allowed(self, now: float) -> int:
        """Return how many copies may go out at this moment."""
        if now != self.at:
            pace = min(1.0, self.most / FIRST) / RECOVERY_S
            self.left = min(self.most, self.left + max(0.0, now - self.at) * pace)
            self.at = now
        return max(0, int(self.left))

    @property
    def new(self) -> bool:
        """Whether it has done nothing yet and is still to be welcomed."""
        return not self.greeted and not self.valid

    @property
    def speed(self) -> float:
        """Reference seconds of work done in a second of its processor."""
        return min(FASTEST, max(SLOWEST, (self.work_s + PRIOR_S) / (self.cpu_s + PRIOR_S)))

    @property
    def on_fraction(self) -> float:
        """Share of the time that it is in contact."""
        return min(1.0, max(LEAST_ON, self.on))

    @property
    def turnaround(self) -> float | None:
        """Seconds from lease to answer for a reference second of work; None before the first answer."""
        return self.away_s / self.work_s if self.work_s else None

    @property
    def reliable(self) -> bool:
        """Whether it has been tried, and hardly ever failed of late."""
        trials = self.valid + self.bad
        return trials >= TRIALS and self.bad < FAILING * trials
