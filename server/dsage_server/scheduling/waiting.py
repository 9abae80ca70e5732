"""Calls that are held open: each waits for its name to be called, or for its time to run out."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable


class Waiting:
    """Futures by name. `call` ends every wait on a name; `call_all` ends all of them (at shutdown).

    Who looks first and waits then could miss a call in between, so a wait names the moment of the look: `since`
    is what `moment` returned before it, and a call after that moment ends the wait at once.
    """

    def __init__(self) -> None:
        self._futures: dict[Hashable, set[asyncio.Future[None]]] = defaultdict(set)
        self._called: dict[Hashable, int] = {}
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
        if self._called.get(name, 0) > since:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[name].add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
            return True
        except TimeoutError:
            return False
        finally:
            self._futures[name].discard(future)
            if not self._futures[name]:
                del self._futures[name]

    def call(self, name: Hashable) -> None:
        """End every wait on `name`, also of those who are still looking."""
        self._moment += 1
        self._called[name] = self._moment
        for future in self._futures.get(name, ()):
            if not future.done():
                future.set_result(None)

    def call_all(self) -> None:
        """End every wait."""
        for name in self.names():
            self.call(name)
