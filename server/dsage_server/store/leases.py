"""One call of a volunteer's host, applied to the tables: answers taken, leases renewed, copies handed out.

These functions run inside a group commit. They decide through `dsage_validator.life` and never on their own.
"""

from __future__ import annotations

import hmac
import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from dsage import wire
from dsage.errors import DSageError
from dsage.states import FINAL_UNITS, ReplicaState, UnitState
from dsage.trust.documents import SignedResult
from dsage_server.store import units
from dsage_server.store.schema import answer, proof, replica, run, unit
from dsage_validator import life
from dsage_validator.checks import is_value

HARD_DEADLINES: Final = 4
"""A replica may be away for this many soft deadlines in all, while its child process makes progress."""
MIN_HARD_S: Final = 3600.0
RENEWAL_GAIN: Final = 0.1
"""A lease is written again only when that adds this share of its length: idle chatter costs no disk."""

MAX_SENT_BYTES: Final = wire.MAX_BODY_BYTES // 4
"""Units in one reply, as JSON: far below the most that a client takes, with their proofs."""
MAX_REASON: Final = 4000
"""Characters kept of why a copy failed: the end of it, where the error stands."""
_CODE = re.compile(r"[a-z][a-z.-]{0,39}")
"""Reasons that a client may give, which people see: the codes of errors and of sandboxes, and no prose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The host that calls."""

    host: int
    volunteer: int
    key: bytes


@dataclass(slots=True, kw_only=True)
class Applied:
    """What a call did: what to answer, and which units changed or stand otherwise than the queue believed."""

    acks: list[wire.Ack] = field(default_factory=list)
    abort: list[int] = field(default_factory=list)
    leased: list[wire.Assignment] = field(default_factory=list)
    batches: dict[str, bytes] = field(default_factory=dict)
    changed: list[units.Changed] = field(default_factory=list)
    answered: int = 0
    stopped: int = 0
    """Copies that ended without an answer because the server wished it."""
    missed: bool = False


def take_results(
    connection: Connection,
    caller: Caller,
    results: Sequence[tuple[SignedResult, wire.Report]],
    envelope: bytes,
    now: float,
    applied: Applied,
    has_check: Callable[[int], bool],
) -> None:
    """Take finished replicas: each is acknowledged by itself, so one bad report never costs another."""
    rows = {row.id: row for row in _replicas(connection, [signed.replica for signed, _ in results])}
    before = units.load(connection, {row.unit_id for row in rows.values()})
    most = units.output_bytes(connection, before)
    after = dict(before)
    kept: list[dict[str, Any]] = []
    for signed, report in results:
        row = rows.get(signed.replica)
        ack = _acceptable(caller, signed, row, after, now)
        if ack is None and row is not None:
            try:
                after[row.unit_id] = _apply(after[row.unit_id], _within(signed, report, most[row.unit_id]), row)
            except DSageError as error:
                ack = wire.Ack(replica=signed.replica, code="late", message=error.message)
        applied.acks.append(ack or wire.Ack(replica=signed.replica))
        if ack is None and row is not None:
            kept.append(_payload(after[row.unit_id].replica(row.id), signed, report, now))
            applied.answered += kept[-1]["b_value"] is not None
            applied.stopped += after[row.unit_id].replica(row.id).state is ReplicaState.ABORTED
    if not kept:
        return
    proof_id = connection.execute(
        insert(proof).values(host_id=caller.host, envelope=envelope, received=now).returning(proof.c.id)
    ).scalar_one()
    values = [{"replica_id": e["b_id"], "value": e.pop("b_value")} for e in kept]
    connection.execute(_STORE_VALUE, [{**entry, "b_proof": proof_id} for entry in kept])
    if any(entry["value"] is not None for entry in values):
        connection.execute(insert(answer), [entry for entry in values if entry["value"] is not None])
    after = _judge_plain(connection, after, rows, has_check)
    applied.changed += units.save(connection, before, after, now)


def renew(
    connection: Connection, caller: Caller, holding: Sequence[wire.Holding], now: float, applied: Applied, *,
    fresh: bool = True,
) -> None:  # fmt: skip
    """Extend the leases whose child process made progress (if that is `fresh` news); list what is to be stopped."""
    if not holding:
        return
    rows = {row.id: row for row in _replicas(connection, [held.replica for held in holding])}
    longer: list[dict[str, Any]] = []
    for held in holding:
        row = rows.get(held.replica)
        if (
            row is None
            or row.host_id != caller.host
            or not hmac.compare_digest(row.lease, held.lease)
            or row.state not in (ReplicaState.LEASED, ReplicaState.EXPIRED)
            or UnitState(row.unit_state) in FINAL_UNITS
        ):
            applied.abort.append(held.replica)
        elif fresh and row.state == ReplicaState.LEASED and (held.cpu_s > row.cpu_s or held.suspended):
            deadline = min(now + row.deadline_s, row.hard_deadline)
            if deadline - row.deadline > RENEWAL_GAIN * row.deadline_s:
                longer.append({"b_id": row.id, "b_deadline": deadline, "b_cpu": held.cpu_s})
    if longer:
        connection.execute(_RENEW_LEASE, longer)


def reconcile(connection: Connection, caller: Caller, known: Iterable[int], now: float, applied: Applied) -> None:
    """At a host's start: leases that it does not know of any more go back to be issued again at once."""
    query = select(replica.c.id, replica.c.unit_id).where(replica.c.state == "leased", replica.c.host_id == caller.host)
    kept = set(known)
    lost = [row for row in connection.execute(query) if row.id not in kept]
    before = units.load(connection, {row.unit_id for row in lost})
    after = dict(before)
    for row in lost:
        after[row.unit_id] = life.give_up(after[row.unit_id], row.id, ReplicaState.RETURNED)
    applied.changed += units.save(connection, before, after, now)


def hand_out(
    connection: Connection, caller: Caller, candidates: Sequence[int], want: int, now: float, applied: Applied
) -> None:
    """Lease up to `want` of the candidate units to the host; the tables, not the queue, have the last word."""
    before = units.load(connection, candidates)
    chosen = [
        number
        for number in candidates
        if number in before
        and before[number].state is UnitState.READY
        and before[number].unsent > 0
        and life.may_take(before[number], caller.volunteer)
    ][:want]
    refused = before.keys() - set(chosen)
    if refused and len(chosen) < want:
        applied.missed = True
        applied.changed += units.unchanged(connection, {n: before[n] for n in refused})
    if not chosen:
        return
    proofs = units.proofs_of_units(connection, chosen)
    chosen = _that_fit(chosen, proofs)
    lengths = _deadlines(connection, chosen)
    rows: list[dict[str, Any]] = [
        {
            "unit_id": number, "host_id": caller.host, "volunteer_id": caller.volunteer, "state": "leased",
            "lease": os.urandom(16), "leased": now, "deadline": now + lengths[number],
            "hard_deadline": now + max(MIN_HARD_S, HARD_DEADLINES * lengths[number]),
        }
        for number in chosen
    ]  # fmt: skip
    ids = connection.execute(insert(replica).returning(replica.c.id, sort_by_parameter_order=True), rows).scalars()
    after = {number: before[number] for number in chosen}
    for row, number_of_replica in zip(rows, ids, strict=True):
        number = row["unit_id"]
        after[number] = life.lease(
            after[number],
            life.Replica(
                id=number_of_replica, volunteer=caller.volunteer,
                deadline=row["deadline"], hard_deadline=row["hard_deadline"],
            ),
        )  # fmt: skip
        signed = proofs[number]
        applied.batches[str(signed.batch_id)] = signed.envelope
        applied.leased.append(
            wire.Assignment(
                replica=number_of_replica, lease=row["lease"], deadline_s=lengths[number],
                document=signed.document, index=signed.leaf_index,
                path=msgspec.msgpack.decode(signed.path, type=list[bytes]), batch=str(signed.batch_id),
            )
        )  # fmt: skip
    applied.changed += units.save(connection, {n: before[n] for n in chosen}, after, now)


def _that_fit(chosen: list[int], proofs: dict[int, Any]) -> list[int]:
    """Return the first units that fit into one reply together, at least one."""
    sizes = itertools.accumulate(len(proofs[number].document) for number in chosen)
    return [number for number, size in zip(chosen, sizes, strict=True) if number == chosen[0] or size <= MAX_SENT_BYTES]


def _replicas(connection: Connection, numbers: Iterable[int]) -> list[Any]:
    rows: list[Any] = []
    for part in units.chunks(numbers):
        rows += connection.execute(_LEASED_ROWS, {"ids": part}).all()
    return rows


def _acceptable(
    caller: Caller, signed: SignedResult, row: Any | None, after: dict[int, life.Unit], now: float
) -> wire.Ack | None:
    """Return why a report is not taken, or None."""
    if row is None or row.host_id != caller.host:
        return wire.Ack(replica=signed.replica, code="unknown", message="this host holds no such replica")
    if not hmac.compare_digest(row.lease, signed.lease) or row.unit_id != signed.unit or row.app != signed.app:
        return wire.Ack(replica=signed.replica, code="refused", message="the lease, unit or app does not match")
    if row.value_hash is not None:
        same = row.value_hash == signed.value
        return wire.Ack(replica=signed.replica, code="ok" if same else "refused", message="answered before")
    if now > row.hard_deadline:
        return wire.Ack(replica=signed.replica, code="late", message="this came long after its lease had run out")
    state = after[row.unit_id].replica(row.id).state
    if state not in (ReplicaState.LEASED, ReplicaState.EXPIRED):
        return wire.Ack(replica=signed.replica, code="late", message=f"this replica is {state.value} already")
    if state is ReplicaState.EXPIRED and signed.status != "done":
        return wire.Ack(replica=signed.replica, code="late", message="its lease had run out")
    return None


def _within(signed: SignedResult, report: wire.Report, most: int) -> SignedResult:
    """Return a result as it counts: an answer longer than its unit allows is a failure, as it is in the sandbox."""
    if report.value is not None and len(report.value) > most:
        return msgspec.structs.replace(signed, status="failed", reason="output")
    return signed if _CODE.fullmatch(signed.reason) else msgspec.structs.replace(signed, reason="")


def _apply(current: life.Unit, signed: SignedResult, row: Any) -> life.Unit:
    if signed.status == "done":
        # What proves itself may be copied once its run shows it, which is why siblings are cancelled: it is no proof of
        # work any more, so only the share that it shows is paid.
        return life.report(current, row.id, partial=current.state is UnitState.CANCELLED)
    if signed.status == "aborted" and signed.value and current.final:
        return life.report(current, row.id, partial=True)
    if signed.status == "failed":
        return life.give_up(current, row.id, ReplicaState.ERROR, signed.reason)
    stopped = signed.status == "aborted" and current.final
    return life.give_up(current, row.id, ReplicaState.ABORTED if stopped else ReplicaState.RETURNED)


def _payload(copy: life.Replica, signed: SignedResult, report: wire.Report, now: float) -> dict[str, Any]:
    """Return what is stored of a report: a value only if it is an answer."""
    answer = copy.state is ReplicaState.REPORTED
    code = signed.reason if _CODE.fullmatch(signed.reason) else ""
    reason = code if not report.detail else f"{code}: {report.detail[-2000:]}"
    return {
        "b_id": signed.replica, "b_value": report.value if answer else None, "b_hash": signed.value if answer else None,
        "b_cpu": report.cpu_s, "b_reported": now, "b_reason": reason[-MAX_REASON:],
    }  # fmt: skip


def _judge_plain(
    connection: Connection, after: dict[int, life.Unit], rows: dict[int, Any],
    has_check: Callable[[int], bool],
) -> dict[int, life.Unit]:  # fmt: skip
    """Judge by canonical bytes, inside the commit; units of apps with checks of their own wait for those."""
    run_of = {row.unit_id: row.run_id for row in rows.values()}
    for number, current in list(after.items()):
        fresh = life.unjudged(current)
        if not fresh or has_check(run_of[number]):
            continue
        answers = {row.id: row for row in connection.execute(_ANSWERS, {"unit": number})}
        for copy in fresh:
            camps = (c for c in life.centres(current) if answers[c].value_hash == answers[copy.id].value_hash)
            proof = None if is_value(answers[copy.id].value) else False
            camp = next(camps, copy.id) if proof is None else copy.id
            share = 0.0 if copy.partial or current.state is UnitState.CANCELLED else 1.0
            current = life.judge(current, copy.id, camp=camp, proof=proof, share=share)
        after[number] = current
    return after


def _deadlines(connection: Connection, numbers: Sequence[int]) -> dict[int, float]:
    query = select(unit.c.id, unit.c.deadline_s).where(unit.c.id.in_(numbers))
    return {row.id: row.deadline_s for row in connection.execute(query)}


_LEASED_ROWS = (
    select(
        replica.c.id, replica.c.unit_id, replica.c.host_id, replica.c.lease, replica.c.state, replica.c.deadline,
        replica.c.hard_deadline, replica.c.cpu_s, replica.c.value_hash,
        unit.c.deadline_s, unit.c.run_id, unit.c.state.label("unit_state"), run.c.app,
    )
    .join(unit, unit.c.id == replica.c.unit_id)
    .join(run, run.c.id == unit.c.run_id)
    .where(replica.c.id.in_(bindparam("ids", expanding=True)))
)  # fmt: skip

_ANSWERS = (
    select(replica.c.id, replica.c.value_hash, answer.c.value)
    .outerjoin(answer, answer.c.replica_id == replica.c.id)
    .where(replica.c.unit_id == bindparam("unit"), replica.c.value_hash.is_not(None))
)

_RENEW_LEASE = (
    update(replica)
    .where(replica.c.id == bindparam("b_id"), replica.c.state == "leased")
    .values(deadline=bindparam("b_deadline"), cpu_s=bindparam("b_cpu"))
)

_STORE_VALUE = (
    update(replica)
    .where(replica.c.id == bindparam("b_id"))
    .values(
        value_hash=bindparam("b_hash"), proof_id=bindparam("b_proof"),
        cpu_s=bindparam("b_cpu"), reported=bindparam("b_reported"), reason=bindparam("b_reason"),
    )
)  # fmt: skip
