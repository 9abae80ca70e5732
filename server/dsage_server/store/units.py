"""Units and replicas between the tables and the pure life cycle: load, apply events, write what changed.

Every change is guarded by the state that was loaded; the moves themselves are checked by the table in
`dsage.states`. Writing inserts the credit of each replica that became valid (once, by a unique key), and notes
what people would want to hear about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, select, update

from dsage.errors import Conflict
from dsage.states import ReplicaState, UnitState
from dsage_server.store.events import note
from dsage_server.store.schema import batch, credit_entry, replica, run, unit, volunteer
from dsage_validator import life

LOAD_CHUNK: Final = 500
"""Numbers per IN list: below SQLite's limit on bound variables."""


class _Sizes(msgspec.Struct):
    """The part of a UnitDocument that is looked at when an answer comes in."""

    output_bytes: int


_sizes = msgspec.json.Decoder(_Sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a write did to one unit: the scheduler's queue and the checker live on these."""

    unit: life.Unit
    run: int
    ended: bool


def chunks(numbers: Iterable[int]) -> Iterable[list[int]]:
    """Split a collection of ids into IN lists."""
    ordered = sorted(set(numbers))
    for start in range(0, len(ordered), LOAD_CHUNK):
        yield ordered[start : start + LOAD_CHUNK]


def load(connection: Connection, numbers: Iterable[int]) -> dict[int, life.Unit]:
    """Return the units with these ids, each with all its replicas."""
    found: dict[int, life.Unit] = {}
    for part in chunks(numbers):
        copies: dict[int, list[life.Replica]] = {number: [] for number in part}
        for row in connection.execute(_LIFE_OF_REPLICAS, {"units": part}):
            copies[row.unit_id].append(
                life.Replica(
                    id=row.id,
                    volunteer=row.volunteer_id,
                    state=ReplicaState(row.state),
                    deadline=row.deadline,
                    hard_deadline=row.hard_deadline,
                    camp=row.camp,
                    proof=row.proven,
                    partial=row.partial,
                    share=row.share,
                )
            )
        for line in connection.execute(_LIFE_OF_UNITS, {"units": part}):
            found[line.id] = life.Unit(
                id=line.id,
                quorum=line.quorum,
                state=UnitState(line.state),
                unsent=line.unsent,
                canonical=line.canonical_id,
                reason=line.reason,
                replicas=tuple(copies[line.id]),
            )
    return found


def output_bytes(connection: Connection, numbers: Iterable[int]) -> dict[int, int]:
    """Return how long the answers of units may be."""
    query = select(unit.c.id, unit.c.document)
    return {
        row.id: _sizes.decode(row.document).output_bytes
        for part in chunks(numbers)
        for row in connection.execute(query.where(unit.c.id.in_(part)))
    }


def save(
    connection: Connection, before: dict[int, life.Unit], after: dict[int, life.Unit], now: float
) -> list[Changed]:
    """Write the differences between two states of the same units; new replicas are inserted by their lease."""
    touched = [number for number, new in after.items() if new != before[number]]
    if not touched:
        return []
    moved: dict[ReplicaState | None, list[dict[str, Any]]] = {}
    for number in touched:
        known = {r.id: r for r in before[number].replicas}
        for copy in after[number].replicas:
            was = known.get(copy.id)
            if was is not None and was != copy:
                moved.setdefault(copy.state if was.state is not copy.state else None, []).append(_row(was, copy))
    for state, rows in moved.items():
        _change(connection, _RENEW if state is None else _move_replica(state), rows)
    _change(connection, _UPDATE_UNIT, [_unit_row(before[n], after[n], now) for n in touched])
    paid = [row["b_id"] for row in moved.get(ReplicaState.VALID, [])]
    if paid:
        grant(connection, paid, now)
    runs = _runs_of(connection, touched)
    changed = [Changed(unit=after[n], run=runs[n], ended=after[n].final and not before[n].final) for n in touched]
    for entry in changed:
        _tell(connection, before[entry.unit.id], entry, now)
    return changed


def unchanged(connection: Connection, current: dict[int, life.Unit]) -> list[Changed]:
    """Return units as they stand, for whoever believed otherwise of them."""
    runs = _runs_of(connection, current)
    return [Changed(unit=unit, run=runs[number], ended=False) for number, unit in current.items()]


def grant(connection: Connection, replicas: Sequence[int], now: float) -> None:
    """Insert the credit of replicas that became valid: the unit's value times the replica's share, once."""
    for part in chunks(replicas):
        rows = connection.execute(
            select(
                replica.c.id, replica.c.volunteer_id, replica.c.host_id, replica.c.share,
                unit.c.credit_milli, unit.c.run_id, run.c.project,
            )
            .join(unit, unit.c.id == replica.c.unit_id)
            .join(run, run.c.id == unit.c.run_id)
            .where(replica.c.id.in_(part))
        )  # fmt: skip
        connection.execute(
            insert(credit_entry),
            [
                {
                    "replica_id": row.id,
                    "volunteer_id": row.volunteer_id,
                    "host_id": row.host_id,
                    "run_id": row.run_id,
                    "project": row.project,
                    "kind": "grant",
                    "amount_milli": round(row.credit_milli * row.share),
                    "granted": now,
                }
                for row in rows
            ],
        )


def expired(connection: Connection, now: float, limit: int = 1000) -> list[int]:
    """Return the ids of units that have a lease past its deadline (by the partial index on deadlines)."""
    query = (
        select(replica.c.unit_id)
        .where(replica.c.state == "leased", replica.c.deadline <= now)
        .order_by(replica.c.deadline)
        .limit(limit)
    )
    return sorted({row.unit_id for row in connection.execute(query)})


def next_deadline(connection: Connection) -> float | None:
    """Return the earliest deadline of any lease."""
    query = select(replica.c.deadline).where(replica.c.state == "leased").order_by(replica.c.deadline).limit(1)
    return connection.execute(query).scalar()


def extend_leases(connection: Connection, seconds: float) -> None:
    """Give every open lease the time that the server was away."""
    connection.execute(
        update(replica)
        .where(replica.c.state == "leased")
        .values(deadline=replica.c.deadline + seconds, hard_deadline=replica.c.hard_deadline + seconds)
    )


def unjudged(connection: Connection) -> list[int]:
    """Return the ids of units that have a reported answer which nobody has judged yet."""
    query = select(replica.c.unit_id).where(replica.c.state == "reported", replica.c.camp.is_(None)).distinct()
    return [row.unit_id for row in connection.execute(query)]


def names_of(connection: Connection, replicas: Iterable[int]) -> dict[int, str]:
    """Return the pseudonyms behind replicas; "a volunteer" for those who have not opted in."""
    query = (
        select(replica.c.id, volunteer.c.pseudonym, volunteer.c.public)
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .where(replica.c.id.in_(bindparam("ids", expanding=True)))
    )
    found: dict[int, str] = {}
    for part in chunks(replicas):
        for row in connection.execute(query, {"ids": part}):
            found[row.id] = row.pseudonym if row.public else "a volunteer"
    return found


def proofs_of_units(connection: Connection, numbers: Sequence[int]) -> dict[int, Any]:
    """Return document, leaf index, Merkle path and batch of units, by id."""
    query = (
        select(unit.c.id, unit.c.document, unit.c.leaf_index, unit.c.path, unit.c.batch_id, batch.c.envelope)
        .join(batch, batch.c.id == unit.c.batch_id)
        .where(unit.c.id.in_(numbers))
    )
    return {row.id: row for row in connection.execute(query)}


def _change(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    """Execute a guarded statement for many rows. Raises Conflict unless each was as it had been loaded."""
    if connection.execute(statement, rows).rowcount != len(rows):
        raise Conflict("a unit or one of its copies was changed by somebody else in between")


def _runs_of(connection: Connection, numbers: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for part in chunks(numbers):
        found |= {
            row.id: row.run_id
            for row in connection.execute(select(unit.c.id, unit.c.run_id).where(unit.c.id.in_(part)))
        }
    return found


def _row(was: life.Replica, copy: life.Replica) -> dict[str, Any]:
    return {
        "b_id": copy.id, "b_was": was.state.value, "b_camp": copy.camp, "b_proven": copy.proof,
        "b_partial": copy.partial, "b_share": copy.share, "b_deadline": copy.deadline,
    }  # fmt: skip


def _unit_row(old: life.Unit, new: life.Unit, now: float) -> dict[str, Any]:
    return {
        "b_id": new.id, "b_was": old.state.value, "b_state": new.state.value, "b_unsent": new.unsent,
        "b_canonical": new.canonical, "b_reason": new.reason,
        "b_finished": now if new.final and not old.final else None,
    }  # fmt: skip


def _tell(connection: Connection, old: life.Unit, changed: Changed, now: float) -> None:
    """Note what people watching the run want to know: disagreement, refusal, a unit given up."""
    new = changed.unit
    camps = {r.camp for r in new.replicas if r.camp is not None and not r.partial}
    old_camps = {r.camp for r in old.replicas if r.camp is not None and not r.partial}
    if len(camps) > 1 and len(camps) > len(old_camps) and not new.final:
        text = f"unit {new.id}: {len(camps)} answers disagree, so one more volunteer is asked"
        note(connection, now, "disagreement", text, run=changed.run, unit=new.id)
    was = {r.id: r.state for r in old.replicas}
    lies = [r.id for r in new.replicas if r.state is ReplicaState.INVALID and was.get(r.id) is not r.state]
    for name in names_of(connection, lies).values() if lies else ():
        text = f"unit {new.id}: the answer of {name} was found wrong; it is refused and unpaid"
        note(connection, now, "refused", text, run=changed.run, unit=new.id)
    if changed.ended and new.state is UnitState.FAILED:
        text = f"unit {new.id} was given up: {new.reason}"
        note(connection, now, "unit-failed", text, run=changed.run, unit=new.id)


_LIFE_OF_UNITS = select(
    unit.c.id, unit.c.quorum, unit.c.state, unit.c.unsent, unit.c.canonical_id, unit.c.reason
).where(unit.c.id.in_(bindparam("units", expanding=True)))

_LIFE_OF_REPLICAS = (
    select(
        replica.c.id, replica.c.unit_id, replica.c.volunteer_id, replica.c.state, replica.c.deadline,
        replica.c.hard_deadline, replica.c.camp, replica.c.proven, replica.c.partial, replica.c.share,
    )
    .where(replica.c.unit_id.in_(bindparam("units", expanding=True)))
    .order_by(replica.c.id)
)  # fmt: skip

_RENEW = (
    update(replica)
    .where(replica.c.id == bindparam("b_id"), replica.c.state == bindparam("b_was"))
    .values(
        camp=bindparam("b_camp"), proven=bindparam("b_proven"), partial=bindparam("b_partial"),
        share=bindparam("b_share"), deadline=bindparam("b_deadline"),
    )
)  # fmt: skip

_UPDATE_UNIT = (
    update(unit)
    .where(unit.c.id == bindparam("b_id"), unit.c.state == bindparam("b_was"))
    .values(
        state=bindparam("b_state"), unsent=bindparam("b_unsent"), canonical_id=bindparam("b_canonical"),
        reason=bindparam("b_reason"),
        finished=func.coalesce(unit.c.finished, bindparam("b_finished", type_=unit.c.finished.type)),
    )
)  # fmt: skip


def _move_replica(state: ReplicaState) -> Any:
    return (
        update(replica)
        .where(replica.c.id == bindparam("b_id"), replica.c.state == bindparam("b_was"))
        .values(
            state=state.value, camp=bindparam("b_camp"), proven=bindparam("b_proven"),
            partial=bindparam("b_partial"), share=bindparam("b_share"), deadline=bindparam("b_deadline"),
        )
    )  # fmt: skip
