"""What everybody may see of teams: the board of teams, who of a team wants to be listed, and its weeks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Select, and_, cast, func, select

from dsage_server.store.schema import credit_sum, credit_team, credit_team_daily, team, volunteer
from dsage_server.store.teams import key_of

LIKE: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


def board(connection: Connection, by: str, search: str, most: int, skip: int) -> Sequence[Any]:
    """Return teams, those with most first: id, name, credit in thousandths, score, members. `by` is "score" or
    "amount_milli"; `search` is part of the name, "" for all."""
    members = select(func.count()).select_from(volunteer).where(volunteer.c.team_id == team.c.id).scalar_subquery()
    worth = func.coalesce(credit_team.c[by], 0)
    query = _wanted(
        select(
            team.c.id, team.c.name, func.coalesce(credit_team.c.amount_milli, 0).label("amount_milli"),
            func.coalesce(credit_team.c.score, 0.0).label("score"), members.label("members"),
        ),
        search,
    )  # fmt: skip
    return connection.execute(query.order_by(worth.desc(), team.c.id).limit(most).offset(skip)).all()


def count(connection: Connection, search: str) -> int:
    """Return how many teams there are with `search` in their name."""
    return int(connection.execute(_wanted(select(func.count(team.c.id)), search)).scalar_one())


def find(connection: Connection, number: int) -> Any:
    """Return a team that is there, or None: name, created, its leader (if listed), amount, score, valid answers."""
    founder = (
        select(volunteer.c.pseudonym)
        .join(credit_sum, and_(credit_sum.c.volunteer_id == volunteer.c.id, credit_sum.c.public))
        .where(volunteer.c.id == team.c.founder_id)
        .scalar_subquery()
    )
    query = (
        select(
            team.c.id, team.c.name, team.c.created, founder.label("founder"), credit_team.c.amount_milli,
            credit_team.c.score, credit_team.c.valid,
        )
        .outerjoin(credit_team, credit_team.c.team_id == team.c.id)
        .where(team.c.id == number, team.c.gone.is_(None))
    )  # fmt: skip
    return connection.execute(query).first()


def rank(connection: Connection, score: float) -> int:
    """Return the place of a team by what it gave lately."""
    ahead = (
        select(func.count(team.c.id))
        .join(credit_team, credit_team.c.team_id == team.c.id)
        .where(team.c.gone.is_(None), credit_team.c.score > score)
    )
    return 1 + int(connection.execute(ahead).scalar_one())


def members(connection: Connection, number: int) -> list[Any]:
    """Return what the members of a team who are listed, and the others, are together: public, people, and what they
    gave lately as a score."""
    query = (
        select(credit_sum.c.public, func.count().label("people"), func.sum(credit_sum.c.score).label("score"))
        .join(volunteer, volunteer.c.id == credit_sum.c.volunteer_id)
        .where(volunteer.c.team_id == number)
        .group_by(credit_sum.c.public)
    )
    return list(connection.execute(query).all())


def weeks(connection: Connection, number: int, first: int) -> dict[int, tuple[int, int]]:
    """Return thousandths of credit and valid answers by week (of its Monday, in days since 1970) from a day on: what
    was granted to those who were in the team then."""
    week = ((credit_team_daily.c.day + 3) // 7).label("week")
    query = (
        select(
            week,
            cast(func.sum(credit_team_daily.c.amount_milli), BigInteger),
            cast(func.sum(credit_team_daily.c.valid), BigInteger),
        )
        .where(credit_team_daily.c.team_id == number, credit_team_daily.c.day >= first)
        .group_by(week)
    )
    return {7 * number - 3: (amount, valid) for number, amount, valid in connection.execute(query)}


def _wanted(query: Select[Any], search: str) -> Select[Any]:
    query = query.select_from(team.outerjoin(credit_team, credit_team.c.team_id == team.c.id))
    query = query.where(team.c.gone.is_(None))
    part = key_of(search).translate(LIKE)
    return query.where(team.c.name_key.like(f"%{part}%", escape="\\")) if search else query
