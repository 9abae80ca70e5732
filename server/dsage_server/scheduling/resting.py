"""Units whose copies failed rest a while before the next one goes out: longer after each failure.

What fails at once would otherwise fail on every computer within a second. Only the queue knows of it: after a restart
of the server such a unit goes out at once.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from typing import Final

FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 300.0
LEAST: Final = 0.5
"""A rest is drawn between this share of its length and the whole, so that what failed together comes back apart."""


def rest_s(failures: int) -> float:
    """Return how long a unit rests at most after so many failures, in seconds."""
    return min(FIRST_REST_S * 2.0 ** (min(failures, 32) - 1), LONGEST_REST_S)


class Resting:
    """The units that rest, each with its run; times are in seconds of one clock."""

    def __init__(self, draw: random.Random | None = None) -> None:
        self._runs: dict[int, int] = {}
        self._ends: list[tuple[float, int]] = []
        self._draw = draw or random.Random()

    def __contains__(self, unit: int) -> bool:
        return unit in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    def begin(self, unit: int, run: int, failures: int, now: float) -> None:
        """Let a unit rest, anew if it does already."""
        length = rest_s(failures) * self._draw.uniform(LEAST, 1.0)
        if unit in self._runs:
            self._ends = [(end, number) for end, number in self._ends if number != unit]
            heapq.heapify(self._ends)
        self._runs[unit] = run
        heapq.heappush(self._ends, (now + length, unit))

    def due(self, now: float) -> list[int]:
        """Return the units that have rested enough."""
        return [unit for end, unit in self._ends if end <= now]

    def over(self, now: float) -> list[int]:
        """Return, and forget, the units that have rested enough."""
        done: list[int] = []
        while self._ends and self._ends[0][0] <= now:
            done.append(heapq.heappop(self._ends)[1])
            del self._runs[done[-1]]
        return done

    def forget(self, run: int) -> None:
        """A run gives out nothing any more."""
        if run in self._runs.values():
            self._runs = {unit: of for unit, of in self._runs.items() if of != run}
            self._ends = [(end, unit) for end, unit in self._ends if unit in self._runs]
            heapq.heapify(self._ends)

    def runs(self) -> Iterable[int]:
        """Return the runs that have units resting."""
        return set(self._runs.values())
