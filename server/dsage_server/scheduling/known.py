"""When a known unit goes out: as soon as a unit of its run has that was made after it, as if it stood in that row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsage_server.store.units import Changed


class KnownUnits:
    """Known units that wait for their turn, and those whose turn it is."""

    def __init__(self) -> None:
        self.due: set[int] = set()
        self.changed = asyncio.Event()
        self._waiting: dict[int, set[int]] = {}
        self._first: dict[int, int] = {}

    def put(self, number: int, run: int) -> None:
        """A known unit of a run waits."""
        self._waiting.setdefault(run, set()).add(number)
        self._first[run] = min(number, self._first.get(run, number))

    def learn(self, entry: Changed) -> None:
        """A unit has changed: if its first copy has gone out, so may the known ones before it."""
        first = self._first.get(entry.run)
        if first is None or entry.unit.id < first or entry.was.replicas or not entry.unit.replicas:
            return
        passed = {number for number in self._waiting[entry.run] if number < entry.unit.id}
        left = self._waiting[entry.run] - passed
        if left:
            self._waiting[entry.run], self._first[entry.run] = left, min(left)
        else:
            del self._waiting[entry.run], self._first[entry.run]
        self.due |= passed
        self.changed.set()
