"""The log of a run's steps: the states that it can go back to, the answers that a driver has to take back, and the
units that a replay has put aside.

A unit names the step that made it and the step that folded its answer (or cancelled it). States are kept more sparsely
the older they are, so that a run of any length keeps few, and bytes are bounded too: with fewer states a replay goes
back further, and nothing else changes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, delete, func, or_, select, update

from dsage import wire
from dsage.errors import Conflict, Reopened
from dsage.states import UnitState
from dsage.trust.documents import UnitDocument
from dsage_server.store import tallies, units
from dsage_server.store.bulk import LOAD_CHUNK, among_ids, chunks, insert_rows, numbers, update_rows
from dsage_server.store.schema import among, answer, aside, blob, run_step, signed_unit, unit
from dsage_validator import life

NEWEST: Final = 8
"""States kept at each distance: of the last 8 steps, of the last 16 each second one, of the last 32 each fourth ..."""
LIGHT_BYTES: Final = 64 << 10
"""A state above this is written down again for each second step only, above the double for each fourth, and so on."""
MOST_BYTES: Final = 16 << 20
"""What the states of one run may have; beyond it each second of them goes."""
WEIGHED: Final = 64
"""Steps after which the states of a run are weighed."""
ASIDE_STEP: Final = 0
"""The `folded_step` of a unit that a replay has put aside: no step folds its answer."""
IS_LIVE: Final = or_(unit.c.folded_step.is_(None), unit.c.folded_step != ASIDE_STEP)
"""Whether a unit is its run's, and was not put aside."""


def keep(connection: Connection, number: int, step: int, state: bytes) -> None:
    """Keep the state after a step, now that the next one is committed; states that are too close together go."""
    if step == 0 or _kept(step, len(state)):
        connection.execute(_KEEP, {"run_id": number, "step": step, "state": state})
    old = _too_close(step)
    if old > 0:
        connection.execute(_DROP, {"b_run": number, "b_step": old})
    if step and step % WEIGHED == 0:
        _weigh(connection, number)


def _kept(step: int, size: int) -> bool:
    """Whether a state of `size` bytes is kept at all: heavy ones would double what each step writes."""
    spacing = 1
    while spacing * LIGHT_BYTES < size:
        spacing *= 2
    return step % spacing == 0


def _too_close(step: int) -> int:
    """Return the one step whose state goes when that of `step` comes.

    A step that can be halved n times lives for the NEWEST * 2^n steps after it: one of its kind is due each time that
    another one of its kind comes.
    """
    return step - NEWEST * (step & -step)


def _weigh(connection: Connection, number: int) -> None:
    rows = connection.execute(_WEIGHTS, {"run": number}).all()
    sizes = {row.step: int(row.bytes) for row in rows if row.step}
    while sum(sizes.values()) > MOST_BYTES and len(sizes) > 1:
        for step in sorted(sizes)[-2::-2]:
            connection.execute(_DROP, {"b_run": number, "b_step": step})
            del sizes[step]


def kept_before(connection: Connection, number: int, step: int) -> tuple[int, bytes]:
    """Return the newest step before `step` whose state is kept, and the state. Raises Conflict if there is none."""
    row = connection.execute(_BEFORE, {"run": number, "before": step}).first()
    if row is None:
        raise Conflict(
            f"run {number} began when states were not kept: it cannot go back",
            hint="Submit it again, or give it retract.",
        )
    return row.step, row.state


def forget_after(connection: Connection, number: int, step: int) -> None:
    """Drop the states after a step: they rest on what does not hold."""
    connection.execute(delete(run_step).where(run_step.c.run_id == number, run_step.c.step > step))


# -- answers that are to be taken back ----------------------------------------------------------------------------


def retracted(connection: Connection, number: int, most: int, most_bytes: int) -> list[wire.Answer]:
    """Return the answers that were folded and do not hold, with the value that was; some of them, if they are many."""
    found: list[wire.Answer] = []
    size = 0
    for row in connection.execute(_REFUSED, {"run": number, "most": most}):
        size += len(row.document) + len(row.value or b"") + (row.bytes or 0)
        if found and size > most_bytes:
            break
        args = msgspec.json.decode(row.document, type=UnitDocument).args
        found.append(
            wire.Answer(unit=row.id, key=row.key, group=row.grp, args=args, value=row.value, replica=row.refused_id)
        )
    return found


def first_refused(connection: Connection, number: int) -> int | None:
    """Return the first step that folded an answer which does not hold."""
    return connection.execute(_FIRST, {"run": number}).scalar()


def rest(connection: Connection, number: int, step: wire.Step) -> None:
    """Mark what a step folds and takes back.

    Raises Reopened if an answer that it rests on does not hold any more, Conflict for one that never was there.
    """
    if step.retracted:
        rows = [{"b_id": taken, "b_run": number} for taken in set(step.retracted)]
        if connection.execute(_TAKE_BACK, rows).rowcount != len(rows):
            raise Conflict(f"step {step.step} takes back an answer of run {number} that holds")
    if step.folded:
        _fold(connection, number, step)
    if step.finished and first_refused(connection, number) is not None:
        raise Reopened(f"run {number} cannot end: an answer that it has folded does not hold any more")


def _fold(connection: Connection, number: int, step: wire.Step) -> None:
    if len(step.replicas) not in (0, len(step.folded)):
        raise Conflict(f"step {step.step} does not name one replica for each answer that it folds")
    heard = step.replicas or [ANY] * len(step.folded)
    rows = [
        {"b_id": folded, "b_run": number, "b_step": step.step, "b_replica": copy}
        for folded, copy in zip(step.folded, heard, strict=True)
    ]
    if connection.execute(_MARK_FOLDED, rows).rowcount == len(set(step.folded)):
        return
    fits = {"run": number, "step": step.step, "ids": numbers(connection, step.folded)}
    if connection.execute(_UNFOLDED_YET, fits).scalar_one() == len(set(step.folded)):
        raise Reopened(f"step {step.step} folds an answer of run {number} that does not hold any more")
    raise Conflict(f"step {step.step} folds a unit that is not an unfolded answer of run {number}")


# -- units put aside ----------------------------------------------------------------------------------------------


def put_aside(connection: Connection, number: int, wanted: Iterable[int], token: str) -> None:
    """Put ended units aside, each under a key that nobody asks for; `adopt` finds them by their work."""
    for part in chunks(wanted):
        ids = {"ids": numbers(connection, part)}
        rows = connection.execute(_WORK, ids).all()
        works = [(row.id, number, _work_of_row(row)) for row in rows]
        insert_rows(connection, aside, ("unit_id", "run_id", "work"), works)
        tallies.add_up(connection, Counter((number, f"aside.{row.state}") for row in rows))
        connection.execute(_PUT_ASIDE, {**ids, "b_token": f"~{token}"})


def adopt(connection: Connection, number: int, new: Sequence[wire.NewUnit], step: int) -> dict[str, int]:
    """Take units that were put aside as new ones that are the same work, and return them by their new keys.

    Their answers, if they have any, wait to be folded; those that were cancelled are to be opened again.
    """
    if not new or connection.execute(_ANY_ASIDE, {"run": number}).first() is None:
        return {}
    works = {entry.key: work_of(entry) for entry in new}
    waiting: dict[str, list[int]] = {}
    for start in range(0, len(new), LOAD_CHUNK):
        part = list({works[entry.key] for entry in new[start : start + LOAD_CHUNK]})
        for row in connection.execute(_SAME_WORK, {"run": number, "works": part}):
            waiting.setdefault(row.work, []).append(row.unit_id)
    found: dict[str, int] = {}
    for entry in new:
        if entry.key not in found and waiting.get(works[entry.key]):
            found[entry.key] = waiting[works[entry.key]].pop(0)
    groups = {entry.key: entry.group for entry in new}
    rows = [(key, groups[key], step, None, id) for key, id in found.items()]
    update_rows(connection, unit, ("key", "grp", "made_step", "folded_step"), rows)
    for part_ids in chunks(found.values()):
        for state, n in connection.execute(_STATES, {"ids": numbers(connection, part_ids)}).all():
            tallies.add_up(connection, Counter({(number, f"aside.{state}"): -n}))
        connection.execute(delete(aside).where(among_ids(aside.c.unit_id)), {"ids": numbers(connection, part_ids)})
    return found


def opened_again(connection: Connection, wanted: Iterable[int], now: float) -> list[units.Changed]:
    """Open those of some units again that were cancelled."""
    query = select(unit.c.id).where(among_ids(unit.c.id), unit.c.state == UnitState.CANCELLED.value)
    found = list(connection.execute(query, {"ids": numbers(connection, wanted)}).scalars())
    book = units.Book.of(connection, found)
    for unit_id, current in book.now.items():
        book.now[unit_id] = life.retried(current)
    return book.write(now)


def work_of(new: wire.NewUnit) -> str:
    """Return a name for what a unit does and may use: units of one name can stand for each other."""
    inputs = sorted(new.inputs.items())
    floats = (float(new.deadline_s), float(new.cpu_s), float(new.wall_s))
    sizes = (new.credit_milli, new.quorum, new.memory_bytes, new.disk_bytes, new.output_bytes, new.splits)
    wanted = (() if new.retries is None else (new.retries,)) + (("adaptive",) if new.adaptive else ())
    return hashlib.sha256(msgspec.msgpack.encode((new.args, inputs, floats, sizes, *wanted))).hexdigest()


def _work_of_row(row: Any) -> str:
    signed = msgspec.json.decode(row.document, type=UnitDocument)
    return work_of(
        wire.NewUnit(
            key="", args=signed.args, credit_milli=signed.credit_milli, quorum=row.quorum, deadline_s=row.deadline_s,
            cpu_s=signed.cpu_s, wall_s=signed.wall_s, memory_bytes=signed.memory_bytes, disk_bytes=signed.disk_bytes,
            output_bytes=signed.output_bytes, inputs={name: file.sha256 for name, file in signed.inputs.items()},
            splits=row.splits, retries=row.retries, adaptive=row.adaptive,
        )
    )  # fmt: skip


ANY: Final = -1
"""In place of a replica: whichever is canonical."""

_KEEP = run_step.insert()
_DROP = delete(run_step).where(run_step.c.run_id == bindparam("b_run"), run_step.c.step == bindparam("b_step"))
_WEIGHTS = select(run_step.c.step, func.length(run_step.c.state).label("bytes")).where(
    run_step.c.run_id == bindparam("run")
)
_BEFORE = (
    select(run_step.c.step, run_step.c.state)
    .where(run_step.c.run_id == bindparam("run"), run_step.c.step < bindparam("before"))
    .order_by(run_step.c.step.desc())
    .limit(1)
)

_REFUSED = (
    select(
        unit.c.id, unit.c.key, unit.c.grp, unit.c.refused_id, signed_unit.c.document, answer.c.value, blob.c.bytes
    )
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .outerjoin(answer, answer.c.replica_id == unit.c.refused_id)
    .outerjoin(blob, blob.c.sha256 == answer.c.blob)
    .where(unit.c.run_id == bindparam("run"), unit.c.refused_id.is_not(None))
    .order_by(unit.c.id)
    .limit(bindparam("most"))
)  # fmt: skip
_FIRST = select(func.min(unit.c.folded_step)).where(unit.c.run_id == bindparam("run"), unit.c.refused_id.is_not(None))
_TAKE_BACK = (
    update(unit)
    .where(unit.c.id == bindparam("b_id"), unit.c.run_id == bindparam("b_run"), unit.c.refused_id.is_not(None))
    .values(folded_step=None, refused_id=None)
)
_HEARD = bindparam("b_replica", type_=BigInteger)
_MARK_FOLDED = (
    update(unit)
    .where(
        unit.c.id == bindparam("b_id"),
        unit.c.run_id == bindparam("b_run"),
        among(unit.c.state, ["valid", "failed"]),
        unit.c.folded_step.is_(None),
        or_(_HEARD == ANY, func.coalesce(unit.c.canonical_id, 0) == _HEARD),
    )
    .values(folded_step=bindparam("b_step"))
)
_UNFOLDED_YET = select(func.count()).where(
    among_ids(unit.c.id),
    unit.c.run_id == bindparam("run"),
    func.coalesce(unit.c.folded_step, bindparam("step")) == bindparam("step"),
)

_WORK = (
    select(
        unit.c.id, unit.c.state, unit.c.quorum, unit.c.deadline_s, unit.c.splits, unit.c.retries,
        unit.c.adaptive, signed_unit.c.document,
    )
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .where(among_ids(unit.c.id))
    .order_by(unit.c.id)
)  # fmt: skip
_STATES = select(unit.c.state, func.count()).where(among_ids(unit.c.id)).group_by(unit.c.state)
_PUT_ASIDE = (
    update(unit)
    .where(among_ids(unit.c.id))
    .values(key=unit.c.key.concat(bindparam("b_token")), folded_step=ASIDE_STEP, refused_id=None)
)
_ANY_ASIDE = select(aside.c.unit_id).where(aside.c.run_id == bindparam("run")).limit(1)
_SAME_WORK = (
    select(aside.c.unit_id, aside.c.work)
    .where(aside.c.run_id == bindparam("run"), aside.c.work.in_(bindparam("works", expanding=True)))
    .order_by(aside.c.unit_id)
)
