"""What a volunteer has given, how that compares, and what it earned for good. Nobody else sees it."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from sqlalchemy import Connection, func, select

from dsage import wire
from dsage_server import badges
from dsage_server.store import earned, ledger, teams
from dsage_server.store.credit import recent_average
from dsage_server.store.schema import (
    credit_sum,
    host,
    people_sum,
    replica,
    unit,
    volunteer,
)
from dsage_server.store.views import LIVE_S
from dsage_server.web.page import Document
from dsage_server.web.personal.mine import Mine, Room, is_in
from dsage_server.web.public.made import Made, made_by


class Next(msgspec.Struct, kw_only=True):
    """The next badge of an app: `credit` of the `wanted` credits are earned."""

    title: str
    level: int
    credit: float
    wanted: int


class Me(Document, kw_only=True):
    """A volunteer's own account. `rank` is by recent average among the `ranked` who are listed; whoever is not `listed`
    would have it if they were. `pending` waits to be checked; `taken` was taken back and is not in `credit`."""

    schema: ClassVar[str] = "dsage.me/1"
    pseudonym: str
    created: float
    listed: bool
    named: bool
    rank: int
    ranked: int
    credit: float
    recent: float
    valid: int
    pending: float
    taken: float
    house: float
    team: wire.TeamView
    computers: int
    computers_here: int
    badges: list[wire.BadgeView]
    next: list[Next]
    streak: int
    longest: int
    free: int
    steady: int
    steady_of: int
    made: list[Made]


def me(connection: Connection, mine: Mine) -> Me:
    """Return the account as its owner sees it."""
    row = connection.execute(_ACCOUNT.where(volunteer.c.id == mine.number)).one()
    got = earned.badges_of(connection, mine.number, mine.now)
    taken, house = ledger.standing(connection, mine.number)
    above = select(func.count()).select_from(credit_sum).where(credit_sum.c.public, credit_sum.c.score > row.score)
    pending = (
        select(func.coalesce(func.sum(unit.c.credit_milli), 0))
        .join(replica, replica.c.unit_id == unit.c.id)
        .where(replica.c.volunteer_id == mine.number, is_in("reported"))
    )
    seen = select(host.c.last_seen).where(host.c.volunteer_id == mine.number, host.c.gone.is_(None))
    computers = connection.execute(seen).scalars().all()
    return Me(
        pseudonym=row.pseudonym, created=row.created, listed=row.listed, named=row.public,
        rank=1 + int(connection.execute(above).scalar_one()),
        ranked=int(connection.execute(_LISTED).scalar() or 0),
        credit=row.amount_milli / 1000, recent=recent_average(row.score, mine.now), valid=row.valid,
        pending=int(connection.execute(pending).scalar_one()) / 1000, taken=taken / 1000, house=house / 1000,
        team=teams.look(connection, mine.number, mine.now), computers=len(computers),
        computers_here=sum(at is not None and mine.now - at < LIVE_S for at in computers),
        badges=got.badges, next=_next(connection, mine.number), streak=got.streak, longest=got.longest,
        free=got.free, steady=got.steady, steady_of=got.steady_of,
        made=made_by(connection, mine.number, mine.now),
    )  # fmt: skip


def _next(connection: Connection, number: int) -> list[Next]:
    """Return the next badge of each app that the volunteer has credit of, the nearest first."""
    found = []
    for (_, _, title), amount in earned.by_app(connection, number).items():
        level = badges.level(amount)
        if level < len(badges.LEVELS):
            found.append(Next(title=title, level=level + 1, credit=max(amount, 0) / 1000, wanted=badges.LEVELS[level]))
    return sorted(found, key=lambda each: -each.credit / each.wanted)


_ACCOUNT = select(
    volunteer.c.pseudonym, volunteer.c.created, volunteer.c.public, credit_sum.c.public.label("listed"),
    credit_sum.c.amount_milli, credit_sum.c.score, credit_sum.c.valid,
).join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)  # fmt: skip
_LISTED = select(func.sum(people_sum.c.people)).where(people_sum.c.public)

ROOM = Room(template="me", route="/me", load=me, document=Me)
