"""Which units are over for everybody, so that anybody may see who had them and what they said.

While an answer could still be paid, or an accepted one still be held against another volunteer's, whoever reads about
a unit could copy an answer, or see that he is being checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, Select, and_, bindparam, case, exists, func, or_, select

from dsage.states import FINAL_UNITS, OPEN_RUNS, ReplicaState, RunState, UnitState
from dsage_server.store import known
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import among, last_word, replica, run, unit


def over(connection: Connection, wanted: Iterable[int], now: float) -> set[int]:
    """Return those of some units that are over: final, no copy is out or could come back late, and none will go out
    to hold the answer against it (Unix seconds)."""
    rows = connection.execute(_OVER, {"ids": numbers(connection, wanted), "now": now})
    return {row.id for row in rows if not (row.may_go_out and known.withheld(connection, row.id))}


def _query() -> Select[tuple[int, bool]]:
    own = replica.c.unit_id == unit.c.id
    out = or_(
        and_(among(replica.c.state, [_COPY.LEASED, _COPY.EXPIRED]), replica.c.hard_deadline >= bindparam("now")),
        and_(replica.c.state == _COPY.REPORTED.value, unit.c.state == UnitState.VALID.value),
    )
    accepted = and_(unit.c.adaptive, unit.c.state == UnitState.VALID.value)
    behind = select(func.count(case((replica.c.state == _COPY.VALID.value, 1)))).where(own)
    lone = and_(accepted, behind.scalar_subquery() < 2, ~exists().where(own, replica.c.proven))
    goes_on = among(run.c.state, OPEN_RUNS)
    of_run = last_word.c.run_id == run.c.id
    looked = exists().where(of_run, last_word.c.unit_id.is_(None))
    waits = exists().where(of_run, last_word.c.unit_id == unit.c.id)
    unchecked = or_(goes_on, and_(run.c.state == RunState.DONE.value, or_(~looked, waits)))
    return (
        select(unit.c.id, and_(accepted, goes_on).label("may_go_out"))
        .join(run, run.c.id == unit.c.run_id)
        .where(among_ids(unit.c.id), among(unit.c.state, FINAL_UNITS), unit.c.unsent == 0)
        .where(~exists().where(own, out), ~and_(lone, unchecked))
    )


_COPY: Final = ReplicaState
_OVER: Final = _query()
