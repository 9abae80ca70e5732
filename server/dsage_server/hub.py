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
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection

from dsage import codec, wire
from dsage.bundle import MAX_BUNDLE_BYTES
from dsage.errors import NotAllowed, NotFound, SandboxRefused, StorageFull, TooLarge, UsageError, WrongServer
from dsage.files import write_whole
from dsage.states import RunState
from dsage.trust.chain import Chain, check_dates
from dsage.trust.documents import Authorisation, ResultBatch, SignedResult
from dsage.trust.envelope import Envelope, hash_of, open_as
from dsage.trust.keys import PrivateKey
from dsage_server.scheduling import policy
from dsage_server.scheduling.allowance import Allowance
from dsage_server.scheduling.checking import CheckQueue
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.waiting import Waiting
from dsage_server.sessions import Session, Sessions
from dsage_server.signing import sign_units
from dsage_server.store import hosts, leases, runs, units
from dsage_server.store.engine import Store
from dsage_validator import life

log = logging.getLogger(__name__)

ID_BLOCK: Final = 256
TOUCH_S: Final = 20.0
"""How often a host's or driver's presence is written down, while it calls."""
LIVE_S: Final = 60.0
MAX_HOLDING: Final = 2000
"""Copies that one host may hold: 40 full batches."""
MAX_PROOF_BYTES: Final = 64 << 10
"""The signed results of one call, kept for good: some 300 bytes for each of MAX_BATCH."""
SPENT: Final = "too many units came back from this computer unanswered, or not at all; it gets more as time goes by"


@dataclass(slots=True)
class LiveHost:
    """What the server remembers of a host between its calls; `seen` and `touched` are in ticks."""

    volunteer: int
    offers: frozenset[str] = frozenset()
    wants: bool = False
    capacity: int = 0
    seen: float = -math.inf
    touched: float = -math.inf
    calls: int = 0
    allowance: Allowance = field(default_factory=Allowance)


@dataclass(slots=True)
class Hub:
    """One server process. `checks` gets the units whose answers wait for the app's own judgement.

    `clock` is the date, which people may set; durations inside the process are measured in `ticks`.
    """

    store: Store
    unit_key: PrivateKey
    chain: Chain
    bundles: Path
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    sessions: Sessions = field(default_factory=Sessions)
    waiting: Waiting = field(default_factory=Waiting)
    ready: ReadyQueue = field(default_factory=ReadyQueue)
    checks: CheckQueue = field(default_factory=CheckQueue)
    ledger: asyncio.Event = field(default_factory=asyncio.Event)
    can_check: bool = True
    closing: bool = False
    _runs: dict[int, runs.RunInfo] = field(default_factory=dict)
    _authorisations: dict[str, Authorisation] = field(default_factory=dict)
    _hosts: dict[int, LiveHost] = field(default_factory=dict)
    _drivers: dict[int, float] = field(default_factory=dict)
    _ids: range = range(0)

    @property
    def server_id(self) -> str:
        """This server's id."""
        return self.chain.root.server_id

    # -- volunteers' hosts -----------------------------------------------------------------------------------

    async def exchange(self, session: Session, request: wire.Exchange) -> wire.ExchangeReply:
        """Take reports, renew leases, hand out work; hold the call while there is nothing to say."""
        results, refused = self._proven(session, request)
        live = self._hosts.setdefault(session.host, LiveHost(session.volunteer))
        live.calls += 1
        mine = live.calls
        self.waiting.call(("host", session.host))
        if request.host is not None:
            live.offers = frozenset(request.host.offers)
        if len(request.holding) > MAX_HOLDING:
            raise TooLarge(f"{len(request.holding)} copies held by one host; at most {MAX_HOLDING} are believed")
        want = max(0, min(request.want, wire.MAX_BATCH))
        live.wants = want > 0
        live.capacity = min(want + len(request.holding), int(live.allowance.most))
        ends = self.ticks() + min(max(request.wait_s, 0.0), wire.MAX_WAIT_S)
        first = True
        while True:
            since, live.seen = self.waiting.moment(), self.ticks()
            reply, again = await self._turn(session, live, request, results if first else [], want, first)
            if first:
                reply.acks += refused
            first = False
            left = ends - self.ticks()
            if reply.acks or reply.units or reply.abort or left <= 0 or self.closing or mine != live.calls:
                return reply
            if again:
                continue
            self._call_hungry_drivers()
            await self.waiting.wait(("host", session.host), left, since=since)
            if mine != live.calls or self.closing:
                return reply

    async def _turn(
        self, session: Session, live: LiveHost, request: wire.Exchange,
        results: list[tuple[SignedResult, wire.Report]], want: int, first: bool,
    ) -> tuple[wire.ExchangeReply, bool]:  # fmt: skip
        """Return what there is to say now, and whether to look again at once: others were quicker."""
        caller = leases.Caller(host=session.host, volunteer=session.volunteer, key=session.key)
        await self._refill()
        now, ticks = self.clock(), self.ticks()
        allowed = min(want, live.allowance.now(ticks))
        choice = policy.choose(self.ready, volunteer=session.volunteer, offers=live.offers, want=allowed)
        reason = SPENT if allowed < min(want, 1) else choice.reason
        touch = ticks - live.touched > TOUCH_S
        if not (first and (results or request.host)) and not request.holding and not choice.units and not touch:
            return self._reply(leases.Applied(), reason), False
        envelope = msgspec.msgpack.encode(request.proof) if results else b""

        def change(connection: Connection) -> leases.Applied:
            applied = leases.Applied()
            if first and request.host is not None:
                hosts.describe(connection, session.host, request.host, now)
                known = [h.replica for h in request.holding] + [r.replica for r in request.reports]
                leases.reconcile(connection, caller, known, now, applied)
            elif touch:
                hosts.touch(connection, session.host, now)
            if results:
                has_check = functools.partial(self._has_check, connection)
                leases.take_results(connection, caller, results, envelope, now, applied, has_check)
            leases.renew(connection, caller, request.holding, now, applied, fresh=first)
            if choice.units and not self.closing:
                leases.hand_out(connection, caller, choice.units, allowed, now, applied)
            return applied

        applied = await self.store.write(change, then=lambda applied: self.learn(applied.changed))
        live.touched = ticks if touch or request.host else live.touched
        live.allowance.earn(applied.answered)
        live.allowance.give_back(applied.stopped)
        live.allowance.spend(len(applied.leased))
        return self._reply(applied, reason), applied.missed and not applied.leased

    def _reply(self, applied: leases.Applied, reason: str) -> wire.ExchangeReply:
        return wire.ExchangeReply(
            acks=applied.acks, units=applied.leased, abort=applied.abort, reason=reason,
            batches={n: msgspec.msgpack.decode(e, type=Envelope) for n, e in applied.batches.items()},
            root_version=self.chain.root.version,
        )  # fmt: skip

    def _proven(
        self, session: Session, request: wire.Exchange
    ) -> tuple[list[tuple[SignedResult, wire.Report]], list[wire.Ack]]:
        """Check the proof of reports: signed by this host's key, for this server, over these very values."""
        if not request.reports:
            return [], []
        if len(request.reports) > wire.MAX_BATCH:
            raise TooLarge(f"{len(request.reports)} reports in one call; at most {wire.MAX_BATCH} are taken")
        if request.proof is None:
            raise NotAllowed("reports need a proof: a ResultBatch signed by the host's key")
        if len(msgspec.msgpack.encode(request.proof)) > MAX_PROOF_BYTES:
            raise TooLarge(f"the proof of a call's results has at most {MAX_PROOF_BYTES} bytes")
        batch = open_as(request.proof, ResultBatch, [session.key])
        if batch.server_id != self.server_id:
            raise WrongServer("these results were signed for another server")
        signed = {entry.replica: entry for entry in batch.results}
        paired: list[tuple[SignedResult, wire.Report]] = []
        refused: list[wire.Ack] = []
        for report in request.reports:
            entry = signed.get(report.replica)
            value = "" if report.value is None else codec.digest(report.value)
            if entry is None or entry.value != value or (entry.status == "done" and not value):
                words = "the signed batch does not cover this report"
                refused.append(wire.Ack(replica=report.replica, code="refused", message=words))
            else:
                paired.append((entry, report))
        return paired, refused

    # -- researchers -----------------------------------------------------------------------------------------

    async def store_bundle(self, sha256: str, data: bytes) -> None:
        """Keep a bundle by its hash; keeping it again changes nothing."""
        if len(data) > MAX_BUNDLE_BYTES:
            raise TooLarge(f"a bundle of {len(data)} bytes; at most {MAX_BUNDLE_BYTES} are taken")
        if codec.digest(data) != sha256:
            raise UsageError("the bundle's bytes do not have the hash that names it")
        path = self.bundles / sha256
        if path.exists():
            return
        try:
            await asyncio.to_thread(write_whole, path, data)
        except OSError as error:
            raise StorageFull(f"the server cannot keep the bundle: {error.strerror or error}") from error

    def bundle_path(self, sha256: str) -> Path:
        """Return where a bundle lies; raises NotFound."""
        path = self.bundles / sha256
        if len(sha256) != 64 or not (sha256.isascii() and sha256.isalnum()) or not path.is_file():
            raise NotFound("there is no such bundle")
        return path

    async def submit(self, session: Session, request: wire.SubmitRun) -> wire.RunCreated:
        """Create a run whose app and authorisation this server's root certifies."""
        now = self.clock()
        manifest = self.chain.manifest(request.manifest, now)
        app = hash_of(request.manifest)
        authorisation = self.chain.authorisation(request.authorisation, manifest, app, now)
        self.bundle_path(manifest.bundle)
        if (manifest.has_verify or manifest.has_agree or manifest.has_partial) and not self.can_check:
            raise SandboxRefused("this server has no sandbox for the checks that this app brings along")

        def change(connection: Connection) -> wire.RunCreated:
            return runs.create(connection, request, manifest, authorisation.run_key, session.key, now)

        return await self.store.write(change)

    async def drive(self, session: Session, number: int) -> wire.Drive:
        """Hand a run to the caller: older drivers are shut out."""
        drive = await self.store.write(lambda c: runs.drive(c, number, session.key, self.clock()))
        self.tell(number)
        return drive

    async def step(self, session: Session, number: int, step: wire.Step) -> wire.StepReply:
        """Commit one step of a run."""
        info = await self.run(number)
        now = self.clock()
        signed = None
        fresh = await self.store.read(lambda c: runs.may_step(c, number, session.key, step))
        if step.units and fresh:
            authorisation = await self._authorisation(info.authorisation)
            check_dates("the run's authorisation", None, authorisation.expires, now)
            first = await self._reserve(len(step.units))
            signed = sign_units(self.unit_key, authorisation, info.authorisation, first, step.units, now)

        def change(connection: Connection) -> list[units.Changed]:
            return runs.commit_step(connection, number, session.key, step, signed, now)

        await self.store.write(change, then=self.learn)
        if step.finished or step.failed:
            self.tell(number)
        return wire.StepReply(step=step.step, hungry=self.hungry())

    async def answers(self, session: Session, number: int, fence: int, wait_s: float, hungry: bool) -> wire.Answers:
        """Return what a driver can fold; hold the call until there is something or volunteers are hungry."""
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
            found.hungry = self.hungry()
            left = ends - self.ticks()
            ended = found.state_of_run != RunState.RUNNING or not found.open_units
            if found.answers or ended or (hungry and found.hungry) or left <= 0 or self.closing:
                return found
            await self.waiting.wait(("run", number), left, since=since)

    async def cancel(self, session: Session, number: int) -> None:
        """Cancel a run and everything of it that is open."""
        now = self.clock()

        def change(connection: Connection) -> list[units.Changed]:
            runs.check_owner(connection, number, session.key)
            return runs.end(connection, number, RunState.CANCELLED, "cancelled by its researcher", now, None)

        await self.store.write(change, then=self.learn)
        self.tell(number)

    # -- what changes, and who learns of it --------------------------------------------------------------------

    def learn(self, changed: Iterable[units.Changed]) -> None:
        """After a commit: bring the queue up to date and call whoever waits for this."""
        stopped: set[int] = set()
        fresh = False
        for entry in changed:
            self.ready.put(entry.unit, entry.run, self._needs(entry.run))
            self.waiting.call(("events", entry.run))
            fresh = fresh or entry.unit.unsent > 0
            if entry.ended:
                self.waiting.call(("run", entry.run))
                stopped |= {r.volunteer for r in entry.unit.replicas if r.state == "leased"}
            if any(r.state == "valid" for r in entry.unit.replicas):
                self.ledger.set()
            if life.unjudged(entry.unit):
                self.checks.put(entry.unit.id)
        for host, live in self._hosts.items() if fresh or stopped else ():
            if live.volunteer in stopped or (fresh and live.wants):
                self.waiting.call(("host", host))

    def tell(self, number: int) -> None:
        """Call the driver and the watchers of a run: its own state changed."""
        self.waiting.call(("run", number))
        self.waiting.call(("events", number))

    def hungry(self) -> int:
        """How many more units volunteers could start on."""
        since = self.ticks() - LIVE_S
        capacity = sum(live.capacity for live in self._hosts.values() if live.seen > since)
        return policy.hungry(capacity, self.ready.unsent) if capacity else 0

    def _call_hungry_drivers(self) -> None:
        if self.hungry():
            for name in self.waiting.names():
                if isinstance(name, tuple) and name[0] == "run":
                    self.waiting.call(name)

    async def run(self, number: int) -> runs.RunInfo:
        """Return what is fixed about a run; raises NotFound."""
        if number not in self._runs:
            self._runs[number] = await self.store.read(lambda c: runs.info(c, number))
        return self._runs[number]

    async def load(self) -> None:
        """At the start: the queue and the checks from the tables."""
        for number in await self.store.read(runs.running):
            await self.run(number)
        self.ready.overflowed = True
        await self._refill()
        for number in await self.store.read(units.unjudged):
            self.checks.put(number)

    def _needs(self, number: int) -> frozenset[str]:
        info = self._runs.get(number)
        return frozenset(info.manifest.needs if info else ())

    def _has_check(self, connection: Connection, number: int) -> bool:
        if number not in self._runs:
            self._runs[number] = runs.info(connection, number)
        return self._runs[number].has_check

    async def _refill(self) -> None:
        if not self.ready.wants_refill:
            return
        self.ready.overflowed = False
        found = await self.store.read(lambda c: runs.ready_units(c, 0, 5000))
        loaded = await self.store.read(lambda c: units.load(c, [number for number, _ in found]))
        self.ready.overflowed = len(found) == 5000
        for number, run in found:
            await self.run(run)
            self.ready.put(loaded[number], run, self._needs(run))

    async def _authorisation(self, name: str) -> Authorisation:
        if name not in self._authorisations:
            envelope = await self.document(name)
            self._authorisations[name] = msgspec.json.decode(envelope.payload, type=Authorisation)
        return self._authorisations[name]

    async def document(self, name: str) -> Envelope:
        """Return a signed document by the hash of its payload; raises NotFound."""
        return await self.store.read(lambda c: runs.find_document(c, name))

    async def _reserve(self, count: int) -> int:
        if len(self._ids) < count:
            block = max(count, ID_BLOCK)
            first = await self.store.write(lambda c: runs.reserve_unit_ids(c, block))
            self._ids = range(first, first + block)
        first = self._ids.start
        self._ids = self._ids[count:]
        return first
