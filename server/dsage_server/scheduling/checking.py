"""Units whose answers wait for the app's own judgement: each is listed once and is with one checker at a time."""

from __future__ import annotations

import asyncio


class CheckQueue:
    """A queue of unit ids. Two checkers of one unit could each make a centre of answers that agree."""

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        self._taken: set[int] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, unit: int) -> None:
        """List a unit; one that is with a checker now will be looked at again."""
        self._waiting[unit] = None
        self._changed.set()

    async def get(self) -> int:
        """Take the unit that waits longest, until `done`."""
        while True:
            for unit in self._waiting:
                if unit not in self._taken:
                    del self._waiting[unit]
                    self._taken.add(unit)
                    return unit
            self._changed.clear()
            await self._changed.wait()

    def done(self, unit: int) -> None:
        """Give a unit back after judging it."""
        self._taken.discard(unit)
        self._changed.set()
