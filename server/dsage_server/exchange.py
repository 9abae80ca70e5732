"""The one call of volunteers' clients: reports taken, leases renewed, work chosen, and the call held if there is none.

What a call changes joins the group commit of all calls that came with it; the answer leaves after that.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection

from dsage import codec, wire
from dsage.errors import NotAllowed, StorageFull, TooLarge, WrongServer
from dsage.states import ReplicaState, UnitState
from dsage.trust.documents import ResultBatch, SignedResult
from dsage.trust.envelope import open_as
from dsage_server import maintenance
from dsage_server.blobs.answers import LargeAnswers
from dsage_server.scheduling import policy
from dsage_server.scheduling.blame import Blame
from dsage_server.scheduling.crowd import Crowd, Guest
from dsage_server.scheduling.deadlines import deadline_s
from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.terms import NEWCOMER, HostOffer
from dsage_server.sessions import Session
from dsage_server.store import hosts, leases, outliers, units
from dsage_server.store.engine import Kind

if TYPE_CHECKING:
    from dsage_server.hub import Hub

log = logging.getLogger(__name__)

NOTE_S: Final = 20.0
"""How often what was learnt of a host that calls is written down."""
MAX_HOLDING: Final = 2000
"""Copies that one host may hold: 40 full batches."""
MAX_PROOF_BYTES: Final = 64 << 10
"""The signed results of one call, kept for good: some 300 bytes for each of MAX_BATCH."""
FOLLOW: Final = 2
"""Idle hosts called after each that got work, while more waits: a crowd is woken quickly, and never all at once."""
FULL_S: Final = 5.0
"""How long nothing is handed out after the disk was found full."""
FULL: Final = "the server's disk is full: it takes results as far as it can, and hands out nothing"
UNKNOWN: Final = 1 << 62
"""Memory or disk that a host said nothing of: it is believed to have enough."""

Results = list[tuple[SignedResult, wire.Report]]


class Exchanges:
    """The calls of hosts at one server process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.crowd = Crowd()
        self.blame = Blame()
        self._kind = Kind(self._serve, self._served)
        self._large = LargeAnswers(hub.blobs)
        self._full_until = -math.inf

    async def exchange(self, session: Session, request: wire.Exchange) -> wire.ExchangeReply:
        """Take reports, renew leases, hand out work; hold the call while there is nothing to say."""
        hub = self.hub
        results, refused = self._proven(session, request)
        stored = await self._large.keep(session.host, results) if results else {}
        if len(request.holding) > MAX_HOLDING:
            raise TooLarge(f"{len(request.holding)} copies held by one host; at most {MAX_HOLDING} are believed")
        guest = self.crowd.get(session.host) or await self._meet(session)
        guest.calls += 1
        mine = guest.calls
        name = ("host", session.host)
        hub.waiting.call(name)
        if request.host is not None:
            guest.view = _view(session, request.host, guest)
        want = min(request.want, wire.MAX_BATCH)
        guest.capacity = min(want + len(request.holding), int(guest.record.most))
        ends = hub.ticks() + min(request.wait_s, wire.MAX_WAIT_S)
        first = True
        while True:
            since, ticks = hub.waiting.moment(), hub.ticks()
            self.crowd.seen(session.host, guest, ticks)
            guest.record.seen(hub.clock())
            reply, again = await self._turn(session, guest, request, results if first else [], stored, want, first)
            if first:
                reply.acks += refused
                hub.meters.acknowledged(reply.acks)
            first = False
            if want and not reply.units:
                hub.call_hungry_drivers()
            left = ends - hub.ticks()
            closed = bool(want and hub.maintenance)
            if reply.acks or reply.units or reply.abort or left <= 0 or hub.closing or mine != guest.calls or closed:
                return reply if request.wait_s and not closed else self._last(reply, request)
            if again:
                continue
            with hub.pressure.hold() as granted:
                if not granted:
                    return self._last(reply, request)
                if want:
                    self.crowd.idles(session.host)
                try:
                    await hub.waiting.wait(name, left, since=since)
                finally:
                    if mine == guest.calls:
                        self.crowd.busy(session.host)
            if mine != guest.calls or hub.closing:
                return reply

    async def hand_back(self, caller: leases.Caller) -> None:
        """Take back every copy that a host holds: it leaves, and its call that is held is over."""
        await self.hub.store.join(self._kind, leases.Call(caller=caller, known=frozenset()))
        self.crowd.forget(caller.host)
        self.hub.waiting.call(("host", caller.host))

    async def _turn(
        self,
        session: Session,
        guest: Guest,
        request: wire.Exchange,
        results: Results,
        stored: dict[str, bool],
        want: int,
        first: bool,
    ) -> tuple[wire.ExchangeReply, bool]:
        """Return what there is to say now, and whether to look again at once: others were quicker, or units came while
        this was written."""
        hub = self.hub
        hub.refill()
        now = hub.clock()
        full = hub.ticks() < self._full_until
        closed = hub.maintenance
        stop = bool(hub.closing or full or closed)
        unsent = hub.ready.unsent
        want = 0 if stop or guest.rests else policy.fair(want, unsent, self.crowd.idle)
        choice = policy.choose(hub.ready, hub.shares, guest.view, want, now)
        describe = request.host if first else None
        reason = FULL if full else outliers.RESTS if guest.rests else choice.reason
        if closed is not None:
            reason = maintenance.sentence(closed)
        if hub.store.shared and want and not choice.copies:
            hub.neighbours.say.hungry = True
        if not (results or describe or request.holding or choice.copies):
            return self._reply(leases.Applied(), reason, choice), False
        record = guest.record
        call = leases.Call(
            caller=leases.Caller(
                host=session.host, volunteer=session.volunteer, key=session.key, kin=guest.view.offer.kin
            ),
            results=results, envelope=msgspec.msgpack.encode(request.proof) if results else b"",
            holding=request.holding, fresh=first, describe=describe, stored=stored,
            chosen={copy.unit: deadline_s(copy.deadline_s, copy.credit_milli, record) for copy in choice.copies},
        )  # fmt: skip
        if describe is not None:
            call.known = frozenset([h.replica for h in request.holding] + [r.replica for r in request.reports])
        leased: Sequence[int] = ()
        began = time.perf_counter()
        try:
            with hub.pressure.call(has_reports=bool(results)):
                applied = await hub.store.join(self._kind, call)
            leased = applied.units
        except StorageFull:
            self._full_until = hub.ticks() + FULL_S
            raise
        finally:
            if len(leased) < len(choice.copies):
                hub.ready.give_back(choice, leased)
        hub.meters.exchanged(len(applied.leased), len(results), time.perf_counter() - began)
        record.sent(len(applied.leased), now)
        record.greeted |= any(NEWCOMER in copy.needs.tags for copy in choice.copies if copy.unit in applied.units)
        if applied.leased and hub.ready.unsent:
            hub.wake(FOLLOW)
        for credit_milli, cpu_s, turnaround_s in applied.answered:
            record.answered(credit_milli, cpu_s, turnaround_s, now)
        missed = bool(choice.copies) or (want and not stop and hub.ready.unsent > unsent)
        return self._reply(applied, reason, choice), bool(missed and not applied.leased)

    def _serve(self, connection: Connection, calls: Sequence[leases.Call]) -> tuple[Sequence[Any], leases.Served]:
        hub = self.hub
        served = leases.serve(connection, calls, hub.clock(), lambda run: hub.info(connection, run).has_check)
        for entry in served.changed:
            hub.info(connection, entry.run)
        return served.calls, served

    def _served(self, served: leases.Served) -> None:
        for number in served.gone:
            self.hub.ready.drop(number)
        self.hub.learn(served.changed)

    def _reply(self, applied: leases.Applied, reason: str, choice: policy.Choice) -> wire.ExchangeReply:
        hub = self.hub
        return wire.ExchangeReply(
            acks=applied.acks, units=applied.leased, abort=applied.abort, reason=reason,
            reasons=dict(choice.reasons), spread_s=hub.pressure.spread_s(), root_version=hub.chain.root.version,
            batches={number: msgspec.Raw(sealed) for number, sealed in applied.batches.items()},  # type: ignore[misc]
        )  # fmt: skip

    def _last(self, reply: wire.ExchangeReply, request: wire.Exchange) -> wire.ExchangeReply:
        """Say when to come back, to a host that wanted work and gets none."""
        if request.want and not reply.units:
            closed = self.hub.maintenance
            least_s = maintenance.retry_s(closed, self.hub.clock()) if closed is not None else 0.0
            reply.retry_s = self.hub.pressure.retry_s(idle=not self.hub.ready.unsent, least_s=least_s)
        return reply

    async def _meet(self, session: Session) -> Guest:
        """Return a host that this process has not met, as its row describes it."""
        now = self.hub.clock()
        row, resting = await self.hub.store.read(
            lambda c: (hosts.described(c, session.host), outliers.resting(c, [session.host], now))
        )
        offer = HostOffer(
            platform=row.platform, packages=frozenset(row.offers), tags=frozenset(row.tags),
            memory_bytes=row.memory_bytes or UNKNOWN, disk_bytes=row.disk_bytes or UNKNOWN, cores=row.cores,
            features=frozenset(row.features), refuses=frozenset(row.refuses), verifiable_only=row.verifiable_only,
            kin=row.kin,
        )  # fmt: skip
        view = HostView(host=session.host, volunteer=session.volunteer, offer=offer, record=row.record)
        guest = self.crowd.meet(session.host, view)
        guest.rests = bool(resting)
        return guest

    def _proven(self, session: Session, request: wire.Exchange) -> tuple[Results, list[wire.Ack]]:
        """Check the proof of reports: signed by this host's key, for this server, over these very values."""
        if not request.reports:
            return [], []
        if len(request.reports) > wire.MAX_BATCH:
            raise TooLarge(f"{len(request.reports)} reports in one call; at most {wire.MAX_BATCH} are taken")
        proof = request.proof
        if proof is None:
            raise NotAllowed("reports need a proof: a ResultBatch signed by the host's key")
        signatures = sum(len(s.sig) + len(s.keyid) + 16 for s in proof.signatures)
        if len(proof.payload) + len(proof.payload_type) + signatures > MAX_PROOF_BYTES:
            raise TooLarge(f"the proof of a call's results has at most {MAX_PROOF_BYTES} bytes")
        batch = open_as(proof, ResultBatch, [session.key])
        if batch.server_id != self.hub.server_id:
            raise WrongServer("these results were signed for another server")
        signed = {entry.replica: entry for entry in batch.results}
        paired: Results = []
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

    # -- what is learnt of hosts ------------------------------------------------------------------------------------

    def learn(self, entry: units.Changed) -> None:
        """Note for the hosts of a unit's copies what became of them."""
        was = {r.id: r.state for r in entry.was.replicas}
        if entry.unit.state is UnitState.VALID:
            for host, n in self.blame.answered(entry.run).items():
                if (guest := self.crowd.get(host)) is not None:
                    guest.record.failed(n)
        for copy in entry.unit.replicas:
            if copy.state is was.get(copy.id):
                continue
            guest = self.crowd.get(copy.host)
            if guest is None:
                continue
            if copy.state is ReplicaState.VALID:
                guest.record.validated()
            elif copy.state is ReplicaState.ERROR and not self.blame.failed(entry.run, copy.host, self.hub.clock()):
                guest.record.stopped()
            elif copy.state in (ReplicaState.INVALID, ReplicaState.ERROR, ReplicaState.EXPIRED):
                guest.record.failed()
            elif copy.state is ReplicaState.ABORTED:
                guest.record.stopped()

    async def note(self) -> None:
        """Write down what was learnt of the hosts that called, as far as that is some time ago, and see whether the
        operator trusts their volunteers, and who is to rest."""
        hub = self.hub
        ticks, now = hub.ticks(), hub.clock()
        found = list(self.crowd.to_note(ticks, NOTE_S))
        rows = [(now - (ticks - guest.seen), hosts.record_text(guest.record), host) for host, guest in found]
        if not rows:
            return
        await hub.store.write(lambda c: hosts.note_seen(c, rows))
        called = [host for host, _ in found]
        strangers, resting = await hub.store.read(
            lambda c: (hosts.strangers(c, called), outliers.resting(c, called, now))
        )
        for host, guest in found:
            guest.noted = ticks
            guest.rests = host in resting
            only, kin = strangers.get(host, (False, frozenset()))
            if (guest.view.offer.verifiable_only, guest.view.offer.kin) != (only, kin):
                offer = msgspec.structs.replace(guest.view.offer, verifiable_only=only, kin=kin)
                guest.view = HostView(host=host, volunteer=guest.view.volunteer, offer=offer, record=guest.record)
                hub.waiting.call(("host", host))


def _view(session: Session, said: wire.HostInfo, guest: Guest) -> HostView:
    offer = HostOffer(
        platform=said.platform, packages=frozenset(said.offers), tags=frozenset(said.tags),
        memory_bytes=said.memory_bytes or UNKNOWN, disk_bytes=said.disk_bytes or UNKNOWN, cores=said.cores,
        features=frozenset(said.features), refuses=frozenset(said.refuses),
        verifiable_only=guest.view.offer.verifiable_only, kin=guest.view.offer.kin,
    )  # fmt: skip
    return HostView(host=session.host, volunteer=session.volunteer, offer=offer, record=guest.record)
