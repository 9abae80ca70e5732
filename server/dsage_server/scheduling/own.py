"""Which units the server computes itself: a small share of the accepted ones, and those whose answers disagree.

The draw is of another key than the one by which hosts are checked, so neither says anything of the other. What waits
here is written down now and then, so that a kill loses what was drawn in some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from dsage.states import ReplicaState, UnitState
from dsage_validator.reputation import drawn
from dsage_validator.unit import Trust, Unit

if TYPE_CHECKING:
    from dsage_server.store.units import Changed

MOST_MILLI: Final = 1000
"""Credit of the dearest unit that the server computes: a minute of the reference computer."""
MOST: Final = 1000
"""Units of either kind that wait; further ones are not computed."""


class OwnChecks:
    """Units that wait to be computed here. While `share` is 0 there are none."""

    def __init__(self) -> None:
        self.share = 0.0
        self.key = b""
        self.noted: tuple[int, ...] = ()
        """What was written down last of those that wait."""
        self._disputed: dict[int, None] = {}
        self._drawn: dict[int, None] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._disputed) + len(self._drawn)

    def offer(self, entry: Changed) -> None:
        """Look at a unit that has changed."""
        unit, head = entry.unit, entry.head
        if not self.share or not unit.adaptive or head.credit_milli > MOST_MILLI or head.inputs:
            return
        if disputed(unit):
            line = self._disputed if camps(unit) != camps(entry.was) else {}
        else:
            accepted = entry.ended and unit.state is UnitState.VALID
            line = self._drawn if accepted and drawn(self.key, unit.id) < self.share else {}
        if len(line) < MOST:
            line[unit.id] = None
            self._changed.set()

    def drawn(self) -> tuple[int, ...]:
        """Return the accepted units that wait."""
        return tuple(self._drawn)

    def restore(self, numbers: Iterable[int]) -> None:
        """List accepted units that waited before this start."""
        self._drawn.update(dict.fromkeys(numbers))
        self.noted = self.drawn()
        self._changed.set()

    async def get(self) -> int:
        """Take the unit that waits longest, disputed ones first: somebody waits for these."""
        while not len(self):
            self._changed.clear()
            await self._changed.wait()
        line = self._disputed or self._drawn
        number = next(iter(line))
        del line[number]
        return number


def camps(unit: Unit) -> dict[int, int]:
    """Return the camp of each answer that is heard, while no answer is accepted."""
    return {
        r.id: r.camp
        for r in unit.replicas
        if r.state is ReplicaState.REPORTED and r.camp is not None and r.trust >= Trust.NEW and not unit.final
    }


def disputed(unit: Unit) -> bool:
    """Whether answers of an open unit disagree."""
    return len(set(camps(unit).values())) > 1
