"""The server's side of hosting: keeps a hosting process while there are hosted runs, and gives it their tokens."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dsage.errors import Busy, SandboxRefused, StorageFull
from dsage.sandbox import Level
from dsage.threads import made
from dsage.trust.invite import Link
from dsage.trust.keys import key_hash
from dsage_server.hosting.launching import Started, launch, workplace
from dsage_server.hosting.lines import MAX_LINE_BYTES, MAX_REASON, Greeting, Host, Left, Line, Renew
from dsage_server.hub import Hub
from dsage_server.sessions import DRIVER, TOKEN_S, Session
from dsage_server.store import hosting
from dsage_server.store.hosting import Hosted
from dsage_server.store.meta import recall
from dsage_server.store.processes import Place

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""How often the tables are looked at for hosted runs that other processes took in."""
IDLE_S: Final = 20.0
"""The hosting process ends when nothing was hosted for so long."""
FIRST_BACKOFF_S: Final = 1.0
LAST_BACKOFF_S: Final = 60.0
STEADY_S: Final = 60.0
"""A process that lived so long and ends is started again at once."""
END_S: Final = 5.0
HOUSE: Final = "house"
"""The folder, below the server's, that the hosting process works in."""


@dataclass(slots=True)
class Keeper:
    """Keeps hosted runs driven. `place` is this process's among those that share the database, None if it is alone."""

    hub: Hub
    level: Level
    folder: Path
    place: Place | None
    backoff_s: float = FIRST_BACKOFF_S
    _tenants: dict[int, Hosted] = field(default_factory=dict)

    async def keep(self) -> None:
        """Keep hosted runs driven, for ever. Claims that cannot be given back at its end are void with this process."""
        try:
            while True:
                since = self.hub.waiting.moment()
                if await self._wanted():
                    await self._one_life()
                else:
                    await self.hub.waiting.wait(hosting.HOSTED, LOOK_S, since=since)
        finally:
            if self.place is not None:
                with suppress(Busy, StorageFull, SQLAlchemyError):
                    await self.hub.store.write(partial(hosting.release, place=self.place))

    async def _one_life(self) -> None:
        """Start the hosting process and serve it until it ends, or nothing is hosted any more."""
        link, began = await self.hub.store.read(self._link), self.hub.ticks()
        if link is None:
            log.warning("hosted runs wait: no server that shares this database has said yet where its machine API is")
            await asyncio.sleep(LOOK_S)
            return
        try:
            with workplace(self.folder) as folder:
                started = await made(Started.abandon, launch)
                try:
                    greeting = Greeting(link=str(link), level=self.level.value, folder=str(folder))
                    idle = await self._serve(started, greeting)
                finally:
                    await self._ended(started)
        except (SandboxRefused, OSError) as error:
            log.warning("the hosting process cannot be started: %s", error)
            idle = False
        if idle:
            return
        if self.hub.ticks() - began > STEADY_S:
            self.backoff_s = FIRST_BACKOFF_S
        log.warning("the hosting process has ended; it is started again in %.0f s", self.backoff_s)
        await asyncio.sleep(self.backoff_s)
        self.backoff_s = min(2 * self.backoff_s, LAST_BACKOFF_S)

    async def _serve(self, started: Started, greeting: Greeting) -> bool:
        """Give a hosting process its runs; True when it has had none for long, False when it has ended."""
        reader, writer = await asyncio.open_unix_connection(sock=started.end, limit=MAX_LINE_BYTES)
        line: Line[Renew | Left] = Line(Renew | Left, reader, writer)
        self._tenants.clear()
        line.say(greeting)
        hearing = asyncio.create_task(self._hear(line))
        busy = self.hub.ticks()
        try:
            while not hearing.done():
                since = self.hub.waiting.moment()
                for found in await self._wanted():
                    if found.run not in self._tenants:
                        self._tenants[found.run] = found
                        line.say(self._token(found))
                busy = self.hub.ticks() if self._tenants else busy
                if self.hub.ticks() - busy > IDLE_S:
                    return True
                called = asyncio.create_task(self.hub.waiting.wait(hosting.HOSTED, LOOK_S, since=since))
                try:
                    await asyncio.wait({called, hearing}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    called.cancel()
            return False
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            line.close()

    async def _hear(self, line: Line[Renew | Left]) -> None:
        try:
            async for said in line.heard():
                if isinstance(said, Left):
                    await self._left(said)
                elif said.run in self._tenants:
                    line.say(self._token(self._tenants[said.run]))
        except msgspec.DecodeError:
            log.warning("the hosting process says what makes no sense")

    async def _left(self, said: Left) -> None:
        """A run is driven no more: because it ended, was taken over or, with a reason, cannot be hosted."""
        if self._tenants.pop(said.run, None) is None:
            return

        def change(connection: Connection) -> None:
            if self.place is not None:
                hosting.release(connection, self.place, said.run)
            if said.reason:
                hosting.unhost(connection, said.run, said.reason[:MAX_REASON], self.hub.clock())

        await self.hub.store.write(change)
        self.hub.tell(said.run)

    async def _wanted(self) -> list[Hosted]:
        """Return the hosted runs that are this process's to drive."""
        found = await self.hub.store.read(hosting.hosted)
        if not found or self.place is None:
            return found
        mine, place, now = set(self._tenants), self.place, self.hub.clock()
        others = [each.run for each in found if each.run not in mine]
        free = await self.hub.store.read(lambda c: hosting.free(c, others, place, now)) if others else []
        if free:
            mine |= await self.hub.store.write(lambda c: hosting.claim(c, free, place, now))
        return [each for each in found if each.run in mine]

    def _link(self, connection: Connection) -> Link | None:
        """Return where the machine API is, as the process that answers there has said."""
        url, ca, root = recall(connection, "url"), recall(connection, "ca"), self.hub.chain.root
        return Link(url, root.server_id, ca, key_hash(root.root_key)) if url and ca else None

    def _token(self, found: Hosted) -> Host:
        """Return what the hosting process needs to drive a run, for a quarter of an hour."""
        session = Session(role=DRIVER, key=found.researcher, run=found.run, expires=self.hub.clock() + TOKEN_S)
        return Host(run=found.run, token=self.hub.sessions.open(session), authorisation=found.authorisation)

    async def _ended(self, started: Started) -> None:
        """See to it that the hosting process is gone: it ends when its socket closes, or is killed."""
        started.end.close()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(started.process.wait, END_S)
        started.process.kill()
        await asyncio.to_thread(started.process.wait)
