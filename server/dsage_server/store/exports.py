"""What statistics sites get, row by row: of people who consented, their teams and computers; of all, the sums.

Nothing of a person is here but by that consent: neither the leaderboard's nor that of discoveries gives it. A team is
here while a member is. Credit is in credits; `recent` in credits a day.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, func, select
from sqlalchemy.orm import aliased

from dsage_server.store import daybook
from dsage_server.store.credit import recent_average
from dsage_server.store.schema import (
    credit_host,
    credit_sum,
    credit_team,
    host,
    people_sum,
    team,
    volunteer,
)

KEPT_S: Final = 60 * 86400.0
"""How long it is said whom to forget."""
FETCHED: Final = 2000
_PLATFORM: Final = re.compile(r"[a-z0-9_]{1,20}-[A-Za-z0-9_]{1,20}")


class Person(msgspec.Struct, kw_only=True):
    """A volunteer; `cpid` is what statistics sites know them by: of this server alone, so it joins no two accounts."""

    id: int
    name: str
    created: int
    team: int | None
    credit: float
    recent: float
    valid: int
    cpid: str


class Computer(msgspec.Struct, kw_only=True):
    """A computer of such a person, without its name."""

    id: int
    user: int
    created: int
    platform: str
    cores: int
    credit: float
    recent: float
    valid: int


class Team(msgspec.Struct, kw_only=True):
    """A team; its founder is named if they are here themselves."""

    id: int
    name: str
    founder: int | None
    founder_name: str
    members: int
    created: int
    credit: float
    recent: float
    valid: int


class Gone(msgspec.Struct, kw_only=True):
    """Somebody who was in these files and is not any more: every site is to forget them."""

    id: int
    cpid: str
    withdrawn: int


class Sums(msgspec.Struct, kw_only=True):
    """Everybody, with and without consent; and the newest closed day of the ledger, whose hash vouches for the rest."""

    users: int
    users_here: int
    hosts: int
    teams: int
    credit: float
    recent: float
    valid: int
    ledger_number: int
    ledger_day: str
    ledger_hash: str


def people(connection: Connection, server_id: str, now: float) -> Iterator[Person]:
    """Yield those who are in the files, by number."""
    query = (
        select(volunteer, credit_sum.c.amount_milli, credit_sum.c.score, credit_sum.c.valid)
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .where(volunteer.c.exported, volunteer.c.gone.is_(None))
        .order_by(volunteer.c.id)
    )
    for row in _rows(connection, query):
        yield Person(
            id=row.id, name=row.pseudonym, created=int(row.created), team=row.team_id, cpid=cpid(server_id, row.id),
            **_earned(row, now),
        )  # fmt: skip


def computers(connection: Connection, now: float) -> Iterator[Computer]:
    """Yield their computers that have not left, by number."""
    query = (
        select(host, credit_host.c.amount_milli, credit_host.c.score, credit_host.c.valid)
        .join(volunteer, volunteer.c.id == host.c.volunteer_id)
        .outerjoin(credit_host, credit_host.c.host_id == host.c.id)
        .where(volunteer.c.exported, volunteer.c.gone.is_(None), host.c.gone.is_(None))
        .order_by(host.c.id)
    )
    for row in _rows(connection, query):
        yield Computer(
            id=row.id, user=row.volunteer_id, created=int(row.created), cores=row.cores,
            platform=row.platform if _PLATFORM.fullmatch(row.platform) else "", **_earned(row, now),
        )  # fmt: skip


def teams(connection: Connection, now: float) -> Iterator[Team]:
    """Yield the teams that have a member among them, by number."""
    members = select(func.count()).select_from(volunteer).where(volunteer.c.team_id == team.c.id)
    founder = aliased(volunteer, name="founder")
    query = (
        select(
            team.c.id, team.c.name, team.c.created, founder.c.id.label("founder"), founder.c.pseudonym,
            members.scalar_subquery().label("members"), credit_team.c.amount_milli, credit_team.c.score,
            credit_team.c.valid,
        )
        .outerjoin(founder, (founder.c.id == team.c.founder_id) & founder.c.exported)
        .outerjoin(credit_team, credit_team.c.team_id == team.c.id)
        .where(team.c.gone.is_(None), team.c.id.in_(select(volunteer.c.team_id).where(volunteer.c.exported)))
        .order_by(team.c.id)
    )  # fmt: skip
    for row in _rows(connection, query):
        yield Team(
            id=row.id, name=row.name, founder=row.founder, founder_name=row.pseudonym or "", members=row.members,
            created=int(row.created), **_earned(row, now),
        )  # fmt: skip


def gone(connection: Connection, server_id: str, now: float) -> Iterator[Gone]:
    """Yield who withdrew their consent, or had themselves erased, within KEPT_S: the number and nothing else."""
    query = (
        select(volunteer.c.id, volunteer.c.withdrawn)
        .where(volunteer.c.withdrawn > now - KEPT_S, ~volunteer.c.exported)
        .order_by(volunteer.c.id)
    )
    for row in _rows(connection, query):
        yield Gone(id=row.id, cpid=cpid(server_id, row.id), withdrawn=int(row.withdrawn))


def sums(connection: Connection, now: float) -> Sums:
    """Return the sums of everybody."""
    all_ = connection.execute(
        select(*[func.sum(people_sum.c[name]).label(name) for name in ("people", "amount_milli", "valid", "score")])
    ).one()
    newest = daybook.days(connection, 1)

    def counted(*conditions: Any) -> int:
        return int(connection.execute(select(func.count()).where(*conditions)).scalar_one())

    return Sums(
        users=int(all_.people or 0), users_here=counted(volunteer.c.exported, volunteer.c.gone.is_(None)),
        hosts=counted(host.c.gone.is_(None)), teams=counted(team.c.gone.is_(None)), **_earned(all_, now),
        ledger_number=newest[0].number if newest else 0, ledger_hash=newest[0].hash if newest else "",
        ledger_day=daybook.date_of(newest[0].day).isoformat() if newest else "",
    )  # fmt: skip


def cpid(server_id: str, number: int) -> str:
    """Return 32 hexadecimal digits that statistics sites know a volunteer by."""
    return hashlib.sha256(f"dsage-cpid {server_id} {number}".encode()).hexdigest()[:32]


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    yield from connection.execute(query.execution_options(yield_per=FETCHED))


def _earned(row: Any, now: float) -> dict[str, Any]:
    return {
        "credit": int(row.amount_milli or 0) / 1000, "recent": round(recent_average(row.score or 0.0, now), 6),
        "valid": int(row.valid or 0),
    }  # fmt: skip
