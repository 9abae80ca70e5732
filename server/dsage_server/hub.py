"""The heart of the server: the store, the ready queue, the waiting calls, and the tasks that keep time.

Each public method is one request of the machine API, free of HTTP. What a request changes is committed first;
then the queue and the waiting calls learn of it; then the caller gets its answer.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dsage import wire
from dsage.bundle import MAX_BUNDLE_BYTES
from dsage.errors import Busy, SandboxRefused, TooLarge
from dsage.states import ReplicaState, RunState, UnitState
from dsage.trust.chain import Chain, check_dates
from dsage.trust.documents import Authorisation
from dsage.trust.envelope import Envelope, hash_of
from dsage.trust.keys import PrivateKey
from dsage_server.blobs import answers
from dsage_server.blobs.library import Blobs
from dsage_server.exchange import Exchanges
from dsage_server.neighbours import Neighbours
from dsage_server.scheduling import policy
from dsage_server.scheduling.checking import CheckQueue
from dsage_server.scheduling.pressure import Pressure
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.shares import FairShare
from dsage_server.scheduling.terms import ReadyUnit, RunTerms
from dsage_server.scheduling.waiting import Waiting
from dsage_server.sessions import Session, Sessions
from dsage_server.signing import sign_units
from dsage_server.store import blobs, runs, units
from dsage_server.store.claims import claim
from dsage_server.store.engine import Store
from dsage_server.store.meta import recall
from dsage_server.store.ready import as_ready, ready_units
from dsage_validator import life

log = logging.getLogger(__name__)

TOUCH_S: Final = 20.0
"""How often a driver's presence is written down, while it calls."""
WAKE_MOST: Final = 64
"""Idle hosts that are called at a time to look for work; the others have their turn at the next."""
AGAIN_S: Final = 1.0
FETCH_MOST: Final = 500
"""Ready units fetched at a time: what takes long in a thread makes the loop wait for the interpreter."""
CLAIM_LEAST: Final = 100
CLAIM_TIMES: Final = 4
"""A process claims so many times the units that its hosts can hold."""
MAX_NEW_UNITS: Final = 10_000
"""Units of one step: what a transaction takes without keeping others waiting."""


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
    waiting: Waiting = field(default_factory=Waiting)
    ready: ReadyQueue = field(default_factory=ReadyQueue)
    checks: CheckQueue = field(default_factory=CheckQueue)
    shares: FairShare = field(default_factory=FairShare)
    pressure: Pressure = field(default_factory=Pressure)
    ledger: asyncio.Event = field(default_factory=asyncio.Event)
    exchanges: Exchanges = field(init=False)
    neighbours: Neighbours = field(init=False)
    serves: bool = True
    """Whether hosts may call this process: only then it has a queue."""
    can_check: bool = True
    closing: bool = False
    _runs: dict[int, runs.RunInfo] = field(default_factory=dict)
    _authorisations: dict[str, Authorisation] = field(default_factory=dict)
    _terms: dict[int, RunTerms] = field(default_factory=dict)
    _drivers: dict[int, float] = field(default_factory=dict)
    _hungry: set[int] = field(default_factory=set)
    _refills: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.exchanges = Exchanges(self)
        self.neighbours = Neighbours(self)

    @property
    def server_id(self) -> str:
        """This server's id."""
        return self.chain.root.server_id

    # -- volunteers' hosts -----------------------------------------------------------------------------------

    async def exchange(self, session: Session, request: wire.Exchange) -> wire.ExchangeReply:
        """Take reports, renew leases, hand out work; hold the call while there is nothing to say."""
        return await self.exchanges.exchange(session, request)

    # -- researchers -----------------------------------------------------------------------------------------

    async def store_bundle(self, sha256: str, data: bytes) -> None:
        """Keep a bundle by its hash; keeping it again changes nothing."""
        if len(data) > MAX_BUNDLE_BYTES:
            raise TooLarge(f"a bundle of {len(data)} bytes; at most {MAX_BUNDLE_BYTES} are taken")
        await self.blobs.keep(sha256, data)

    async def submit(self, session: Session, request: wire.SubmitRun) -> wire.RunCreated:
        """Create a run whose app and authorisation this server's root certifies."""
        now = self.clock()
        manifest = self.chain.manifest(request.manifest, now)
        app = hash_of(request.manifest)
        authorisation = self.chain.authorisation(request.authorisation, manifest, app, now)
        has_check = manifest.has_verify or manifest.has_agree or manifest.has_partial
        if has_check and not self.can_check and await self.store.read(lambda c: recall(c, "checks")) != "on":
            raise SandboxRefused("this server has no sandbox for the checks that this app brings along")

        def change(connection: Connection) -> wire.RunCreated:
            created = runs.create(connection, request, manifest, authorisation.run_key, session.key, now)
            blobs.refer(connection, created.run, "bundle", [manifest.bundle], now)
            return created

        return await self.store.write(change)

    async def drive(self, session: Session, number: int) -> wire.Drive:
        """Hand a run to the caller: older drivers are shut out."""
        drive = await self.store.write(lambda c: runs.drive(c, number, session.key, self.clock()))
        self.tell(number)
        return drive

    async def step(self, session: Session, number: int, step: wire.Step) -> wire.StepReply:
        """Commit one step of a run."""
        if len(step.units) > MAX_NEW_UNITS:
            raise TooLarge(
                f"{len(step.units)} units in one step; at most {MAX_NEW_UNITS} are taken",
                hint="Make them over several steps: units() is pulled as volunteers need more.",
            )
        info = await self.run(number)
        now = self.clock()
        signed = None
        fresh, sizes = await self.store.read(
            lambda c: (runs.may_step(c, number, session.key, step), blobs.sizes(c, runs.inputs_of(step)))
        )
        if step.units and fresh:
            authorisation = await self._authorisation(info.authorisation)
            check_dates("the run's authorisation", None, authorisation.expires, now)
            count = len(step.units)
            numbers = await self.store.write(lambda c: c.info["ids"].take(c, "unit", count))
            signed = await asyncio.to_thread(
                sign_units, self.unit_key, authorisation, info.authorisation, numbers.start, step.units, now,
                sizes,
            )  # fmt: skip

        def change(connection: Connection) -> list[units.Changed]:
            return runs.commit_step(connection, number, session.key, step, signed, now)

        await self.store.write(change, then=self.learn)
        if step.finished or step.failed:
            self.over(number)
        return wire.StepReply(step=step.step, hungry=self.hungry())

    async def answers(self, session: Session, number: int, fence: int, wait_s: float, hungry: bool) -> wire.Answers:
        """Return what a driver can fold; hold the call until there is something or volunteers are hungry.

        Raises Busy, with a time to come back, if too many calls are held.
        """
        now = self.ticks()
        ends = now + min(max(wait_s, 0.0), wire.MAX_WAIT_S)
        if now - self._drivers.get(number, -math.inf) > TOUCH_S:
            await self.store.write(lambda c: runs.see_driver(c, number, session.key, fence, self.clock()))
            self._drivers[number] = now

        def query(connection: Connection) -> wire.Answers:
            runs.check_driver(connection, number, session.key, fence)
            return runs.answers(connection, number)

        while True:
            since = self.waiting.moment()
            found = await self.store.read(query)
            await answers.fill(self.blobs, found)
            found.hungry = self.hungry()
            left = ends - self.ticks()
            ended = found.state_of_run != RunState.RUNNING or not found.open_units
            if found.answers or ended or (hungry and found.hungry) or left <= 0 or self.closing:
                return found
            if hungry:
                self._hungry.add(number)
            with self.pressure.hold() as granted:
                if not granted:
                    raise Busy("this server holds as many calls as it can", retry_s=self.pressure.retry_s(idle=True))
                await self.waiting.wait(("run", number), left, since=since)

    async def cancel(self, session: Session, number: int) -> None:
        """Cancel a run and everything of it that is open."""
        now = self.clock()

        def change(connection: Connection) -> list[units.Changed]:
            runs.check_owner(connection, number, session.key)
            return runs.end(connection, number, RunState.CANCELLED, "cancelled by its researcher", now, None)

        await self.store.write(change, then=self.learn)
        self.over(number)

    # -- what changes, and who learns of it --------------------------------------------------------------------

    def learn(self, changed: Iterable[units.Changed]) -> None:
        """After a commit: bring the queue and the records up to date, and call whoever waits for this."""
        told: set[int] = set()
        ended: set[int] = set()
        stopped: set[int] = set()
        fresh = 0
        for entry in changed:
            unit, run = entry.unit, entry.run
            if unit.unsent:
                self._put(entry)
            else:
                self.ready.drop(unit.id)
            told.add(run)
            fresh += unit.unsent
            if entry.ended:
                ended.add(run)
                stopped.update([r.host for r in unit.replicas if r.state is ReplicaState.LEASED])
            if unit.replicas:
                self.exchanges.learn(entry)
                if unit.state is UnitState.VALID or unit.state is UnitState.CANCELLED:
                    self.ledger.set()
                    self.neighbours.say.ledger = self.store.shared
                if life.unjudged(unit):
                    self.checks.put(unit.id)
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
        if self.store.shared:
            self.neighbours.say.ready.add(entry.run)
            if not self.serves:
                return
            if not entry.unit.replicas:
                self._opened(entry.run)
                self.ready.more(entry.run)
                return
        self.ready.put(as_ready(entry, self._opened(entry.run)))

    def tell(self, number: int) -> None:
        """Call the driver and the watchers of a run: its own state changed."""
        self.waiting.call(("run", number))
        self.waiting.call(("events", number))
        if self.store.shared:
            self.neighbours.say.runs.add(number)

    def over(self, number: int) -> None:
        """A run has ended: nothing of it is to be handed out any more."""
        self.ended_here(number)
        if self.store.shared:
            self.neighbours.say.over.add(number)

    def ended_here(self, number: int) -> None:
        """What `over` means in this process."""
        self.ready.close_run(number)
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
        others, waiting = self.neighbours.crowd()
        capacity = self.exchanges.crowd.capacity(self.ticks()) + others
        return policy.hungry(capacity, self.ready.unsent + waiting) if capacity else 0

    def call_hungry_drivers(self) -> None:
        """Call the drivers that wait for volunteers to be hungry, if they are."""
        if self._hungry and self.hungry():
            for number in self._hungry:
                self.waiting.call(("run", number))
            self._hungry.clear()

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

    async def _authorisation(self, name: str) -> Authorisation:
        if name not in self._authorisations:
            envelope = await self.document(name)
            self._authorisations[name] = msgspec.json.decode(envelope.payload, type=Authorisation)
        return self._authorisations[name]

    async def document(self, name: str) -> Envelope:
        """Return a signed document by the hash of its payload; raises NotFound."""
        return await self.store.read(lambda c: runs.find_document(c, name))
