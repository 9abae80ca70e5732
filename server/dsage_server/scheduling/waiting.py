"""Calls that are held open: each waits for its name to be called, or for its time to run out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

MOST_CALLED: Final = 100_000
"""Names whose last call is remembered; beyond that the oldest are forgotten, and who still looks is called."""


class Waiting:
    """Futures by name. `call` ends every wait on a name; `call_all` ends all of them (at shutdown).

    Who looks first and waits then could miss a call in between, so a wait names the moment of the look: `since`
    is what `moment` returned before it, and a call after that moment ends the wait at once.
    """

    def __init__(self) -> None:
        self._futures: dict[Hashable, set[asyncio.Future[bool]]] = {}
        self._called: OrderedDict[Hashable, int] = OrderedDict()
        self._forgotten = 0
        self._moment = 0

    def __len__(self) -> int:
        return sum(len(futures) for futures in self._futures.values())

    def names(self) -> list[Hashable]:
        """Return the names that somebody waits on."""
        return list(self._futures)

    def moment(self) -> int:
        """Return the present moment, to be asked for before looking."""
        return self._moment

    async def wait(self, name: Hashable, seconds: float, *, since: int) -> bool:
        """Wait until `name` is called, counting from the moment `since`; False if the time ran out first."""
        if self._called.get(name, self._forgotten) > since:
            return True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        mine = self._futures.setdefault(name, set())
        mine.add(future)
        timer = loop.call_later(seconds, _end, future, False)
        try:
            return await future
        finally:
            timer.cancel()
            mine.discard(future)
            if not mine and self._futures.get(name) is mine:
                del self._futures[name]

    def call(self, name: Hashable) -> None:
        """End every wait on `name`, also of those who are still looking."""
        self._moment += 1
        self._called[name] = self._moment
        self._called.move_to_end(name)
        if len(self._called) > MOST_CALLED:
            self._forgotten = self._called.popitem(last=False)[1]
        for future in self._futures.get(name, ()):
            _end(future, True)

    def call_all(self) -> None:
        """End every wait."""
        for name in self.names():
            self.call(name)


def _end(future: asyncio.Future[bool], called: bool) -> None:
    if not future.done():
        future.set_result(called)
