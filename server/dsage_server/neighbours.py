"""What the server processes of one database tell each other, by PostgreSQL's LISTEN and NOTIFY.

A message says no more than where to look: the tables have the facts, so one that is lost costs time and nothing else
(`LOOK_S`). What happened within SAY_S is one message, because a NOTIFY in every commit would make the commits wait for
one another.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from dsage.errors import NotFound
from dsage_server.store.claims import release

if TYPE_CHECKING:
    from dsage_server.hub import Hub

log = logging.getLogger(__name__)

CHANNEL: Final = "dsage"
SAY_S: Final = 0.05
BEAT_S: Final = 2.0
"""How often a process says what its hosts can hold, also if nothing happened."""
SILENT_S: Final = 10.0
"""A process that said nothing for so long does not count."""
LOOK_S: Final = 5.0
"""How often every process looks at the tables by itself."""
MOST: Final = 150
"""Ids of one kind in a message: PostgreSQL takes 8,000 bytes."""


class Message(msgspec.Struct, omit_defaults=True):
    """Where to look: `runs` that moved, `ready` ones with units to be had, those that are `over`; `hosts` to be
    called, units whose answers wait for `checks` or are `contested`; whether credit was granted (`ledger`) and whether
    hosts wait in vain (`hungry`); and the copies that the sender's hosts can hold, and those that wait in its queue."""

    slot: int
    runs: set[int] = set()
    ready: set[int] = set()
    over: set[int] = set()
    hosts: set[int] = set()
    checks: set[int] = set()
    contested: set[int] = set()
    ledger: bool = False
    hungry: bool = False
    capacity: int = 0
    unsent: int = 0


class Neighbours:
    """The other processes. `say` is what goes out next; of a database that nobody else has, nothing ever does."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.say = Message(0)
        self._others: dict[int, tuple[float, int, int]] = {}
        self._said = 0.0
        self._cried = 0.0

    def crowd(self) -> tuple[int, int]:
        """Return how many copies the hosts of all others can hold, and how many wait in their queues."""
        since = self.hub.ticks() - SILENT_S
        live = [(capacity, unsent) for at, capacity, unsent in self._others.values() if at > since]
        return sum(capacity for capacity, _ in live), sum(unsent for _, unsent in live)

    async def keep_in_touch(self) -> None:
        """Tell and listen, on a connection of its own; an endless task."""
        import psycopg

        url = self.hub.store.url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                while True:
                    async for notify in connection.notifies(timeout=SAY_S):
                        await self._hear(msgspec.json.decode(notify.payload.encode(), type=Message))
                    for payload in self._payloads():
                        await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
        except psycopg.Error as error:
            log.warning("the other server processes cannot be heard: %s", error)
            await asyncio.sleep(BEAT_S)

    async def look_around(self) -> None:
        """Look at the tables now and then: for runs that began or ended elsewhere, and units that were given back."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.hub.look()

    def _payloads(self) -> list[str]:
        """Return what is to be said now, in messages that are short enough."""
        hub, ticks = self.hub, self.hub.ticks()
        said, self.say = self.say, Message(0)
        beat = ticks - self._said >= BEAT_S
        if beat and hub.exchanges.crowd.idle and not hub.ready.unsent:
            said.hungry = True  # hosts whose calls are held cry no more: others may have claimed units since
        if said.hungry and ticks - self._cried < 1.0:
            said.hungry = False
        if not beat and said == Message(0):
            return []
        self._said = ticks
        self._cried = ticks if said.hungry else self._cried
        parts: list[Message] = []
        while not parts or any((said.runs, said.ready, said.over, said.hosts, said.checks, said.contested)):
            part = Message(
                hub.store.slot, ledger=said.ledger, hungry=said.hungry, unsent=hub.ready.unsent,
                capacity=hub.exchanges.crowd.capacity(ticks),
            )  # fmt: skip
            for name in ("runs", "ready", "over", "hosts", "checks", "contested"):
                left = getattr(said, name)
                setattr(part, name, {left.pop() for _ in range(min(MOST, len(left)))})
            parts.append(part)
        return [msgspec.json.encode(part).decode() for part in parts]

    async def _hear(self, message: Message) -> None:
        hub = self.hub
        if message.slot == hub.store.slot:
            return
        self._others[message.slot] = (hub.ticks(), message.capacity, message.unsent)
        for run in message.runs:
            hub.waiting.call(("run", run))
            hub.waiting.call(("events", run))
        for run in message.over:
            hub.ended_here(run)
        for run in message.ready - message.over:
            try:
                await hub.more(run)
            except NotFound:
                log.warning("run %s, of which a server process told, is unknown", run)
        for host in message.hosts:
            hub.waiting.call(("host", host))
        for unit in message.checks:
            hub.checks.put(unit)
        for unit in message.contested:
            hub.contest(unit)
        if message.ledger:
            hub.ledger.set()
            hub.liars.set()
        if message.hungry:
            given = hub.ready.surrender(everything=not hub.exchanges.crowd.capacity(hub.ticks()))
            if given:
                await hub.store.write(lambda c: release(c, [unit for unit, _ in given]))
                self.say.ready.update(run for _, run in given)
