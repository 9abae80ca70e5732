"""Which ready units a host gets: a pure decision over values.

1. A unit whose app needs modules that the host does not offer is passed over.
2. A unit of which the host's volunteer has a copy (or has failed it repeatedly) is passed over.
3. What remains goes out oldest first: units of one run in the order its driver made them.

A host that gets nothing is told why, in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RESERVE: Final = 1
"""Ready copies kept for each copy that live hosts can hold, so that a report is answered with work at once."""
RESERVE_FLOOR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyUnit:
    """A unit that wants copies sent: what the policy needs to know of it."""

    unit: int
    run: int
    unsent: int
    needs: frozenset[str]
    barred: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The units chosen, or why there are none."""

    units: tuple[int, ...]
    reason: str


def choose(ready: Iterable[ReadyUnit], *, volunteer: int, offers: frozenset[str], want: int) -> Choice:
    """Return up to `want` units for a host, in the order to send them."""
    chosen: list[int] = []
    lacking: set[str] = set()
    barred = 0
    for candidate in ready:
        if len(chosen) >= want:
            break
        if not candidate.needs <= offers:
            lacking |= candidate.needs - offers
        elif volunteer in candidate.barred:
            barred += 1
        else:
            chosen.append(candidate.unit)
    return Choice(units=tuple(chosen), reason="" if chosen else _why(barred, lacking))


def _why(barred: int, lacking: set[str]) -> str:
    if barred:
        return "every waiting unit needs another volunteer: you have a copy of each already"
    if lacking:
        return f"the waiting units need {', '.join(sorted(lacking))}, which this computer does not offer"
    return "no work is waiting"


def hungry(capacity: int, unsent: int) -> int:
    """Return how many more units drivers should make, given how many copies live hosts can hold at once."""
    return max(0, capacity * RESERVE + RESERVE_FLOOR - unsent)
