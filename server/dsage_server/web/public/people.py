"""The page of a volunteer who wants to be listed. Nobody else has one, and nothing tells them from nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage import account
from dsage.errors import NotFound
from dsage_server import badges
from dsage_server.store import earned, profiles
from dsage_server.store.boards import Place, Scope, device_of
from dsage_server.store.credit import recent_average
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.public.made import Made, made_by
from dsage_server.web.public.ranks import Ranked, TeamRef, ranked, refs

DAYS: Final = 60
MOST_FINDS: Final = 20
DAY_S: Final = 86400


class Bar(msgspec.Struct, kw_only=True):
    """A UTC day, or a week by its Monday, as a date, and what was earned then."""

    day: str
    credit: float
    valid: int


class Badge(msgspec.Struct, kw_only=True):
    """Something earned for good, on the UTC day `at`: `level` 1 to 10 of an app of a `project`, for so many `credits`
    of it; or an event, without a project, of that `name`."""

    name: str
    project: str
    entry: str
    title: str
    level: int
    credits: int
    at: float


class NextBadge(msgspec.Struct, kw_only=True):
    """The next badge of an app: `credit` is there of the `credits` that it takes."""

    project: str
    entry: str
    title: str
    level: int
    credits: int
    credit: float


class Find(msgspec.Struct, kw_only=True):
    """A published discovery that they found, or confirmed."""

    discovery: int
    title: str
    published: float
    found: bool


class Device(msgspec.Struct, kw_only=True):
    """One of their computers, by system and class, if they agreed to that."""

    platform: str
    size: str


class Profile(Document, kw_only=True):
    """A volunteer: `recent` is in credits a day, `rank` among `people` by that. `bars` are the last 60 days.

    Discoveries are named with their consent to that, devices and a country with theirs to those; empty otherwise.
    `streak` and `longest` count weeks with a valid answer (Monday to Sunday, UTC).
    """

    schema: ClassVar[str] = "dsage.profile/1"
    pseudonym: str
    since: float
    country: str
    team: TeamRef | None
    credit: float
    recent: float
    valid: int
    rank: int | None
    people: int
    bars: list[Bar]
    best: Bar | None
    streak: int
    longest: int
    badges: list[Badge]
    ahead: list[NextBadge]
    neighbours: list[Ranked]
    discoveries: list[Find]
    made: list[Made]
    devices: list[Device]


def profile(connection: Connection, asked: Asked) -> Profile:
    """Return the page of a volunteer; raises NotFound alike for who is not listed and who is not there."""
    row = profiles.find(connection, asked.path["name"])
    if row is None:
        raise NotFound("nobody of that name is listed here", hint="The leaderboard has those who want to be seen.")
    board = asked.board(connection, Scope(), asked.now)
    place = board.place(row.id)
    days = profiles.days(connection, row.id)
    won = earned.badges_of(connection, row.id, asked.now)
    return Profile(
        pseudonym=row.pseudonym, since=row.created, country=row.country,
        team=refs(connection, [row.team_id]).get(row.team_id) if row.team_id else None,
        credit=row.amount_milli / 1000, recent=recent_average(row.score, asked.now), valid=row.valid,
        rank=None if place is None else place.rank, people=len(board), bars=_bars(days, asked.now), best=_best(days),
        streak=won.streak, longest=won.longest, badges=[_badge(each) for each in won.badges],
        ahead=_ahead(earned.by_app(connection, row.id)),
        neighbours=_neighbours(connection, board.around(row.id), asked.now),
        discoveries=_finds(connection, row), made=made_by(connection, row.id, asked.now),
        devices=[
            Device(platform=each.platform, size=device_of(each.cores))
            for each in (profiles.devices(connection, row.id) if row.devices else [])
        ],
    )  # fmt: skip


def date_of(day: int) -> str:
    """Return the date of a UTC day since 1970."""
    return f"{datetime.fromtimestamp(day * DAY_S, UTC):%Y-%m-%d}"


def _bar(day: profiles.Day) -> Bar:
    return Bar(day=date_of(day.day), credit=day.amount_milli / 1000, valid=day.valid)


def _bars(days: list[profiles.Day], now: float) -> list[Bar]:
    today = int(now // DAY_S)
    known = {each.day: each for each in days}
    return [_bar(known.get(day, profiles.Day(day, 0, 0))) for day in range(today - DAYS + 1, today + 1)]


def _best(days: list[profiles.Day]) -> Bar | None:
    best = max(days, key=lambda each: each.amount_milli, default=None)
    return None if best is None or best.amount_milli <= 0 else _bar(best)


def _badge(view: account.BadgeView) -> Badge:
    project, _, entry = view.name.partition("/") if view.kind == earned.APP else ("", "", "")
    credits_ = badges.LEVELS[view.level - 1] if view.level else 0
    return Badge(
        name=view.name, project=project, entry=entry, title=view.title, level=view.level, credits=credits_, at=view.at
    )


def _ahead(by_app: dict[tuple[str, str, str], int]) -> list[NextBadge]:
    """Return the next badge of each app, those that are nearest first."""
    found = [
        NextBadge(
            project=project, entry=entry, title=title, level=level + 1, credits=badges.LEVELS[level],
            credit=amount / 1000,
        )
        for (project, entry, title), amount in by_app.items()
        if amount > 0 and (level := badges.level(amount)) < len(badges.LEVELS)
    ]  # fmt: skip
    return sorted(found, key=lambda each: -each.credit / each.credits)


def _neighbours(connection: Connection, places: list[Place], now: float) -> list[Ranked]:
    return ranked(connection, places, now) if len(places) > 1 else []


def _finds(connection: Connection, row: Any) -> list[Find]:
    if not row.public:
        return []
    return [
        Find(
            discovery=each.id, title=each.title, published=each.published,
            found=msgspec.json.decode(each.people, type=list[int])[0] == row.id,
        )
        for each in profiles.finds(connection, row.id, MOST_FINDS)
    ]  # fmt: skip


PAGES: Final = (Page(template="profile", route=r"/u/{name:[\w-]+}", load=profile, document=Profile, period_s=5.0),)
