"""Units whose answers wait for the app's own judgement: each is listed once and is with one checker at a time."""

from __future__ import annotations

import asyncio
from itertools import chain


class CheckQueue:
    """A queue of unit ids. Two checkers of one unit could each make a centre of answers that agree.

    Answers of units that were cancelled are checked for their pay alone, which may take the computing of a piece again:
    seconds, where the others take milliseconds and a driver waits for them. So they have a line of their own.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        self._unhurried: dict[int, None] = {}
        self._taken: set[int] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._unhurried)

    def put(self, unit: int, *, hurried: bool = True) -> None:
        """List a unit; one that is with a checker now will be looked at again. Nobody waits for one not `hurried`."""
        line, other = (self._waiting, self._unhurried) if hurried else (self._unhurried, self._waiting)
        other.pop(unit, None)
        line[unit] = None
        self._changed.set()

    async def get(self, *, hurried: bool = True) -> int:
        """Take the unit that waits longest, until `done`: of the hurried ones, or else of any, the others first."""
        while True:
            for unit in self._waiting if hurried else chain(self._unhurried, self._waiting):
                if unit not in self._taken:
                    self._waiting.pop(unit, None)
                    self._unhurried.pop(unit, None)
                    self._taken.add(unit)
                    return unit
            self._changed.clear()
            await self._changed.wait()

    def done(self, unit: int) -> None:
        """Give a unit back after judging it."""
        self._taken.discard(unit)
        self._changed.set()
