"""Ready units that one of several server processes has taken for its queue, so that others leave them alone.

A claim keeps nobody from anything: the rows have the last word when a copy is leased. It runs out by itself, and a
process that has no work for its hosts asks the others to give some back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, or_, select, update

from dsage_server.scheduling.terms import ReadyUnit, RunTerms
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.ready import as_ready, wanted_of
from dsage_server.store.schema import unit
from dsage_server.store.units import Book

CLAIM_S: Final = 60.0


def claim(connection: Connection, terms: RunTerms, limit: int, now: float) -> tuple[list[ReadyUnit], bool]:
    """Claim up to `limit` ready units of a run that nobody else has, oldest first; and say whether that was all."""
    asked = {"run": terms.run, "limit": limit, "now": now, "slot": connection.info["slot"], "until": now + CLAIM_S}
    mine = sorted(connection.execute(_CLAIM, asked).scalars())
    book = Book.of(connection, mine, lock=False)
    found = [
        as_ready(book.entry(number), terms, *wanted_of(connection, current, terms))
        for number, current in sorted(book.now.items())
        if current.unsent
    ]
    return found, len(mine) < limit


def release(connection: Connection, units: Sequence[int]) -> None:
    """Give claims on units back."""
    connection.execute(_RELEASE, {"ids": numbers(connection, units)})


def release_all(connection: Connection, slot: int) -> None:
    """Give every claim of a process back: it ends, or is gone."""
    connection.execute(
        update(unit).where(unit.c.state == "ready", unit.c.claimed_by == slot).values(claimed_until=None)
    )


_FREE = (
    select(unit.c.id)
    .where(
        unit.c.run_id == bindparam("run"),
        unit.c.state == "ready",
        or_(unit.c.claimed_until.is_(None), unit.c.claimed_until < bindparam("now")),
    )
    .order_by(unit.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(unit)
    .where(unit.c.id.in_(_FREE.scalar_subquery()))
    .values(claimed_by=bindparam("slot"), claimed_until=bindparam("until"))
    .returning(unit.c.id)
)
_RELEASE = update(unit).where(among_ids(unit.c.id), unit.c.state == "ready").values(claimed_until=None)
