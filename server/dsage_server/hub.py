"""The heart of the server: the store, the ready queue, the waiting calls, and the tasks that keep time.

The requests of the machine API are two rooms: `exchange` for volunteers' hosts, `requests` for researchers. What a
request changes is committed first; then the queue and the waiting calls learn of it; then the caller gets its answer.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dsage import wire
from dsage.errors import Busy
from dsage.states import ReplicaState, RunState, UnitState
from dsage.trust.chain import Chain
from dsage.trust.envelope import Envelope
from dsage.trust.keys import PrivateKey
from dsage_server.allowances import Allowances
from dsage_server.blobs.library import Blobs
from dsage_server.control import Control
from dsage_server.exchange import Exchanges
from dsage_server.metrics import Meters
from dsage_server.neighbours import Neighbours
from dsage_server.requests import Requests
from dsage_server.scheduling import policy
from dsage_server.scheduling.checking import CheckQueue
from dsage_server.scheduling.known import KnownUnits
from dsage_server.scheduling.own import OwnChecks
from dsage_server.scheduling.pressure import Pressure
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.shares import FairShare
from dsage_server.scheduling.terms import ReadyUnit, RunTerms
from dsage_server.scheduling.waiting import Waiting
from dsage_server.sessions import Session, Sessions
from dsage_server.settings import Quota
from dsage_server.store import kinship, runs, units
from dsage_server.store.announcements import Notice
from dsage_server.store.claims import claim
from dsage_server.store.engine import Store
from dsage_server.store.ready import as_ready, ready_units, wanted_of
from dsage_validator import contest, issuing, life

log = logging.getLogger(__name__)

WAKE_MOST: Final = 64
"""Idle hosts that are called at a time to look for work; the others have their turn at the next."""
AGAIN_S: Final = 1.0
FETCH_MOST: Final = 500
"""Ready units fetched at a time: what takes long in a thread makes the loop wait for the interpreter."""
CLAIM_LEAST: Final = 100
CLAIM_TIMES: Final = 4
"""A process claims so many times the units that its hosts can hold."""


@dataclass(slots=True)
class Hub:
    """One server process. `checks` gets the units whose answers wait for the app's own judgement.

    `clock` is the date, which people may set; durations inside the process are measured in `ticks`.
    """

    store: Store
    unit_key: PrivateKey
    chain: Chain
    blobs: Blobs
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    sessions: Sessions = field(default_factory=Sessions)
    meters: Meters = field(default_factory=Meters)
    waiting: Waiting = field(default_factory=Waiting)
    ready: ReadyQueue = field(default_factory=ReadyQueue)
    checks: CheckQueue = field(default_factory=CheckQueue)
    shares: FairShare = field(default_factory=FairShare)
    pressure: Pressure = field(default_factory=Pressure)
    ledger: asyncio.Event = field(default_factory=asyncio.Event)
    own: OwnChecks = field(default_factory=OwnChecks)
    liars: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether a host may have been found lying, so that what was accepted on its word is to be looked at."""
    known: KnownUnits = field(default_factory=KnownUnits)
    contested: set[int] = field(default_factory=set)
    """Accepted units whose answer somebody contradicted, to be looked at."""
    contests: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether there are some, or `unlisted` is to be seen to."""
    unlisted: bool = False
    """Whether a run was closed in the queue, or opened again, so that its contested units are to be listed anew."""
    discovered: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether a discovery was declared, or an answer came that may confirm one."""
    retired: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether a run was retired, so that it is to be archived now."""
    quota: Quota = field(default_factory=Quota)
    """What each researcher may have at a time, unless it was set for their key."""
    approve_first_runs: bool = False
    """Whether a new researcher's first run waits for a second person."""
    maintenance: Notice | None = None
    """Because of what no work is given out now, if so."""
    exchanges: Exchanges = field(init=False)
    requests: Requests = field(init=False)
    control: Control = field(init=False)
    allowances: Allowances = field(init=False)
    neighbours: Neighbours = field(init=False)
    serves: bool = True
    """Whether hosts may call this process: only then it has a queue."""
    can_check: bool = True
    closing: bool = False
    _runs: dict[int, runs.RunInfo] = field(default_factory=dict)
    hungry_drivers: set[int] = field(default_factory=set)
    """Runs whose drivers wait for volunteers to be hungry."""
    _terms: dict[int, RunTerms] = field(default_factory=dict)
    _refills: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store.told = self.meters.committed
        self.exchanges = Exchanges(self)
        self.requests = Requests(self)
        self.control = Control(self)
        self.allowances = Allowances(self.store, self.ticks, self.quota)
        self.neighbours = Neighbours(self)

    @property
    def server_id(self) -> str:
        """This server's id."""
        return self.chain.root.server_id

    # -- volunteers' hosts -----------------------------------------------------------------------------------

    async def exchange(self, session: Session, request: wire.Exchange) -> wire.ExchangeReply:
        """Take reports, renew leases, hand out work; hold the call while there is nothing to say."""
        return await self.exchanges.exchange(session, request)

    # -- what changes, and who learns of it --------------------------------------------------------------------

    def learn(self, changed: Iterable[units.Changed]) -> None:
        """After a commit: bring the queue and the records up to date, and call whoever waits for this."""
        told: set[int] = set()
        ended: set[int] = set()
        stopped: set[int] = set()
        fresh = 0
        for entry in changed:
            unit, run = entry.unit, entry.run
            if unit.unsent and entry.head.run_state == RunState.RUNNING:
                self._put(entry)
            else:
                self.ready.drop(unit.id)
            told.add(run)
            fresh += unit.unsent
            if unit.state is UnitState.VALID is entry.was.state:
                self.discovered.set()
            if entry.ended:
                ended.add(run)
                stopped.update([r.host for r in unit.replicas if r.state is ReplicaState.LEASED])
            if unit.replicas:
                self.exchanges.learn(entry)
                self.own.offer(entry)
                self.known.learn(entry)
                if any(r.state is ReplicaState.INVALID for r in unit.replicas):
                    self.liars.set()
                    self.neighbours.say.ledger = self.store.shared
                if contest.contesting(unit):
                    self.contest(unit.id)
                    self.neighbours.say.contested.add(unit.id)
                if unit.state is UnitState.VALID or unit.state is UnitState.CANCELLED:
                    self.ledger.set()
                    self.neighbours.say.ledger = self.store.shared
                if life.unjudged(unit):
                    self.checks.put(unit.id, hurried=unit.state is not UnitState.CANCELLED)
                    if self.store.shared:
                        self.neighbours.say.checks.add(unit.id)
        for run in told:
            self.waiting.call(("events", run))
        for run in ended:
            self.waiting.call(("run", run))
        for host in stopped:
            self.waiting.call(("host", host))
        if fresh:
            self.wake(fresh)
        if self.store.shared:
            self.neighbours.say.runs |= told
            self.neighbours.say.hosts |= stopped

    def _put(self, entry: units.Changed) -> None:
        """List a unit that has copies to send; what others may serve as well is claimed first, by the next refill."""
        if entry.unit.replicas and self._rests(entry):
            return
        if self.store.shared:
            self.neighbours.say.ready.add(entry.run)
            if not self.serves:
                return
            if not entry.unit.replicas:
                self._opened(entry.run)
                self.ready.more(entry.run)
                return
        terms = self._opened(entry.run)
        if kinship.partners(entry.unit) or terms.homogeneous:
            wanted = self.store.read_now(lambda c: wanted_of(c, entry.unit, terms))
            self.ready.put(as_ready(entry, terms, *wanted))
        else:
            self.ready.put(as_ready(entry, terms))

    def _rests(self, entry: units.Changed) -> bool:
        """Whether a unit rests, because a copy of it failed now or shortly before."""
        failures = issuing.failures(entry.unit)
        if not failures:
            return False
        number = entry.unit.id
        if failures > issuing.failures(entry.was) and self.serves:
            self._opened(entry.run)
            self.ready.rest(number, entry.run, failures, self.ticks())
        return number in self.ready.resting

    async def wake_rested(self) -> None:
        """List the units that have rested enough."""
        now = self.ticks()
        due = self.ready.resting.due(now)
        if due:
            book = await self.store.read(lambda c: units.Book.of(c, due, lock=False))
            rested = [book.entry(number) for number in self.ready.resting.over(now) if number in book.now]
            for entry in rested:
                if entry.unit.unsent and entry.head.run_state == RunState.RUNNING:
                    self._put(entry)
            self.wake(len(rested))

    async def list_again(self, wanted: Collection[int]) -> None:
        """List accepted units of which a copy is to go out, to confirm their answers; their runs may have ended."""
        book = await self.store.read(lambda c: units.Book.of(c, wanted, lock=False))
        for number in book.now:
            entry = book.entry(number)
            if entry.unit.unsent and entry.head.run_state != RunState.PAUSED:
                await self.run(entry.run)
                self._put(entry)
        self.wake(len(wanted))

    def contest(self, number: int) -> None:
        """An accepted unit is contested, or has one more answer since."""
        if self.serves:
            self.contested.add(number)
            self.contests.set()

    def list_contested(self) -> None:
        """Contested units may have left the queue, or may go out again."""
        self.unlisted = True
        self.contests.set()

    def tell(self, number: int) -> None:
        """Call the driver and the watchers of a run: its own state changed."""
        self.waiting.call(("run", number))
        self.waiting.call(("events", number))
        if self.store.shared:
            self.neighbours.say.runs.add(number)

    async def begin(self, number: int) -> None:
        """A run may give out work again: its units are in the tables, those too below one that was put already."""
        if number in await self.store.read(runs.running):
            await self.run(number)
            if self.serves:
                self._opened(number)
                self.ready.more(number, anew=True)
                self.refill()
                self.list_contested()
            if self.store.shared:
                self.neighbours.say.ready.add(number)
        self.tell(number)

    def over(self, number: int, *, paused: bool = False) -> None:
        """A run has ended, or was paused: nothing of it is to be handed out any more."""
        self.ended_here(number)
        if paused and number in self._runs:
            self.ready.paused[number] = self._runs[number].project
        if self.store.shared:
            self.neighbours.say.over.add(number)

    def ended_here(self, number: int) -> None:
        """What `over` means in this process. What was contested of a run that is done goes on."""
        self.ready.close_run(number)
        self.list_contested()
        self.exchanges.blame.over(number)
        self._terms.pop(number, None)
        self.waiting.call(("run", number))
        self.waiting.call(("events", number))

    async def more(self, number: int) -> None:
        """A run has ready units in the tables, put there by another process."""
        if self.serves:
            await self.run(number)
            self._opened(number)
            self.ready.more(number)
            self.refill()

    async def look(self) -> None:
        """Look at the tables: for runs that began or ended, ready units, unjudged answers and unfolded credit."""
        running = await self.store.read(runs.running)
        for number in set(self.ready.runs) - set(running):
            self.ended_here(number)
        for number in running:
            await self.more(number)
        for number in await self.store.read(units.unjudged):
            self.checks.put(number)
        self.ledger.set()

    def wake(self, copies: int) -> None:
        """Call hosts that wait for work, as many as there are copies at most; `timekeeping` calls the next ones."""
        for host in self.exchanges.crowd.call_idle(min(copies, WAKE_MOST)):
            self.waiting.call(("host", host))

    def hungry(self) -> int:
        """How many more units volunteers could start on."""
        if self.maintenance is not None:
            return 0
        others, waiting = self.neighbours.crowd()
        capacity = self.exchanges.crowd.capacity(self.ticks()) + others
        return policy.hungry(capacity, self.ready.unsent + waiting) if capacity else 0

    def call_hungry_drivers(self) -> None:
        """Call the drivers that wait for volunteers to be hungry, if they are."""
        if self.hungry_drivers and self.hungry():
            for number in self.hungry_drivers:
                self.waiting.call(("run", number))
            self.hungry_drivers.clear()

    async def run(self, number: int) -> runs.RunInfo:
        """Return what is fixed about a run; raises NotFound."""
        if number not in self._runs:
            self._runs[number] = await self.store.read(lambda c: runs.info(c, number))
        return self._runs[number]

    def info(self, connection: Connection, number: int) -> runs.RunInfo:
        """Return what is fixed about a run, inside a transaction."""
        if number not in self._runs:
            self._runs[number] = runs.info(connection, number)
        return self._runs[number]

    async def load(self) -> None:
        """At the start: the queue and the checks from the tables."""
        for number in await self.store.read(runs.running) if self.serves else ():
            await self.run(number)
            self._opened(number, in_tables=True)
        for number in await self.store.read(runs.paused) if self.serves else ():
            self.ready.paused[number] = (await self.run(number)).project
        self.refill()
        await asyncio.gather(*self._refills)
        for number in await self.store.read(units.unjudged):
            self.checks.put(number)

    def refill(self) -> None:
        """Begin to fetch ready units of runs that have few in the queue and more in the tables."""
        wanted = self.ready.runs_to_refill()
        if wanted:
            task = asyncio.get_running_loop().create_task(self._refill(wanted))
            self._refills.add(task)
            task.add_done_callback(self._refills.discard)

    async def _refill(self, wanted: list[tuple[int, int, int]]) -> None:
        for number, above, limit in wanted:
            if number not in self.ready.runs:
                continue
            terms = self._opened(number)
            try:
                found, complete = await self._fetch(terms, above, limit)
            except (Busy, SQLAlchemyError) as error:
                log.warning("ready units of run %s could not be fetched: %s", number, error)
                await asyncio.sleep(AGAIN_S)
                self.ready.refill(number, [], complete=False)
            else:
                found = [each for each in found if each.unit not in self.ready.resting]
                self.ready.refill(number, found, complete=complete)
        self.wake(self.ready.unsent)

    async def _fetch(self, terms: RunTerms, above: int, limit: int) -> tuple[list[ReadyUnit], bool]:
        """Return further ready units of a run; of a shared database no more than this process's hosts need soon."""
        if not self.store.shared:
            most = min(limit, FETCH_MOST)
            return await self.store.read(functools.partial(ready_units, terms=terms, above=above, limit=most))
        most = min(limit, max(CLAIM_LEAST, CLAIM_TIMES * self.exchanges.crowd.capacity(self.ticks())))
        return await self.store.write(lambda c: claim(c, terms, most, self.clock()))

    def _opened(self, number: int, *, in_tables: bool = False) -> RunTerms:
        """Return the terms of a run that the queue knows."""
        terms = self._terms.get(number)
        if terms is None:
            info = self._runs.get(number) or self.store.read_now(lambda c: runs.info(c, number))
            terms = self._terms[number] = info.terms
            self._runs[number] = info
        if number not in self.ready.runs:
            self.ready.open_run(terms, in_tables=in_tables)
        return terms

    async def document(self, name: str) -> Envelope:
        """Return a signed document by the hash of its payload; raises NotFound."""
        return await self.store.read(lambda c: runs.find_document(c, name))
