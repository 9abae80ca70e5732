"""The end of a run: its last copies are kept for hosts that will answer soon, for a while.

A run is at its end when nothing of it is left to send for the first time and few copies wait. Then a host that is
slow, unreliable or untried is passed over as long as a better one that could take the copy called a short time ago;
but never longer than the work itself would take, nor than PATIENCE_S.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Final

from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.line import Entry, Lane, RunQueue

TAIL_COPIES: Final = 50
"""A full call's worth: fast hosts take that at once."""
SETTLED_S: Final = 5.0
"""A driver that makes units when asked to has made the next by then."""
PATIENCE_S: Final = 60.0
RECENT_S: Final = 60.0
SLOW: Final = 1.5
"""A host is slow if it takes this many times what the middle one takes."""
CALLERS: Final = 256
CANDIDATES: Final = 16
"""Fast hosts of which one must be able to take a copy, for others to be passed over."""
LOOK_S: Final = 5.0


class Tail:
    """Who called of late, and how fast they are."""

    def __init__(self) -> None:
        self._callers: dict[int, tuple[float, HostView]] = {}
        self._fast: list[tuple[float, HostView]] = []
        self._middle_turnaround = 0.0
        self._middle_speed = 0.0
        self._looked = 0.0

    def note(self, host: HostView, now: float) -> None:
        """A host asks for work."""
        callers = self._callers
        callers.pop(host.host, None)
        callers[host.host] = (now, host)
        if len(callers) > CALLERS:
            del callers[next(iter(callers))]

    def near(self, run: RunQueue, now: float) -> bool:
        """Whether a run is at its end."""
        if run.fresh or run.more or run.copies > TAIL_COPIES:
            return False
        run.dry = min(run.dry, now)
        return now - run.dry >= SETTLED_S

    def slow(self, host: HostView, now: float) -> bool:
        """Whether a host is to be passed over at the end of a run, if a better one is about."""
        self._look(now)
        return bool(self._fast) and not self._good(host)

    def awaited(self, entry: Entry, lane: Lane, now: float) -> bool:
        """Whether a fast host that could take this copy is about."""
        return any(
            now - called < RECENT_S
            and host.volunteer not in entry.unit.barred
            and host.volunteer not in entry.held
            and not host.lacks(lane)
            for called, host in self._fast
        )

    def patient(self, entry: Entry, now: float) -> bool:
        """Whether a copy may wait for a fast host still; the first question starts the clock."""
        entry.denied = entry.denied or now
        return 0.0 <= now - entry.denied < min(PATIENCE_S, entry.unit.work_s)

    def too_slow(self, host: HostView, lane: Lane, now: float) -> bool:
        """Whether a host would not finish even the smallest unit of a lane within its time, where others do.

        Speeds are compared with the middle host's, so credit that says too little turns nobody away.
        """
        if not host.record.work_s or not 0.0 < lane.least_s <= lane.needs.wall_s:
            return False
        self._look(now)
        return lane.least_s * self._middle_speed > lane.needs.wall_s * host.record.speed

    def _good(self, host: HostView) -> bool:
        turnaround = host.record.turnaround
        return turnaround is not None and host.record.reliable and turnaround <= SLOW * self._middle_turnaround

    def _look(self, now: float) -> None:
        if 0.0 <= now - self._looked < LOOK_S:
            return
        self._looked = now
        self._middle_turnaround = _middle(host.record.turnaround for _, host in self._callers.values())
        self._middle_speed = _middle(
            host.record.speed if host.record.work_s else None for _, host in self._callers.values()
        )
        good = [(called, host) for called, host in self._callers.values() if self._good(host)]
        self._fast = sorted(good, key=lambda caller: caller[1].record.turnaround or 0.0)[:CANDIDATES]


def _middle(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return median(known) if known else 0.0
