"""What the validator needs of a unit to judge its fresh answers, and writing what it found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, select

from dsage.errors import Conflict
from dsage.states import UnitState
from dsage_server.sentences import news
from dsage_server.store import signed, units
from dsage_server.store.engine import Store
from dsage_server.store.events import note
from dsage_server.store.schema import answer
from dsage_validator import life
from dsage_validator.camps import Standing
from dsage_validator.checks import Candidate, Verdict
from dsage_validator.unit import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One unit with answers to judge; `cancelled` as it stood when they were read.

    `judged` are the answers judged before that the fresh ones may agree with, `standing` those of them whose values are
    kept. `blobs` are the large answers, by copy: their values stand empty until `filled`.
    """

    unit: int
    run: int
    cancelled: bool
    args: bytes
    judged: frozenset[int]
    standing: list[Standing]
    candidates: list[Candidate]
    blobs: dict[int, str]


@asynccontextmanager
async def alone(store: Store, number: int) -> AsyncIterator[bool]:
    """Say whether no other process judges this unit; if so, none begins to before the end of the block.

    Every validator hears of every unit. If the one that judges it is killed, the others look again by themselves.
    """
    if not store.shared:
        yield True
        return
    async with store.locks.alone(number) as mine:
        yield mine


def case(connection: Connection, number: int) -> Case | None:
    """Return what is to be judged of a unit; None if nothing is."""
    book = units.Book.of(connection, [number], lock=False)
    current = book.now.get(number)
    fresh = life.unjudged(current) if current else ()
    if current is None or not fresh:
        return None
    head = book.heads[number]
    before = life.standing(current)
    ids = sorted({r.id for r in (*before, *fresh)})
    rows = connection.execute(_VALUES, {"ids": ids}).all()
    values = {row.replica_id: row.value for row in rows}
    cancelled = current.state is UnitState.CANCELLED
    return Case(
        unit=number,
        run=head.run,
        cancelled=cancelled,
        args=signed.args_of(connection, number),
        judged=frozenset([r.id for r in before]),
        standing=[
            Standing(replica=r.id, value=values[r.id], leads=current.final, accepted=r.id == current.canonical)
            for r in before
            if values.get(r.id) is not None
        ],
        candidates=[
            Candidate(replica=r.id, value=values.get(r.id) or b"", partial=r.partial, alone=cancelled) for r in fresh
        ],
        blobs={row.replica_id: row.blob for row in rows if row.blob},
    )


def filled(judged: Case, values: Mapping[int, bytes]) -> Case:
    """Return a case with the values of its large answers."""
    return replace(
        judged,
        standing=[replace(each, value=values.get(each.replica, each.value)) for each in judged.standing],
        candidates=[replace(each, value=values.get(each.replica, each.value)) for each in judged.candidates],
    )


def apply(connection: Connection, judged: Case, verdicts: Sequence[Verdict], now: float) -> list[units.Changed]:
    """Write verdicts: the unit may become valid by them, and replicas paid.

    If the unit was cancelled meanwhile they answer another question than the one that is open, and are dropped.
    """
    number = judged.unit
    book = units.Book.of(connection, [number])
    if (book.now[number].state is UnitState.CANCELLED) != judged.cancelled:
        return []
    if not {r.id for r in life.standing(book.now[number])} <= judged.judged:
        raise Conflict("the answers of a unit were judged by another process in between")
    book.now[number] = life.judged(
        book.now[number],
        [Judgement(id=v.replica, camp=v.camp, proof=v.proof, share=v.share) for v in verdicts],
    )
    for trouble in dict.fromkeys(verdict.trouble for verdict in verdicts if verdict.trouble):
        note(connection, now, "check-failed", news.TROUBLE(unit=number, why=trouble), run=judged.run, unit=number)
    return book.write(now)


_VALUES = select(answer.c.replica_id, answer.c.value, answer.c.blob).where(
    answer.c.replica_id.in_(bindparam("ids", expanding=True))
)
