"""Leaderboards: who of those who agreed to be listed earned how much, over which time, and where somebody stands.

One query reads everybody (`contenders`), off the hot loop and now and then; the answers to all that visitors ask, a
page, a name, a place among neighbours, come from what was read (`Board`) and cost no query. What was earned with an
app, or in 30 days, is counted from the sums by day; what was in the last 24 hours, from the ledger's own rows.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, FromClause, Subquery, case, cast, false, func, or_, select

from dsage.errors import UsageError
from dsage_server.store.earned import apps_known
from dsage_server.store.schema import (
    credit_app,
    credit_daily,
    credit_entry,
    credit_sum,
    credit_unfolded,
    host,
    ledger_span,
    volunteer,
)

DAY_S: Final = 86400
PAGE: Final = 100
NEIGHBOURS: Final = 5
DAYS: Final = 30
MOST_NARROWED: Final = 32
"""Boards of some of a board's people that are kept with it."""


class Horizon(enum.StrEnum):
    """The time over which credit counts; `recent` is the average with a half-life of a week."""

    DAY = "24h"
    RECENT = "recent"
    MONTH = "30d"
    ALL = "all"


class Device(enum.StrEnum):
    """The class of a volunteer's largest computer, by its cores."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


SMALL_CORES: Final = 4
MEDIUM_CORES: Final = 16
"""The most cores of a small and of a medium computer."""

PERIOD_S: Final = {Horizon.DAY: 60.0, Horizon.RECENT: 15.0, Horizon.MONTH: 600.0, Horizon.ALL: 15.0}
"""How old a board may get before it is read again: what costs more to count is counted less often."""


class Contender(NamedTuple):
    """A listed volunteer with what they earned: thousandths of a credit, and valid answers, over the board's time; and
    the stored score, which `credit.recent_average` makes credits a day. `country` is "" for who told none, `cores` are
    those of the largest computer, and 0 for who did not agree that computers are seen."""

    volunteer: int
    pseudonym: str
    team: int | None
    country: str
    amount_milli: int
    valid: int
    score: float
    cores: int = 0


class Scope(NamedTuple):
    """What a board counts: credit over a time, with all apps (""), those of a project ("factor") or one of them
    ("factor/curves:Curves")."""

    horizon: Horizon = Horizon.RECENT
    app: str = ""

    @property
    def by(self) -> str:
        """The column that orders such a board."""
        return "score" if self == Scope() else "amount_milli"


class Narrow(NamedTuple):
    """Who is wanted of a board: those of a country, of a team, with a class of computers; everybody by default."""

    country: str = ""
    team: int = 0
    device: str = ""

    def holds(self, each: Contender) -> bool:
        """Whether a contender is wanted."""
        return (
            (not self.country or each.country == self.country)
            and (not self.team or each.team == self.team)
            and (not self.device or (each.cores > 0 and device_of(each.cores) == self.device))
        )


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
        self.by = by
        self._worth = worth
        self._order = sorted(contenders, key=lambda each: (-worth(each), each.volunteer))
        self._keys = [-worth(each) for each in self._order]
        self._narrowed: dict[tuple[Narrow, str], Board] = {}

    def __len__(self) -> int:
        return len(self._order)

    def page(self, number: int = 1, size: int = PAGE) -> list[Place]:
        """Return a page, counted from 1."""
        return self._places((number - 1) * size, number * size)

    def page_by_name(self, number: int = 1, size: int = PAGE) -> list[Place]:
        """Return a page of everybody by name."""
        return [self._place(at) for _, at in self._names[(number - 1) * size : number * size]]

    def around(self, who: int, each_side: int = NEIGHBOURS) -> list[Place]:
        """Return the volunteer with this id among the neighbours; nothing if they are not listed."""
        at = self._at.get(who)
        return [] if at is None else self._places(max(0, at - each_side), at + each_side + 1)

    def place(self, who: int) -> Place | None:
        """Return where the volunteer with this id stands."""
        at = self._at.get(who)
        return None if at is None else self._place(at)

    def called(self, name: str) -> int | None:
        """Return the id of who is called so, letter for letter."""
        wanted = name.casefold()
        for known, at in self._names[bisect_left(self._names, (wanted, 0)) :]:
            if known != wanted:
                return None
            if self._order[at].pseudonym == name:
                return self._order[at].volunteer
        return None

    def named(self, prefix: str, most: int = PAGE) -> list[Place]:
        """Return those whose names begin so, whatever the case, by name."""
        wanted = prefix.casefold()
        first = bisect_left(self._names, (wanted, 0))
        found = self._names[first : first + most]
        return [self._place(at) for name, at in found if name.startswith(wanted)]

    def only(self, wanted: Narrow, by: str = "") -> Board:
        """Return the board of some, a team's, a country's, in the order of a column; one that was made is kept."""
        key = wanted, by or self.by
        if key == (Narrow(), self.by):
            return self
        if key not in self._narrowed:
            if len(self._narrowed) >= MOST_NARROWED:
                self._narrowed.clear()
            order = self._order if wanted == Narrow() else filter(wanted.holds, self._order)
            self._narrowed[key] = Board(order, key[1])
        return self._narrowed[key]

    def prepare(self) -> Board:
        """Make at once what else is made when it is first asked for."""
        for index in (self._at, self._names, self.countries):
            len(index)
        return self

    @cached_property
    def countries(self) -> list[str]:
        """The countries that those on the board told."""
        return sorted({each.country for each in self._order} - {""})

    @cached_property
    def _at(self) -> dict[int, int]:
        return {each.volunteer: at for at, each in enumerate(self._order)}

    @cached_property
    def _names(self) -> list[tuple[str, int]]:
        return sorted((each.pseudonym.casefold(), at) for at, each in enumerate(self._order))

    def _place(self, at: int) -> Place:
        each = self._order[at]
        return Place(1 + bisect_left(self._keys, -self._worth(each)), each)

    def _places(self, first: int, end: int) -> list[Place]:
        return [self._place(at) for at in range(max(first, 0), min(end, len(self._order)))]


def device_of(cores: int) -> Device:
    """Return the class of a computer with so many cores."""
    return Device.SMALL if cores <= SMALL_CORES else Device.MEDIUM if cores <= MEDIUM_CORES else Device.LARGE


def made(connection: Connection, scope: Scope, now: float) -> Board:
    """Read the board of a scope."""
    return Board(contenders(connection, scope.horizon, now, app=scope.app), scope.by)


def contenders(connection: Connection, horizon: Horizon, now: float, *, app: str = "") -> Sequence[Contender]:
    """Return those who agreed to be listed, in no order; over a time, or with an app, who earned something then.

    With `app` (as of a Scope), what they earned with it. The recent average is one for all apps: with `app`, or over a
    time, `score` says nothing of that, and for `recent` the amounts are those of 30 days.
    """
    apps = _versions(connection, app) if app else None
    query = (
        select(volunteer.c.id, volunteer.c.pseudonym, volunteer.c.team_id, volunteer.c.country)
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .where(credit_sum.c.public)
    )
    earned: FromClause = credit_sum
    if apps is not None or horizon in (Horizon.DAY, Horizon.MONTH):
        since = 0 if horizon is Horizon.ALL else int(now // DAY_S) - DAYS + 1
        earned = _last_day(now, apps) if horizon is Horizon.DAY else _days(since, apps)
        something = or_(earned.c.amount_milli > 0, earned.c.valid > 0)
        query = query.join(earned, earned.c.volunteer_id == volunteer.c.id).where(something)
    query = query.add_columns(earned.c.amount_milli, earned.c.valid, credit_sum.c.score, _LARGEST)
    return [Contender._make(row) for row in connection.execute(query).all()]


def _column(name: str) -> Callable[[Contender], float]:
    if name not in ("amount_milli", "valid", "score"):
        raise UsageError(f"a board is not ordered by {name!r}", hint="By amount_milli, valid or score.")
    return attrgetter(name)


def _versions(connection: Connection, app: str) -> list[int]:
    """Return the short ids of the versions of an app, or of all apps of a project."""
    known = apps_known(connection).items()
    return [each for (project, entry, _), ids in known if app in (project, f"{project}/{entry}") for each in ids]


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


_OF_THEIRS: Final = select(func.max(host.c.cores)).where(host.c.volunteer_id == volunteer.c.id, host.c.gone.is_(None))
_LARGEST: Final = case((volunteer.c.devices, func.coalesce(_OF_THEIRS.scalar_subquery(), 0)), else_=0)
"""Cores of the largest computer of who agreed that computers are seen."""
