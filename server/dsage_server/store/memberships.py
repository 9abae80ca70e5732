"""Who is in which team, and who was when.

Who is in one now is looked up once in every commit that grants credit; who came and went is for a team's members.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import credit_sum, membership, team, volunteer


class Move(NamedTuple):
    """Somebody "founded", "joined" or "left" a team at a time; `name` is "" for who is not listed, or is `gone`."""

    at: float
    what: str
    volunteer: int
    name: str
    gone: bool


def teams_of(connection: Connection, volunteers: Iterable[int]) -> dict[int, int]:
    """Return the teams of those of these volunteers who are in one."""
    return dict(connection.execute(_OF, {"ids": numbers(connection, volunteers)}).all())


def moves(connection: Connection, number: int, most: int) -> list[Move]:
    """Return who came into a team and who left it, the last first."""
    came = connection.execute(_WHO.where(membership.c.team_id == number).order_by(membership.c.id.desc()).limit(most))
    found = [_move(row, row.since, "founded" if row.founded else "joined") for row in came]
    went = _WHO.where(membership.c.team_id == number, membership.c.until.is_not(None))
    rows = connection.execute(went.order_by(membership.c.until.desc()).limit(most))
    found += [_move(row, row.until, "left") for row in rows]
    return sorted(found, key=lambda move: (-move.at, move.what != "left"))[:most]


def of_volunteer(connection: Connection, number: int) -> Sequence[Any]:
    """Return the teams that a volunteer was in, the last first: team, name, gone, since, until, founded."""
    query = (
        select(
            membership.c.team_id.label("team"), team.c.name, team.c.gone, membership.c.since, membership.c.until,
            membership.c.founded,
        )
        .join(team, team.c.id == membership.c.team_id)
        .where(membership.c.volunteer_id == number)
    )  # fmt: skip
    return connection.execute(query.order_by(membership.c.id.desc())).all()


def _move(row: Any, at: float, what: str) -> Move:
    return Move(at, what, row.id, row.pseudonym if row.public and row.gone is None else "", row.gone is not None)


_WHO = (
    select(
        membership.c.since, membership.c.until, membership.c.founded, volunteer.c.id, volunteer.c.pseudonym,
        volunteer.c.gone, credit_sum.c.public,
    )
    .join(volunteer, volunteer.c.id == membership.c.volunteer_id)
    .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
)  # fmt: skip
_OF = select(volunteer.c.id, volunteer.c.team_id).where(among_ids(volunteer.c.id), volunteer.c.team_id.is_not(None))
