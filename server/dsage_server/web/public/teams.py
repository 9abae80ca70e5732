"""Teams: their board, and a page for each."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage.errors import NotFound
from dsage_server import badges
from dsage_server.store import teams_shown, views
from dsage_server.store.boards import Narrow, Scope
from dsage_server.store.credit import recent_average
from dsage_server.web.page import NUMBERED, SEARCHED, Asked, Document, Page, choice
from dsage_server.web.public.lines import MOST_PAGES, PAGE_ROWS
from dsage_server.web.public.people import DAY_S, Bar, date_of
from dsage_server.web.public.ranks import Ranked, TeamRef, ranked, team_ref
from dsage_server.web.slugs import number_in

COLUMNS: Final = {"recent": "score", "credit": "amount_milli"}
WEEKS: Final = 26
MILESTONES: Final = tuple(figure * 10**zeros for zeros in range(2, 13) for figure in (1, 2, 5))
"""Credits that a team reaches together, one after the other."""


class TeamLine(msgspec.Struct, kw_only=True):
    """A team on the board: `recent` is in credits a day; `rank` is empty in a search."""

    rank: int | None
    team: TeamRef
    members: int
    credit: float
    recent: float


class Teams(Document, kw_only=True):
    """One page of the board of teams."""

    schema: ClassVar[str] = "dsage.teams/2"
    q: str
    sort: str
    page: int
    pages: int
    count: int
    teams: list[TeamLine]


class TeamPage(Document, kw_only=True):
    """A team: `credit` was granted to members while they were in it, and is a `share` of all credit here; `members` are
    those who are listed, by what they gave lately, `unlisted` are the others and `unlisted_recent` what they gave.

    `weeks` are of those who were members then, by the Monday (UTC); `goal` is the next of the milestones.
    """

    schema: ClassVar[str] = "dsage.team/1"
    team: TeamRef
    founder: str
    created: float
    rank: int
    credit: float
    recent: float
    valid: int
    share: float
    goal: int
    members: list[Ranked]
    listed: int
    unlisted: int
    unlisted_recent: float
    weeks: list[Bar]


def teams(connection: Connection, asked: Asked) -> Teams:
    """Return a page of the board; raises NotFound for one that there is not."""
    search, sort = asked.query["q"], asked.query["sort"]
    some = teams_shown.called(connection, search) if search else None
    count = teams_shown.count(connection) if some is None else len(some)
    pages = min(MOST_PAGES, max(1, -(-count // PAGE_ROWS)))
    if asked.page > pages:
        raise NotFound(f"the board of teams has no page {asked.page}", hint=f"It has {pages}.")
    skip = (asked.page - 1) * PAGE_ROWS
    found = teams_shown.board(connection, COLUMNS[sort], some, PAGE_ROWS, skip)
    lines = [
        TeamLine(
            rank=None if search else rank, team=team_ref(row.id, row.name), members=row.members,
            credit=row.amount_milli / 1000, recent=recent_average(row.score, asked.now),
        )
        for rank, row in enumerate(found, skip + 1)
    ]  # fmt: skip
    return Teams(q=search, sort=sort, page=asked.page, pages=pages, count=count, teams=lines)


def team(connection: Connection, asked: Asked) -> TeamPage:
    """Return the page of a team; raises NotFound for one that there is not, or not any more."""
    number = number_in(asked.path["slug"])
    row = teams_shown.find(connection, number)
    if row is None:
        raise NotFound(f"there is no team {number}")
    sums = {each.public: each for each in teams_shown.members(connection, number)}
    others, listed = sums.get(False), sums.get(True)
    members = asked.board(connection, Scope(), asked.now).only(Narrow(team=number))
    credit, score = (row.amount_milli or 0) / 1000, row.score or 0.0
    all_credit = sum(some.amount_milli for some in views.everybody(connection).values()) / 1000
    return TeamPage(
        team=team_ref(number, row.name), founder=row.founder or "", created=row.created,
        rank=teams_shown.rank(connection, score), credit=credit, recent=recent_average(score, asked.now),
        valid=row.valid or 0, share=min(1.0, credit / all_credit) if all_credit > 0 else 0.0,
        goal=next(milestone for milestone in MILESTONES if milestone > credit or milestone == MILESTONES[-1]),
        members=ranked(connection, members.page(1, PAGE_ROWS), asked.now),
        listed=listed.people if listed else 0, unlisted=others.people if others else 0,
        unlisted_recent=recent_average(others.score, asked.now) if others else 0.0,
        weeks=_weeks(connection, number, asked.now),
    )  # fmt: skip


def _weeks(connection: Connection, number: int, now: float) -> list[Bar]:
    this = badges.week_of(int(now // DAY_S))
    mondays = [7 * week - 3 for week in range(this - WEEKS + 1, this + 1)]
    found = teams_shown.weeks(connection, number, mondays[0])
    return [
        Bar(day=date_of(monday), credit=found.get(monday, (0, 0))[0] / 1000, valid=found.get(monday, (0, 0))[1])
        for monday in mondays
    ]


PAGES: Final = (
    Page(
        template="teams", route="/teams", load=teams, document=Teams, period_s=5.0,
        params={"q": SEARCHED, "sort": choice("recent", "credit"), "page": NUMBERED},
    ),
    Page(template="team", route=r"/team/{slug:\d[\w-]*}", load=team, document=TeamPage, period_s=10.0),
)  # fmt: skip
