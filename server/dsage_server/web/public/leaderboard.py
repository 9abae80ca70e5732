"""The leaderboard, and the board that is not about speed."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection, select

from dsage.errors import NotFound
from dsage_server.badges import STEADY_WEEKS
from dsage_server.store import earned, views
from dsage_server.store.boards import Board, Device, Horizon, Narrow, Place, Scope
from dsage_server.store.credit import recent_average
from dsage_server.store.schema import credit_team, run, team
from dsage_server.web.page import NUMBERED, SEARCHED, Asked, Document, Page, Param, choice, whole
from dsage_server.web.public.lines import MOST_PAGES, PAGE_ROWS, Others
from dsage_server.web.public.ranks import Ranked, TeamRef, ranked, team_ref

COLUMNS: Final = {"recent": "score", "credit": "amount_milli", "valid": "valid"}
"""What a board can be ordered by, besides by name, and which of its columns that is."""
MOST_TEAMS: Final = 50
"""Teams to choose from: those that gave most lately."""


class AppRef(msgspec.Struct, kw_only=True):
    """An app of a project, whatever its version; its `name` is unlike that of any other app of any project."""

    name: str
    project: str
    title: str


class BoardPage(Document, kw_only=True):
    """One page of a leaderboard, as it was asked for: `people` are those on all of its pages.

    With `around` it shows that volunteer among the neighbours, with `q` whose names begin so. `credit` and `valid` of a
    line are over the `horizon`; of `recent` and `all` they are of all time, of `recent` with an `app` of 30 days.
    `app` is the name of a project or of one of its `apps`. `others` sums those who are not listed. What there is to
    choose from: `projects`, `apps`, `countries`, `teams`.
    """

    schema: ClassVar[str] = "dsage.leaderboard/2"
    horizon: str
    app: str
    country: str
    team: TeamRef | None
    device: str
    q: str
    sort: str
    around: str
    page: int
    pages: int
    people: int
    leaders: list[Ranked]
    others: Others | None
    projects: list[str]
    apps: list[AppRef]
    countries: list[str]
    teams: list[TeamRef]


class SteadyHand(msgspec.Struct, kw_only=True):
    """Somebody on the leaderboard, and in how many of the last whole weeks they had a valid answer."""

    pseudonym: str
    weeks: int


class SteadyHands(Document, kw_only=True):
    """Who gave steadily, however fast their computers are: counted once a day over `of_weeks` weeks, UTC."""

    schema: ClassVar[str] = "dsage.steady/1"
    of_weeks: int
    hands: list[SteadyHand]


def leaderboard(connection: Connection, asked: Asked) -> BoardPage:
    """Return one page of a leaderboard; raises NotFound for a page, an app or a team that there is not."""
    query = asked.query
    scope = Scope(Horizon(query["horizon"]), query["app"])
    projects = list(connection.execute(select(run.c.project).distinct().order_by(run.c.project)).scalars())
    apps = _apps(connection)
    if scope.app and scope.app not in [*projects, *[each.name for each in apps]]:
        raise NotFound(f"there is no project or app {scope.app[:80]!r} with a leaderboard")
    chosen, teams = _teams(connection, int(query["team"] or 0))
    everybody = asked.board(connection, scope, asked.now)
    wanted = Narrow(query["country"], int(query["team"] or 0), query["device"])
    board = everybody.only(wanted, COLUMNS.get(query["sort"], ""))
    found, pages = _found(board, asked)
    if asked.page > pages:
        raise NotFound(f"the leaderboard has no page {asked.page}", hint=f"It has {pages}.")
    summed = scope in (Scope(), Scope(Horizon.ALL)) and wanted == Narrow() and not (query["q"] or query["around"])
    return BoardPage(
        horizon=scope.horizon, app=scope.app, country=wanted.country, team=chosen, device=wanted.device,
        q=query["q"], sort=query["sort"] or next(name for name, column in COLUMNS.items() if column == scope.by),
        around=query["around"], page=asked.page, pages=pages, people=len(board),
        leaders=ranked(connection, found, asked.now), others=_others(connection, asked.now) if summed else None,
        projects=projects, apps=apps, countries=everybody.countries, teams=teams,
    )  # fmt: skip


def steady_hands(connection: Connection, asked: Asked) -> SteadyHands:
    """The board that is not about speed, from what was counted last."""
    found = earned.steady_board(connection, PAGE_ROWS)
    hands = [SteadyHand(pseudonym=name, weeks=weeks) for name, weeks in found]
    return SteadyHands(of_weeks=STEADY_WEEKS, hands=hands)


def _found(board: Board, asked: Asked) -> tuple[list[Place], int]:
    """Return who is shown, and how many pages there are."""
    query = asked.query
    if query["around"]:
        who = board.called(query["around"])
        return ([] if who is None else board.around(who)), 1
    if query["q"]:
        return board.named(query["q"], PAGE_ROWS), 1
    pages = min(MOST_PAGES, max(1, -(-len(board) // PAGE_ROWS)))
    rows = board.page_by_name if query["sort"] == "name" else board.page
    return rows(asked.page, PAGE_ROWS), pages


def _others(connection: Connection, now: float) -> Others | None:
    """Return those who are not listed, summed."""
    some = views.everybody(connection)[False]
    if not some.people:
        return None
    credit, recent = some.amount_milli / 1000, recent_average(some.score, now)
    return Others(people=some.people, credit=credit, recent=recent, valid=some.valid)


def _apps(connection: Connection) -> list[AppRef]:
    """Return the apps to choose from, by project and title."""
    known = sorted(earned.apps_known(connection), key=lambda app: (app[0], app[2].casefold(), app[1]))
    return [AppRef(name=f"{project}/{entry}", project=project, title=title) for project, entry, title in known]


def _teams(connection: Connection, wanted: int) -> tuple[TeamRef | None, list[TeamRef]]:
    """Return the team that is asked for, if one is, and those to choose from by name; raises NotFound."""
    query = (
        select(team.c.id, team.c.name)
        .join(credit_team, credit_team.c.team_id == team.c.id)
        .where(team.c.gone.is_(None))
        .order_by(credit_team.c.score.desc(), team.c.id)
        .limit(MOST_TEAMS)
    )
    found = {row.id: team_ref(row.id, row.name) for row in connection.execute(query)}
    if wanted and wanted not in found:
        name = connection.execute(select(team.c.name).where(team.c.id == wanted, team.c.gone.is_(None))).scalar()
        if name is None:
            raise NotFound(f"there is no team {wanted}")
        found[wanted] = team_ref(wanted, name)
    return found.get(wanted), sorted(found.values(), key=lambda each: each.name.casefold())


def _country(given: str) -> str:
    if given and not (len(given) == 2 and given.isascii() and given.isalpha() and given.isupper()):
        raise NotFound(f"there is no country {given[:10]!r}", hint="Countries have codes of two letters, such as NZ.")
    return given


LEADERBOARD: Final = Page(
    template="leaderboard", route="/leaderboard", load=leaderboard, document=BoardPage, live=True,
    params={
        "horizon": choice(Horizon.RECENT, *[each for each in Horizon if each is not Horizon.RECENT]),
        "app": SEARCHED, "country": Param("", _country), "team": Param("", lambda given: given and whole(given)),
        "device": choice("", *Device), "q": SEARCHED, "sort": choice("", *COLUMNS, "name"), "around": SEARCHED,
        "page": NUMBERED,
    },
)  # fmt: skip
PAGES: Final = (
    LEADERBOARD,
    Page(template="steady", route="/steady", load=steady_hands, document=SteadyHands, period_s=60.0),
)
