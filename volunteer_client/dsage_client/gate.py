"""The gate that every unit passes: how many may run at a time, whose turn it is, whether they may go on at all.

One client may work for several servers. Each gets its share of the cores; what one has no work for goes to the others.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.line import Line
from dsage_client.runner import Room

HALF_LIFE_S: Final = 3600.0
"""What a server used counts half after this long: one that was away does not get the next day for itself."""
EVERYTHING: Final = Standing(work=Work.RUN, reason=Reason.WORKING)
"""The standing of a client that nobody restricts."""

NOTHING: Final = Room()


@dataclass(slots=True)
class _Turn:
    """A server at the gate. `used` is the core time (s) it had of late, over its share; `last` is what the unit may
    use that came last."""

    share: int = 100
    idle: bool = False
    used: float = 0.0
    running: int = 0
    last: Room = NOTHING
    waiting: list[tuple[asyncio.Future[None], Room]] = field(default_factory=list)


class Gate:
    """Cores, shared by servers, and what else they share: the line, and the `room` that all running units may take
    together. One unit alone may always run; it is for the runner to hold it to that room.

    `cores` is how many units may run at a time when the standing names no number.
    """

    def __init__(self, cores: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.standing = EVERYTHING
        self.line = Line()
        self._room = Room.of_host()
        self._taken = NOTHING
        self._all = cores
        self._clock = clock
        self._turns: dict[str, _Turn] = {}
        self._running = 0
        self._faded = clock()

    @property
    def cores(self) -> int:
        """How many units may run at a time now."""
        return min(self.standing.cores or self._all, self._all)

    @property
    def running(self) -> int:
        """How many units have passed and not come back."""
        return self._running

    @property
    def open(self) -> bool:
        """Whether a unit may begin."""
        return self.standing.work in (Work.RUN, Work.FINISH)

    @property
    def room(self) -> Room:
        """What all running units may take together."""
        return self._room

    @room.setter
    def room(self, room: Room) -> None:
        self._room = room
        self._pass()

    def fits(self, wanted: Room) -> bool:
        """Whether a unit that may use so much may run beside those that do."""
        return not self._running or self._room.holds(self._taken, wanted)

    def join(self, server: str, share: int = 100) -> None:
        """A server takes part, or its share has changed. A share of 0 gets what the others leave."""
        self._turns.setdefault(server, _Turn()).share = share
        self._pass()

    def part(self, server: str) -> None:
        """A server takes part no more."""
        self._turns.pop(server, None)

    def idle(self, server: str, idle: bool) -> None:
        """A server has no work for us, or has some again."""
        if server in self._turns:
            self._turns[server].idle = idle

    def set(self, standing: Standing) -> None:
        """Let through what a new decision allows."""
        self.standing = standing
        self.line.set(open=standing.send)
        self._pass()

    def slots(self, server: str) -> int:
        """Return for how many cores a server may hold units: its share of those that have work, as far as there is room
        for units like its last one, and at least one core."""
        me, share = self._turns.get(server), self._share(server)
        return share if me is None else min(share, max(1, me.running + self._room.more(self._taken, me.last)))

    def tight(self, server: str) -> bool:
        """Whether it is for lack of room that a server may not hold more units."""
        return self.slots(server) < self._share(server)

    def _share(self, server: str) -> int:
        me = self._turns.get(server)
        if me is None:
            return self.cores
        others = [turn for turn in self._turns.values() if turn is not me and not turn.idle and turn.share > 0]
        if not others:
            return self.cores
        if me.share == 0:
            return 0
        return max(1, math.ceil(self.cores * me.share / (me.share + sum(turn.share for turn in others))))

    @asynccontextmanager
    async def core(self, server: str, wanted: Room = NOTHING) -> AsyncIterator[None]:
        """Wait in turn for a core, and for room beside what runs; have both."""
        turn = self._turns.setdefault(server, _Turn())
        turn.last = wanted
        mine = asyncio.get_running_loop().create_future()
        turn.waiting.append((mine, wanted))
        self._pass()
        try:
            await mine
        except BaseException:
            if (mine, wanted) in turn.waiting:
                turn.waiting.remove((mine, wanted))
                self._pass()
            elif not mine.cancelled():
                self._end(turn, wanted)
            raise
        began = self._clock()
        try:
            yield
        finally:
            self._fade()
            turn.used += (self._clock() - began) / max(turn.share, 1)
            self._end(turn, wanted)

    def _end(self, turn: _Turn, wanted: Room) -> None:
        self._running -= 1
        turn.running -= 1
        self._taken -= wanted
        self._pass()

    def _pass(self) -> None:
        """Let units through while there are free cores: of the server that had least for its share, the oldest.

        If there is no room for that one, the others wait too: a large unit would never run if small ones slipped past.
        """
        while self.open and self._running < self.cores:
            turns = [turn for turn in self._turns.values() if turn.waiting]
            if not turns:
                return
            turn = min(turns, key=lambda turn: (turn.share == 0, turn.used))
            mine, wanted = turn.waiting[0]
            if not mine.done() and not self.fits(wanted):
                return
            turn.waiting.pop(0)
            if not mine.done():
                mine.set_result(None)
                self._running += 1
                turn.running += 1
                self._taken += wanted

    def _fade(self) -> None:
        now = self._clock()
        fading = 0.5 ** ((now - self._faded) / HALF_LIFE_S)
        self._faded = now
        for turn in self._turns.values():
            turn.used *= fading
