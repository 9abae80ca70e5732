"""The ready queue: units that want copies sent, in memory, so that "nothing for you" costs no disk.

It is a hint. The tables have the last word inside the commit that leases, so a stale entry costs a look and
nothing else. It holds at most CAPACITY units and is refilled from the tables in bulk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsage.states import UnitState
from dsage_server.scheduling.policy import ReadyUnit
from dsage_validator import life

CAPACITY: Final = 10_000
REFILL_BELOW: Final = 2_000


class ReadyQueue:
    """Ready units by id; iteration is oldest first."""

    def __init__(self) -> None:
        self._units: dict[int, ReadyUnit] = {}
        self._sorted = True
        self.overflowed = False
        self.unsent = 0

    def __len__(self) -> int:
        return len(self._units)

    def __iter__(self) -> Iterator[ReadyUnit]:
        if not self._sorted:
            self._units = dict(sorted(self._units.items()))
            self._sorted = True
        return iter(self._units.values())

    def put(self, unit: life.Unit, run: int, needs: frozenset[str]) -> None:
        """Bring the queue up to date with a unit as it stands in the tables."""
        old = self._units.pop(unit.id, None)
        self.unsent -= old.unsent if old else 0
        if unit.state is not UnitState.READY or unit.unsent < 1:
            return
        if len(self._units) >= CAPACITY:
            self.overflowed = True
            return
        barred = frozenset(r.volunteer for r in unit.replicas if not life.may_take(unit, r.volunteer))
        self._units[unit.id] = ReadyUnit(unit=unit.id, run=run, unsent=unit.unsent, needs=needs, barred=barred)
        self.unsent += unit.unsent
        self._sorted = False

    @property
    def wants_refill(self) -> bool:
        """Whether the tables hold more ready units than the queue, and there is room for them."""
        return self.overflowed and len(self._units) < REFILL_BELOW
