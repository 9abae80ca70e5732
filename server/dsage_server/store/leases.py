"""The calls of volunteers' hosts, applied to the tables: answers taken, leases renewed, copies handed out.

All calls that share a group commit are one piece of work here: their units are loaded together, decided one call
after the other through `dsage_validator.life`, and written together. A call that cannot be served undoes what it
alone decided, and costs the others nothing.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from dsage import wire
from dsage.errors import DSageError
from dsage.states import FINAL_UNITS, ReplicaState, RunState, UnitState
from dsage.trust.documents import SignedResult
from dsage_server.store import hosts, kinship, printed, reports, standings
from dsage_server.store import known as known_units
from dsage_server.store.bulk import among_ids, insert_rows, numbers
from dsage_server.store.schema import proof, replica, unit
from dsage_server.store.signed import signed_units
from dsage_server.store.units import Book, Changed, Lease, Reported
from dsage_validator import issuing, life
from dsage_validator.checks import is_value
from dsage_validator.unit import Replica, Trust, Unit

HARD_DEADLINES: Final = 4
"""A replica may be away for this many soft deadlines in all, while its child process makes progress."""
MIN_HARD_S: Final = 3600.0
RENEWAL_GAIN: Final = 0.1
"""A lease is written again only when that adds this share of its length: idle chatter costs no disk."""

MAX_SENT_BYTES: Final = wire.MAX_BODY_BYTES // 4
"""Units in one reply, as JSON: far below the most that a client takes, with their proofs."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The host that calls; `kin` as in its offer."""

    host: int
    volunteer: int
    key: bytes
    kin: frozenset[str] = frozenset()


class Call(msgspec.Struct, kw_only=True):
    """One call, as its signatures and sizes were checked.

    `results` are signed by the caller and come with `envelope`, their proof. `fresh` says that `holding` is news.
    `known` are all copies that a host which just started knows of (None otherwise), and `describe` is what it says of
    itself. `chosen` are the units to send, with the time in seconds that this host gets for each. `stored` says of
    large answers, by hash, whether they are values at all; those that are lie among the blobs.
    """

    caller: Caller
    results: Sequence[tuple[SignedResult, wire.Report]] = ()
    envelope: bytes = b""
    holding: Sequence[wire.Holding] = ()
    fresh: bool = True
    known: frozenset[int] | None = None
    describe: wire.HostInfo | None = None
    chosen: dict[int, float] = {}
    stored: dict[str, bool] = {}


class Applied(msgspec.Struct, kw_only=True):
    """What a call did: what to answer, and under which number the proof of its results is kept.

    `units` are those of `leased`; `answered` are, for each answer taken, the unit's credit in thousandths, the
    processor time told and the time since the lease, in seconds.
    """

    acks: list[wire.Ack] = []
    abort: list[int] = []
    leased: list[wire.Assignment] = []
    batches: dict[str, bytes] = {}
    units: list[int] = []
    answered: list[tuple[int, float, float]] = []
    proof: int = 0
    sent_bytes: int = 0


class Served(msgspec.Struct):
    """What a group of calls did: each call's part (or its error), how the units stand that changed or were chosen, and
    the chosen ones that do not exist."""

    calls: list[Applied | Exception]
    changed: list[Changed]
    gone: set[int] = set()


def serve(connection: Connection, calls: Sequence[Call], now: float, has_check: Callable[[int], bool]) -> Served:
    """Serve calls in their order. An error in one is its own; raises only what fails them all."""
    book = Book(connection)
    lost = [_lost(connection, call) for call in calls]
    held = _held(connection, [holding.replica for call in calls for holding in call.holding])
    wanted = {signed.unit for call in calls for signed, _ in call.results}
    wanted.update(number for call in calls for number in call.chosen)
    wanted.update(number for entries in lost for _, number in entries)
    book.load(wanted)
    _see_through(connection, book, calls)
    for call in calls:
        if call.describe is not None:
            hosts.describe(connection, call.caller.host, call.describe, now)
    ids = connection.info["ids"]
    proofs = ids.take(connection, "proof", sum(1 for call in calls if call.results))
    replicas = ids.take(connection, "replica", sum(len(call.chosen) for call in calls))
    group = _Group(book, now, has_check, held)
    group.proof_ids, group.replica_ids = iter(proofs), iter(replicas)
    chosen = {number for call in calls for number in call.chosen}
    if chosen:
        answered = [number for number in chosen if number in book.now and book.now[number].final]
        group.disguises = known_units.disguises(connection, answered) if answered else {}
        group.signed, group.envelopes = signed_units(connection, chosen | set(group.disguises.values()))
        group.trusts(standings.of(connection, {call.caller.host for call in calls if call.chosen}))
        if any(call.caller.kin for call in calls):
            partners = [kinship.partners(book.now[number]) for number in chosen if number in book.now]
            group.kin = kinship.of(connection, set().union(*partners))
    done = [group.call(call, entries) for call, entries in zip(calls, lost, strict=True)]
    insert_rows(connection, proof, ("id", "host_id", "envelope", "received"), group.proofs)
    if group.longer:
        connection.execute(_RENEW_LEASE, group.longer)
    printed.keep(connection, group.printed)
    if group.disguised:
        known_units.sent(connection, group.disguised)
    changed = book.write(now)
    known = {entry.unit.id for entry in changed}
    gone = chosen - book.now.keys()
    return Served(done, changed + [book.entry(number) for number in chosen - known - gone], gone)


class _Group:
    """The decisions of one group, in memory."""

    def __init__(self, book: Book, now: float, has_check: Callable[[int], bool], held: dict[int, Any]) -> None:
        self.book = book
        self.at = now
        self.has_check = has_check
        self.held = held
        self.proof_ids: Iterator[int] = iter(())
        self.replica_ids: Iterator[int] = iter(())
        self.signed: dict[int, tuple[bytes, int, int, bytes]] = {}
        self.envelopes: dict[int, bytes] = {}
        self.standings: standings.Known = {}
        self.enough = False
        """Whether there are enough volunteers to do without those who were found lying."""
        self.kin: dict[int, frozenset[str]] = {}
        """Of volunteers who have copies of what is chosen."""
        self.undecided: dict[int, int] = {}
        """Of hosts that were found lying: how many copies each has out, or has answered to be judged."""
        self.proofs: list[tuple[int, int, bytes, float]] = []
        self.longer: list[dict[str, Any]] = []
        self.printed: list[tuple[int, bytes]] = []
        self.disguises: dict[int, int] = {}
        """The numbers under which units go out whose answer is known, by unit."""
        self.disguised: list[tuple[int, int]] = []

    def trusts(self, known: standings.Known) -> None:
        """Take how the hosts stand that get units."""
        self.standings = known
        lost = [host for host, apps in known.items() if standings.distrusted(apps, self.at)]
        self.enough = bool(lost) and standings.enough(self.book.connection)
        self.undecided = standings.undecided(self.book.connection, lost)

    def call(self, call: Call, lost: list[tuple[int, int]]) -> Applied | Exception:
        """Serve one call, or leave no trace of it."""
        touched = {signed.unit for signed, _ in call.results} | call.chosen.keys() | {number for _, number in lost}
        undo = {number: self.book.now[number] for number in touched if number in self.book.now}
        marks = len(self.proofs), len(self.longer), len(self.printed), len(self.disguised)
        applied = Applied()
        try:
            for copy, number in lost:
                self._change(number, life.give_up(self.book.now[number], copy, ReplicaState.RETURNED))
            if call.results:
                self._take(call, applied)
            if call.holding:
                self._renew(call, applied)
            for number, seconds in call.chosen.items():
                self._lease(call.caller, number, seconds, applied)
        except Exception as error:  # noqa: BLE001 - it belongs to the one caller whose call this was
            self.book.now.update(undo)
            del self.proofs[marks[0] :]
            del self.longer[marks[1] :]
            del self.printed[marks[2] :]
            del self.disguised[marks[3] :]
            for entry in [e for e in self.book.reported.values() if e.proof == applied.proof]:
                del self.book.reported[entry.replica]
                self.book.leases[entry.replica].value_hash = None
            return error
        return applied

    def _change(self, number: int, unit: Unit) -> None:
        self.book.now[number] = unit

    def _take(self, call: Call, applied: Applied) -> None:
        """Take finished replicas: each is acknowledged by itself, so one bad report never costs another."""
        applied.proof = number = next(self.proof_ids)
        kept = False
        for signed, report in call.results:
            ack = self._refusal(call.caller, signed)
            if ack is None:
                try:
                    self._apply(signed, report, applied, call.stored.get(signed.value))
                    kept = True
                except DSageError as error:
                    ack = wire.Ack(replica=signed.replica, code="late", message=error.message)
            applied.acks.append(ack or wire.Ack(replica=signed.replica))
        if kept:
            self.proofs.append((number, call.caller.host, call.envelope, self.at))

    def _refusal(self, caller: Caller, signed: SignedResult) -> wire.Ack | None:
        """Return why a report is not taken, or None."""
        current = self.book.now.get(signed.unit)
        copies = current.replicas if current is not None else ()
        copy = next((r for r in copies if r.id == signed.replica), None)
        if copy is None or copy.host != caller.host:
            return wire.Ack(replica=signed.replica, code="unknown", message="this host holds no such replica")
        kept = self.book.leases[copy.id]
        if not hmac.compare_digest(kept.lease, signed.lease) or signed.app != self.book.heads[signed.unit].app:
            return wire.Ack(replica=signed.replica, code="refused", message="the lease or app does not match")
        if kept.value_hash is not None:
            same = kept.value_hash == signed.value
            return wire.Ack(replica=signed.replica, code="ok" if same else "refused", message="answered before")
        if self.at > copy.hard_deadline:
            words = "this came long after its lease had run out"
            return wire.Ack(replica=signed.replica, code="late", message=words)
        if copy.state not in (ReplicaState.LEASED, ReplicaState.EXPIRED):
            return wire.Ack(replica=signed.replica, code="late", message=f"this replica is {copy.state.value} already")
        if copy.state is ReplicaState.EXPIRED and signed.status != "done":
            return wire.Ack(replica=signed.replica, code="late", message="its lease had run out")
        return None

    def _apply(self, signed: SignedResult, report: wire.Report, applied: Applied, stored: bool | None) -> None:
        book, number = self.book, signed.unit
        signed = reports.counted(signed, report, book.heads[number].output_bytes)
        current = reports.ended(book.now[number], signed, report.detail)
        copy = current.replica(signed.replica)
        answer = copy.state in (ReplicaState.REPORTED, ReplicaState.VALID, ReplicaState.INVALID, ReplicaState.REDUNDANT)
        keep = answer
        if answer:
            kept = book.leases[copy.id]
            kept.value_hash = signed.value
            away_s = max(0.0, self.at - kept.leased)
            # who says that it worked longer than it had the copy would be given so much longer for the next ones
            applied.answered.append((book.heads[number].credit_milli, min(report.cpu_s, away_s), away_s))
            if not self.has_check(book.heads[number].run):
                good = is_value(report.value or b"") if stored is None else stored
                current, keep = self._judge(current, copy, good)
        book.reported[copy.id] = Reported(
            replica=copy.id, value=report.value if keep and stored is None else None,
            value_hash=signed.value if answer else None, proof=applied.proof, cpu_s=report.cpu_s,
            wall_s=report.wall_s, reason=reports.why(signed, report), blob=signed.value if keep and stored else None,
        )  # fmt: skip
        if report.output:
            self.printed.append((copy.id, report.output))
        self._change(number, current)

    def _judge(self, current: Unit, copy: Replica, good: bool) -> tuple[Unit, bool]:
        """Judge an answer by canonical bytes, and say whether to keep it: the first of its camp is enough."""
        leases = self.book.leases
        camp = copy.id
        if good:
            mine = leases[copy.id].value_hash
            camps = (c for c in life.centres(current) if leases[c].value_hash == mine)
            camp = next(camps, copy.id)
        share = 0.0 if copy.partial or current.state is UnitState.CANCELLED else 1.0
        judged = life.judge(current, copy.id, camp=camp, proof=None if good else False, share=share)
        return judged, camp == copy.id

    def _renew(self, call: Call, applied: Applied) -> None:
        """Extend the leases whose child process made progress (if that is fresh news); list what is to be stopped."""
        for held in call.holding:
            row = self.held.get(held.replica)
            if (
                row is None
                or row.host_id != call.caller.host
                or not hmac.compare_digest(row.lease, held.lease)
                or row.state not in (ReplicaState.LEASED, ReplicaState.EXPIRED)
                or (UnitState(row.unit_state) in FINAL_UNITS and not _confirms(row))
            ):
                applied.abort.append(held.replica)
                continue
            if call.fresh and held.output:
                self.printed.append((row.id, held.output))
            if call.fresh and row.state == ReplicaState.LEASED and (held.cpu_s > row.cpu_s or held.suspended):
                deadline = min(self.at + row.length_s, row.hard_deadline)
                if deadline - row.deadline > RENEWAL_GAIN * row.length_s:
                    self.longer.append({"b_id": row.id, "b_deadline": deadline, "b_cpu": held.cpu_s})

    def _lease(self, caller: Caller, number: int, seconds: float, applied: Applied) -> None:
        """Lease a unit to the host if it still may be; the tables, not the queue, have the last word."""
        current = self.book.now.get(number)
        if (
            current is None
            or current.state not in (UnitState.READY, UnitState.VALID)
            or current.unsent < 1
            or (self.undecided.get(caller.host, 0) > 0 and (current.adaptive or self.enough))
            or not _goes_out(current, self.book.heads[number].run_state)
            or not issuing.may_take(current, caller.volunteer)
            or not caller.kin.isdisjoint(kinship.barred(current, self.kin))
        ):
            return
        disguise = self.disguises.get(number)
        document, batch, index, path = self.signed[number if disguise is None else disguise]
        if applied.leased and applied.sent_bytes + len(document) > MAX_SENT_BYTES:
            return
        applied.sent_bytes += len(document)
        applied.batches[str(batch)] = self.envelopes[batch]
        copy = Replica(
            id=next(self.replica_ids), volunteer=caller.volunteer, host=caller.host, deadline=self.at + seconds,
            hard_deadline=self.at + max(MIN_HARD_S, HARD_DEADLINES * seconds), trust=self._trust(caller.host, current),
        )  # fmt: skip
        if caller.host in self.undecided:
            self.undecided[caller.host] += 1
        if caller.kin:
            self.kin[caller.volunteer] = caller.kin
        token = os.urandom(16)
        self.book.leases[copy.id] = Lease(token, self.at, seconds)
        self._change(number, life.lease(current, copy))
        if disguise is not None:
            self.disguised.append((copy.id, disguise))
        applied.units.append(number)
        applied.leased.append(
            wire.Assignment(
                replica=copy.id, lease=token, deadline_s=seconds, document=document,
                index=index, path=msgspec.Raw(path), batch=str(batch),  # type: ignore[arg-type]
            )
        )  # fmt: skip

    def _trust(self, host: int, current: Unit) -> Trust:
        """Return how far a host is trusted with a copy of a unit; where each unit gets its quorum, whether at all."""
        known = self.standings.get(host)
        if known is None:
            return Trust.NEW
        if current.adaptive:
            return standings.trust(self.book.connection, known, self.book.heads[current.id].app, current, self.at)
        return Trust.LOST if self.enough and standings.distrusted(known, self.at) else Trust.NEW


def _see_through(connection: Connection, book: Book, calls: Sequence[Call]) -> None:
    """Take reports of known units for what they are: of the units that were answered before."""
    strange = {signed.unit for call in calls for signed, _ in call.results} - book.now.keys()
    units = known_units.originals(connection, strange) if strange else {}
    if not units:
        return
    book.load(units.values())
    for call in calls:
        call.results = [
            (msgspec.structs.replace(signed, unit=units.get(signed.unit, signed.unit)), report)
            for signed, report in call.results
        ]


def _goes_out(current: Unit, run_state: str) -> bool:
    """Whether copies of a unit may go out: of a run that is running, or to confirm an answer of one that has ended."""
    ended = current.state is UnitState.VALID and run_state != RunState.PAUSED
    return run_state == RunState.RUNNING or ended


def _confirms(row: Any) -> bool:
    """Whether a copy was leased to confirm the answer that its unit already had."""
    return bool(row.unit_state == UnitState.VALID and row.leased > (row.finished or 0.0))


def _lost(connection: Connection, call: Call) -> list[tuple[int, int]]:
    """Return the leases (with their units) that a host which starts does not know of any more."""
    if call.known is None:
        return []
    query = select(replica.c.id, replica.c.unit_id).where(
        replica.c.state == "leased", replica.c.host_id == call.caller.host
    )
    return [(row.id, row.unit_id) for row in connection.execute(query) if row.id not in call.known]


def _held(connection: Connection, wanted: Sequence[int]) -> dict[int, Any]:
    if not wanted:
        return {}
    return {row.id: row for row in connection.execute(_HELD, {"ids": numbers(connection, wanted)})}


_HELD = (
    select(
        replica.c.id, replica.c.host_id, replica.c.lease, replica.c.state, replica.c.deadline,
        replica.c.hard_deadline, replica.c.cpu_s, replica.c.length_s, unit.c.state.label("unit_state"),
        replica.c.leased, unit.c.finished,
    )
    .join(unit, unit.c.id == replica.c.unit_id)
    .where(among_ids(replica.c.id))
)  # fmt: skip

_RENEW_LEASE = (
    update(replica)
    .where(replica.c.id == bindparam("b_id"), replica.c.state == "leased")
    .values(deadline=bindparam("b_deadline"), cpu_s=bindparam("b_cpu"))
)
