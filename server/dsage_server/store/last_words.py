"""Nobody's last word stays unchecked: what is asked once more when a run is done.

Of each host some of whose answers were taken alone since it last passed a check, one such answer is asked of one more
volunteer. If that one contradicts, others decide; if the host is convicted, all falls that it alone has said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select

from dsage.states import ReplicaState, RunState, UnitState
from dsage_server.store import units
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.meta import secret
from dsage_server.store.schema import among, last_word, replica, run, standing, unit
from dsage_server.store.standings import KEY
from dsage_validator import contest, life
from dsage_validator.reputation import drawn, supporters
from dsage_validator.unit import Trust, Unit

MOST: Final = 1000
"""Answers that are looked at in one commit."""
LOOKED_AT: Final = 2000
"""Units among which one look chooses; a run may have millions."""
MOST_COPIES: Final = 6
"""Copies that came back without a word on an answer, before no further one is asked."""


class Asked(msgspec.Struct):
    """What a look did: `wanted` are units of which a copy should go out, `ended` their runs that have ended."""

    changed: list[units.Changed] = []
    wanted: set[int] = set()
    ended: set[int] = set()


def unlooked(connection: Connection) -> list[int]:
    """Return the runs that are done, and whose hosts' last words nobody has chosen."""
    return list(connection.execute(_UNLOOKED).scalars())


class Choice(msgspec.Struct, kw_only=True):
    """What is asked again of a run, as far as its units were looked at: to the one with the number `after`, or `whole`.
    `least` has for each host the draw and the unit that came out lowest."""

    least: dict[int, tuple[float, int]] = {}
    after: int = 0
    whole: bool = False

    @property
    def units(self) -> list[int]:
        """The units."""
        return sorted(unit_id for _, unit_id in self.least.values())


def chosen(connection: Connection, number: int, so_far: Choice) -> Choice:
    """Go on choosing which units of a run are asked again: one for each host, drawn by a key that it does not know."""
    key = secret(connection, KEY)
    ids = connection.execute(_ENDED, {"run": number, "after": so_far.after}).scalars().all()
    app = connection.execute(select(run.c.app).where(run.c.id == number)).scalar()
    least = dict(so_far.least)
    for row in connection.execute(_ALONE, {"ids": numbers(connection, ids), "app": app}):
        if row.state == UnitState.VALID:
            draw = drawn(key, -row.id), row.id
            least[row.host_id] = min(least.get(row.host_id, draw), draw)
    return Choice(least=least, after=ids[-1] if ids else so_far.after, whole=len(ids) < LOOKED_AT)


def keep(connection: Connection, number: int, found: Iterable[int]) -> None:
    """Remember what is asked again of a run, and that it was chosen; twice is once."""
    query = select(run.c.id).where(run.c.id == number).with_for_update()
    connection.execute(query)
    if number in unlooked(connection):
        rows = [{"run_id": number, "unit_id": each} for each in (None, *found)]
        connection.execute(insert(last_word), rows)


def waiting(connection: Connection) -> bool:
    """Whether there is something to look at."""
    return connection.execute(_WAITING.limit(1)).first() is not None


def look(connection: Connection, now: float) -> Asked:
    """Ask what is to be asked, and forget what was answered or leads nowhere."""
    rows = connection.execute(_WAITING).all()
    if not rows:
        return Asked()
    book = units.Book.of(connection, {row.unit_id for row in rows})
    asked, over = Asked(), []
    for row in rows:
        current = book.now.get(row.unit_id)
        if current is None or _said(current):
            over.append(row.id)
        elif not any(r.state is ReplicaState.LEASED for r in current.replicas):
            _ask(book, row, current, asked)
    connection.execute(delete(last_word).where(among_ids(last_word.c.id)), {"ids": numbers(connection, over)})
    asked.changed = book.write(now)
    return asked


def _ask(book: units.Book, row: Any, current: Unit, asked: Asked) -> None:
    if row.state == RunState.PAUSED:
        return
    book.now[row.unit_id] = current if current.unsent else life.asked_again(current)
    asked.wanted.add(row.unit_id)
    if row.state == RunState.DONE:
        asked.ended.add(row.run_id)


def _said(current: Unit) -> bool:
    """Whether nothing more is to be asked: the answer fell, was confirmed or contested, or nobody could say."""
    if current.state is not UnitState.VALID or contest.contesting(current):
        return True
    known = [r for r in supporters(current) if r.trust >= Trust.NEW or r.proof]
    later = [r for r in current.replicas if r.id > (current.canonical or 0)]
    return len(known) > 1 or any(r.proof for r in known) or len(later) >= MOST_COPIES


_UNLOOKED = (
    select(run.c.id)
    .where(run.c.state == RunState.DONE.value)
    .where(~select(last_word.c.id).where(last_word.c.run_id == run.c.id, last_word.c.unit_id.is_(None)).exists())
    .order_by(run.c.id)
)
_ENDED = (
    select(unit.c.id)
    .where(unit.c.run_id == bindparam("run"), among(unit.c.state, [UnitState.CANCELLED, UnitState.VALID]))
    .where(unit.c.id > bindparam("after"))
    .order_by(unit.c.id)
    .limit(LOOKED_AT)
)
_ALONE = (
    select(unit.c.id, unit.c.state, replica.c.host_id)
    .join(replica, replica.c.id == unit.c.canonical_id)
    .outerjoin(standing, (standing.c.host_id == replica.c.host_id) & (standing.c.app == bindparam("app")))
    .where(among_ids(unit.c.id), unit.c.adaptive)
    .where(replica.c.trust == Trust.ALONE.value, replica.c.proven.is_not(True))
    .where(replica.c.reported > func.coalesce(standing.c.at, 0.0))
)
_WAITING = (
    select(last_word.c.id, last_word.c.run_id, last_word.c.unit_id, run.c.state)
    .join(run, run.c.id == last_word.c.run_id)
    .where(last_word.c.unit_id.is_not(None))
    .order_by(last_word.c.id)
    .limit(MOST)
)
