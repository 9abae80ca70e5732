"""Leaderboards: who of those who agreed to be listed earned how much, over which time, and where somebody stands.

One query reads everybody (`contenders`), off the hot loop and now and then; the answers to all that visitors ask, a
page, a name, a place among neighbours, come from what was read (`Board`) and cost no query. What was earned with a
project, or in 30 days, is counted from the sums by day; what was in the last 24 hours, from the ledger's own rows.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, Subquery, case, cast, false, func, or_, select

from dsage.errors import UsageError
from dsage_server.store.earned import app_names
from dsage_server.store.schema import (
    credit_app,
    credit_daily,
    credit_entry,
    credit_sum,
    credit_unfolded,
    ledger_span,
    volunteer,
)

DAY_S: Final = 86400
PAGE: Final = 100
NEIGHBOURS: Final = 5
DAYS: Final = 30


class Horizon(enum.StrEnum):
    """The time over which credit counts; `recent` is the average with a half-life of a week."""

    DAY = "24h"
    RECENT = "recent"
    MONTH = "30d"
    ALL = "all"


PERIOD_S: Final = {Horizon.DAY: 60.0, Horizon.RECENT: 15.0, Horizon.MONTH: 600.0, Horizon.ALL: 15.0}
"""How old a board may get before it is read again: what costs more to count is counted less often."""


class Contender(NamedTuple):
    """A listed volunteer with what they earned: thousandths of a credit, and valid answers, over the board's time; and
    the stored score, which `credit.recent_average` makes credits a day."""

    volunteer: int
    pseudonym: str
    team: int | None
    country: str
    amount_milli: int
    valid: int
    score: float


class Place(NamedTuple):
    """A contender and the place, from 1; who has as much as another has the same place."""

    rank: int
    who: Contender


class Board:
    """Contenders in order: the most first, of two who have as much the one who was there first.

    To make one of 100,000 takes some tenths of a second, to ask it next to nothing: make it off the loop.
    """

    def __init__(self, contenders: Iterable[Contender], by: str = "amount_milli") -> None:
        """`by` is the column that orders: amount_milli, valid or score. Raises UsageError for another."""
        worth = _column(by)
        self._worth = worth
        self._order = sorted(contenders, key=lambda each: (-worth(each), each.volunteer))
        self._keys = [-worth(each) for each in self._order]
        self._at = {each.volunteer: at for at, each in enumerate(self._order)}
        self._names = sorted((each.pseudonym.casefold(), at) for at, each in enumerate(self._order))

    def __len__(self) -> int:
        return len(self._order)

    def page(self, number: int = 1, size: int = PAGE) -> list[Place]:
        """Return a page, counted from 1."""
        return self._places((number - 1) * size, number * size)

    def around(self, who: int, each_side: int = NEIGHBOURS) -> list[Place]:
        """Return the volunteer with this id among the neighbours; nothing if they are not listed."""
        at = self._at.get(who)
        return [] if at is None else self._places(max(0, at - each_side), at + each_side + 1)

    def named(self, prefix: str, most: int = PAGE) -> list[Place]:
        """Return those whose names begin so, whatever the case, by name."""
        wanted = prefix.casefold()
        first = bisect_left(self._names, (wanted, 0))
        found = self._names[first : first + most]
        return [place for name, at in found if name.startswith(wanted) for place in self._places(at, at + 1)]

    def only(self, test: Callable[[Contender], bool], by: str = "amount_milli") -> Board:
        """Return the board of those who pass a test: a team's, a country's."""
        return Board(filter(test, self._order), by)

    def _places(self, first: int, end: int) -> list[Place]:
        return [
            Place(1 + bisect_left(self._keys, -self._worth(each)), each) for each in self._order[max(first, 0) : end]
        ]


def contenders(
    connection: Connection, horizon: Horizon, now: float, *, project: str | None = None
) -> Sequence[Contender]:
    """Return everybody who agreed to be listed and earned something over a time, in no order.

    With `project`, what they earned with its apps. The recent average is one for all projects: with `project`, or over
    a time, `score` says nothing of that, and for `recent` the amounts are those of 30 days.
    """
    apps = None if project is None else _apps(connection, project)
    if horizon is Horizon.DAY:
        earned = _last_day(now, apps)
    elif apps is None and horizon is not Horizon.MONTH:
        earned = select(credit_sum.c.volunteer_id, credit_sum.c.amount_milli, credit_sum.c.valid).subquery()
    else:
        earned = _days(0 if horizon is Horizon.ALL else int(now // DAY_S) - DAYS + 1, apps)
    query = (
        select(
            volunteer.c.id, volunteer.c.pseudonym, volunteer.c.team_id, volunteer.c.country, earned.c.amount_milli,
            earned.c.valid, credit_sum.c.score,
        )
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .join(earned, earned.c.volunteer_id == volunteer.c.id)
        .where(credit_sum.c.public, or_(earned.c.amount_milli > 0, earned.c.valid > 0))
    )  # fmt: skip
    return [Contender._make(row) for row in connection.execute(query).all()]


def _column(name: str) -> Callable[[Contender], float]:
    if name not in ("amount_milli", "valid", "score"):
        raise UsageError(f"a board is not ordered by {name!r}", hint="By amount_milli, valid or score.")
    return attrgetter(name)


def _apps(connection: Connection, project: str) -> list[int]:
    """Return the short ids of a project's app versions."""
    known: dict[str, int] = dict(connection.execute(select(credit_app.c.app, credit_app.c.id)).all())
    names = app_names(connection, set(known))
    return [known[app] for app, (of, _, _) in names.items() if of == project]


def _days(since: int, apps: list[int] | None) -> Subquery:
    """Sum the days from one on, of all apps or of some."""
    query = select(
        credit_daily.c.volunteer_id,
        cast(func.sum(credit_daily.c.amount_milli), BigInteger).label("amount_milli"),
        cast(func.sum(credit_daily.c.valid), BigInteger).label("valid"),
    ).where(credit_daily.c.day >= since)
    if apps is not None:
        query = query.where(credit_daily.c.app_id.in_(apps))
    return query.group_by(credit_daily.c.volunteer_id).subquery()


def _last_day(now: float, apps: list[int] | None) -> Subquery:
    """Sum the rows of the last 24 hours that are added up. They are in the newest three days of the ledger; what takes
    a grant back counts at the grant's time, as in the days."""
    newest = select(func.coalesce(func.max(ledger_span.c.number), 0) - 2).scalar_subquery()
    first = select(func.min(ledger_span.c.first_id)).where(ledger_span.c.number >= newest).scalar_subquery()
    taken = credit_entry.alias("taken")
    valid = case((credit_entry.c.kind == "grant", 1), (credit_entry.c.kind == "reversal", -1), else_=0)
    query = (
        select(
            credit_entry.c.volunteer_id,
            cast(func.sum(credit_entry.c.amount_milli), BigInteger).label("amount_milli"),
            cast(func.sum(valid), BigInteger).label("valid"),
        )
        .outerjoin(taken, taken.c.id == credit_entry.c.reverses)
        .where(
            credit_entry.c.id >= first,
            func.coalesce(taken.c.granted, credit_entry.c.granted) > now - DAY_S,
            credit_entry.c.house == false(),
            credit_entry.c.id.not_in(select(credit_unfolded.c.entry_id)),
        )
    )
    if apps is not None:
        query = query.join(credit_app, credit_app.c.app == credit_entry.c.app).where(credit_app.c.id.in_(apps))
    return query.group_by(credit_entry.c.volunteer_id).subquery()
