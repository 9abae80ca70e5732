"""A volunteer's line on a board, on whichever page it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from dsage_server.store.boards import Place
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.credit import recent_average
from dsage_server.store.schema import host, team
from dsage_server.web.slugs import slug_of


class TeamRef(msgspec.Struct, kw_only=True):
    """A team, and what stands for it in addresses."""

    number: int
    name: str
    slug: str


class Ranked(msgspec.Struct, kw_only=True):
    """A line; `credit` and `valid` are over the board's time, `recent` is in credits a day, `country` an ISO code."""

    rank: int
    pseudonym: str
    credit: float
    recent: float
    valid: int
    last_seen: float | None
    team: TeamRef | None
    country: str


def team_ref(number: int, name: str) -> TeamRef:
    """Return how pages refer to a team."""
    return TeamRef(number=number, name=name, slug=slug_of(number, name))


def refs(connection: Connection, wanted: Iterable[int]) -> dict[int, TeamRef]:
    """Return those of some teams that are there."""
    query = select(team.c.id, team.c.name).where(among_ids(team.c.id), team.c.gone.is_(None))
    rows: Sequence[Any] = connection.execute(query, {"ids": numbers(connection, wanted)}).all()
    return {row.id: team_ref(row.id, row.name) for row in rows}


def ranked(connection: Connection, places: Sequence[Place], now: float) -> list[Ranked]:
    """Return places as lines, with when the computers of each were seen last."""
    people = [place.who.volunteer for place in places]
    query = (
        select(host.c.volunteer_id, func.max(host.c.last_seen))
        .where(among_ids(host.c.volunteer_id))
        .group_by(host.c.volunteer_id)
    )
    seen: dict[int, float | None] = dict(connection.execute(query, {"ids": numbers(connection, people)}).all())
    teams = refs(connection, {place.who.team for place in places if place.who.team is not None})
    return [
        Ranked(
            rank=place.rank, pseudonym=place.who.pseudonym, credit=place.who.amount_milli / 1000,
            recent=recent_average(place.who.score, now), valid=place.who.valid,
            last_seen=seen.get(place.who.volunteer), team=teams.get(place.who.team or 0), country=place.who.country,
        )
        for place in places
    ]  # fmt: skip
