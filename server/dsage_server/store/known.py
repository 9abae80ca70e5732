"""Known answers: units that were answered go out once more, under another number, to see what a computer says.

To a host such a unit is any other: it was made in the step, and signed in the batch, of the units beside it, goes out
when they do, and pays alike. To the tables its copy is one more copy of the unit that was answered, so all that holds
for copies holds for it: it never goes to whoever had one, or to their kin, the app's rule compares it with the accepted
answer, it is paid if it is right, and convicts its host if it is not. It is folded by no step, and counted by nobody.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, exists, func, literal_column, select, update

from dsage import wire
from dsage.states import OPEN_RUNS, UnitState
from dsage.trust.documents import Manifest, UnitDocument
from dsage_server.signing import Leaf
from dsage_server.store import steps, units
from dsage_server.store.bulk import among_ids, insert_rows, numbers, update_rows
from dsage_server.store.meta import recall, secret
from dsage_server.store.schema import among, discovery, known, run, signed_unit, unit
from dsage_validator import contest, life
from dsage_validator.reputation import drawn, supporters
from dsage_validator.unit import Trust, Unit

SHARE: Final = 0.0025
"""For each adaptive unit that a step makes, how many known ones are made with it: an honest world has to stay within
1.05 copies for each result, and each known unit is one (docs/trust.md)."""
POOL: Final = 0.2
"""The share of units that may go out again: what pages say of these waits until their run has ended."""
KEY: Final = "known_key"
"""Under which name the key is remembered that draws which."""
LOOKED_AT: Final = 200
"""Answered units that are looked at for some that may go out again."""


def wanted(new: Sequence[wire.NewUnit], manifest: Manifest) -> int:
    """Return how many known units to make with new ones, by chance. None where answers may depend on the kind of
    computer, and where an answer proves itself and needs no such check."""
    if manifest.homogeneous or manifest.has_verify:
        return 0
    return sum(entry.adaptive and entry.quorum > 1 and secrets.randbelow(10_000) < 10_000 * SHARE for entry in new)


def pick(connection: Connection, number: int, most: int) -> dict[int, wire.NewUnit]:
    """Return up to `most` units of a run whose answer is known for certain, as they may be made once more."""
    first, last = connection.execute(_SPAN, {"run": number}).one()
    if first is None:
        return {}
    found: dict[int, Any] = {}
    for start in (first + secrets.randbelow(last - first + 1), first):
        if len(found) < most:
            found |= _certain_from(connection, number, start)
    picked = secrets.SystemRandom().sample(sorted(found), min(most, len(found)))
    return {answered: _again(found[answered]) for answered in picked}


def _certain_from(connection: Connection, number: int, start: int) -> dict[int, Any]:
    """Return those of some units of a run, beginning with a number, that may go out again."""
    key = secret(connection, KEY)
    rows = connection.execute(_ANSWERED, {"run": number, "start": start, "most": LOOKED_AT}).all()
    pool = {row.id: row for row in rows if drawn(key, row.id) < POOL}
    book = units.Book.of(connection, pool, lock=False)
    return {answered: row for answered, row in pool.items() if certain(book.now[answered])}


def certain(current: Unit) -> bool:
    """Whether who contradicts the accepted answer of a unit would be found lying: two hosts stand behind it whose word
    counts, an established one among them, and nobody contests it or is asked."""
    counted = [r.trust for r in supporters(current) if r.trust >= Trust.NEW]
    at_rest = not current.unsent and not contest.contesting(current)
    return current.adaptive and at_rest and len(counted) > 1 and max(counted) > Trust.NEW


def mixed(new: Sequence[wire.NewUnit], again: dict[int, wire.NewUnit]) -> tuple[list[wire.NewUnit], dict[int, int]]:
    """Return new units with known ones among them, none of these last; and by place, which unit each of these is."""
    order: list[tuple[int, int, wire.NewUnit]] = [(place, 0, entry) for place, entry in enumerate(new)]
    order += [(secrets.randbelow(len(new)), -number, entry) for number, entry in again.items()]
    order.sort(key=lambda each: each[:2])
    return [entry for _, _, entry in order], {place: -number for place, (_, number, _) in enumerate(order) if number}


def keep(connection: Connection, number: int, made: Sequence[tuple[int, Leaf]], batch: int, now: float) -> None:
    """Keep known units of a run, as they were signed: (the unit that was answered, its leaf); `batch` is the first of
    their step."""
    rows = [(leaf.unit, of, number, now) for of, leaf in made]
    insert_rows(connection, known, ("id", "unit_id", "run_id", "made"), rows)
    signed = [(leaf.unit, leaf.document, batch + leaf.batch, leaf.index, leaf.path) for _, leaf in made]
    insert_rows(connection, signed_unit, ("unit_id", "document", "batch_id", "leaf_index", "path"), signed)


def waiting(connection: Connection) -> dict[int, int]:
    """Return the known units of open runs that have not been released, with their runs."""
    return {row.id: row.run_id for row in connection.execute(_WAITING)}


def lost(connection: Connection) -> list[int]:
    """Return the answered units of open runs that a copy is to go out of as a known one, and has not."""
    return list(connection.execute(_LOST).scalars())


def release(connection: Connection, wanted: Iterable[int], now: float) -> list[units.Changed]:
    """Let known units go out; those whose answer is certain no more never do."""
    rows = connection.execute(_RELEASED, {"ids": numbers(connection, wanted), "now": now}).all()
    book = units.Book.of(connection, [row.unit_id for row in rows])
    gone = []
    for row in rows:
        current = book.now[row.unit_id]
        if certain(current):
            book.now[row.unit_id] = life.asked_again(current)
        else:
            gone.append(row.id)
    drop(connection, gone)
    return book.write(now)


def over(connection: Connection) -> list[int]:
    """Return the known units of runs that have ended before these went out."""
    return list(connection.execute(_OVER).scalars())


def disguises(connection: Connection, answered: Iterable[int]) -> dict[int, int]:
    """Return the numbers under which answered units are to go out now, by unit."""
    return dict(connection.execute(_DISGUISES, {"ids": numbers(connection, answered)}).all())


def sent(connection: Connection, copies: Sequence[tuple[int, int]]) -> None:
    """Note which copies went out under which numbers: (copy, number)."""
    update_rows(connection, known, ("replica_id",), copies)


def originals(connection: Connection, numbered: Iterable[int]) -> dict[int, int]:
    """Return the units that others are in truth, by the number under which a copy went out."""
    return dict(connection.execute(_ORIGINALS, {"ids": numbers(connection, numbered)}).all())


def withheld(connection: Connection, number: int) -> bool:
    """Whether a unit is one of those that may go out again, so that nothing is shown of it while its run is open."""
    key = recall(connection, KEY)
    return key is not None and drawn(bytes.fromhex(key), number) < POOL


def drop(connection: Connection, gone: Sequence[int]) -> None:
    """Forget known units that never went out."""
    if gone:
        ids = {"ids": numbers(connection, gone)}
        connection.execute(delete(known).where(among_ids(known.c.id)), ids)
        connection.execute(delete(signed_unit).where(among_ids(signed_unit.c.unit_id)), ids)


def _again(row: Any) -> wire.NewUnit:
    signed = msgspec.json.decode(row.document, type=UnitDocument)
    return wire.NewUnit(
        key="", args=signed.args, credit_milli=signed.credit_milli, quorum=row.quorum, deadline_s=row.deadline_s,
        cpu_s=signed.cpu_s, wall_s=signed.wall_s, memory_bytes=signed.memory_bytes, disk_bytes=signed.disk_bytes,
        output_bytes=signed.output_bytes, inputs={name: file.sha256 for name, file in signed.inputs.items()},
    )  # fmt: skip


_ENDED: Final = (among(unit.c.state, [UnitState.VALID, UnitState.CANCELLED]), unit.c.run_id == bindparam("run"))
"""The words of the partial index on units that have ended."""
_SPAN = select(func.min(unit.c.id), func.max(unit.c.id)).where(*_ENDED)
_ANSWERED = (
    select(unit.c.id, unit.c.quorum, unit.c.deadline_s, signed_unit.c.document)
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .where(
        *_ENDED, unit.c.id >= bindparam("start"), unit.c.state == literal_column("'valid'"), unit.c.adaptive,
        steps.IS_LIVE, unit.c.refused_id.is_(None),
        ~exists(select(known.c.id).where(known.c.unit_id == unit.c.id)),
        ~exists(select(discovery.c.id).where(discovery.c.unit_id == unit.c.id)),
    )
    .order_by(unit.c.id)
    .limit(bindparam("most"))
)  # fmt: skip
_OPEN = select(run.c.id).where(among(run.c.state, OPEN_RUNS))
_WAITING = select(known.c.id, known.c.run_id).where(
    known.c.replica_id.is_(None), known.c.released.is_(None), known.c.run_id.in_(_OPEN)
)
_LOST = select(known.c.unit_id).where(
    known.c.replica_id.is_(None), known.c.released.is_not(None), known.c.run_id.in_(_OPEN)
)
_OVER = select(known.c.id).where(known.c.replica_id.is_(None), ~known.c.run_id.in_(_OPEN))
_RELEASED = (
    update(known)
    .where(among_ids(known.c.id), known.c.released.is_(None))
    .values(released=bindparam("now"))
    .returning(known.c.id, known.c.unit_id)
)
_DISGUISES = select(known.c.unit_id, known.c.id).where(
    among_ids(known.c.unit_id), known.c.replica_id.is_(None), known.c.released.is_not(None)
)
_ORIGINALS = select(known.c.id, known.c.unit_id).where(among_ids(known.c.id))
