"""What everybody may see of teams: the board of teams, who of a team wants to be listed, and its weeks."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, and_, cast, func, select

from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import credit_sum, credit_team, credit_team_daily, team, volunteer

STRUCK: Final = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})
"""Letters that Unicode takes for no others with something added, and people without them on the keyboard do."""


def board(connection: Connection, by: str, some: Sequence[int] | None, most: int, skip: int) -> Sequence[Any]:
    """Return teams, those with most first: id, name, credit in thousandths, score, members. `by` is "score" or
    "amount_milli"; `some` are the ids of those wanted, None for all."""
    members = select(func.count()).select_from(volunteer).where(volunteer.c.team_id == team.c.id).scalar_subquery()
    worth = func.coalesce(credit_team.c[by], 0)
    query = (
        select(
            team.c.id, team.c.name, func.coalesce(credit_team.c.amount_milli, 0).label("amount_milli"),
            func.coalesce(credit_team.c.score, 0.0).label("score"), members.label("members"),
        )
        .select_from(team.outerjoin(credit_team, credit_team.c.team_id == team.c.id))
        .where(team.c.gone.is_(None))
        .order_by(worth.desc(), team.c.id).limit(most).offset(skip)
    )  # fmt: skip
    if some is None:
        return connection.execute(query).all()
    return connection.execute(query.where(among_ids(team.c.id)), {"ids": numbers(connection, some)}).all()


def count(connection: Connection) -> int:
    """Return how many teams there are."""
    return int(connection.execute(select(func.count(team.c.id)).where(team.c.gone.is_(None))).scalar_one())


def called(connection: Connection, search: str) -> list[int]:
    """Return the ids of the teams with `search` in their name, whatever the case and the accents of either."""
    part = plain(search)
    rows = connection.execute(select(team.c.id, team.c.name_key).where(team.c.gone.is_(None)))
    return [number for number, name in rows if part in plain(name)]


def plain(name: str) -> str:
    """Return a name as it is typed on a keyboard without accents: "Grün" is "grun"."""
    if name.isascii():
        return name.lower()
    letters = unicodedata.normalize("NFKD", name.casefold().translate(STRUCK))
    return "".join(each for each in letters if not unicodedata.combining(each)).casefold()


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
