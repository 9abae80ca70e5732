"""What the page of a volunteer shows who wants to be listed: their days, what they found, what their computers made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Connection, cast, func, literal_column, or_, select

from dsage.states import UnitState
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.over import over
from dsage_server.store.schema import (
    credit_daily,
    credit_sum,
    discovery,
    host,
    known,
    replica,
    run,
    unit,
    volunteer,
)

MOST_HOSTS: Final = 20
"""Computers that are looked at: those seen last."""
OF_HOST: Final = 24
"""The newest valid copies of each that are looked at."""


class Day(NamedTuple):
    """A UTC day (since 1970) on which somebody earned credit, in thousandths, by so many valid answers."""

    day: int
    amount_milli: int
    valid: int


def find(connection: Connection, name: str) -> Any:
    """Return a volunteer who wants to be listed, with what they have earned; None for everybody else."""
    query = (
        select(
            volunteer.c.id, volunteer.c.pseudonym, volunteer.c.created, volunteer.c.country, volunteer.c.devices,
            volunteer.c.public, volunteer.c.team_id, credit_sum.c.amount_milli, credit_sum.c.valid, credit_sum.c.score,
        )
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .where(volunteer.c.pseudonym == name, volunteer.c.gone.is_(None), credit_sum.c.public)
    )  # fmt: skip
    return connection.execute(query).first()


def days(connection: Connection, number: int) -> list[Day]:
    """Return the days of a volunteer that have any, in order."""
    query = (
        select(
            credit_daily.c.day,
            cast(func.sum(credit_daily.c.amount_milli), BigInteger),
            cast(func.sum(credit_daily.c.valid), BigInteger),
        )
        .where(credit_daily.c.volunteer_id == number)
        .group_by(credit_daily.c.day)
        .order_by(credit_daily.c.day)
    )
    return [Day._make(row) for row in connection.execute(query).all()]


def finds(connection: Connection, number: int, most: int) -> Sequence[Any]:
    """Return the published discoveries that a volunteer found or confirmed, the newest first: id, title, published, and
    the people, the finder first, as JSON. Whether they may be named is for the caller to know."""
    people = discovery.c.people
    held = or_(
        people == f"[{number}]", people.startswith(f"[{number},"), people.endswith(f",{number}]"),
        people.contains(f",{number},"),
    )  # fmt: skip
    query = select(discovery.c.id, discovery.c.title, discovery.c.published, people).where(
        discovery.c.published.is_not(None), discovery.c.state == "published", discovery.c.step.is_not(None), held
    )
    return connection.execute(query.order_by(discovery.c.published.desc()).limit(most)).all()


def made(connection: Connection, number: int, now: float, most: int) -> list[Any]:
    """Return accepted units that a volunteer's computers had a valid answer to, the newest first: unit, run, title,
    project, reported. Only such as are over for everybody, and none whose answer was known before."""
    copies: list[Any] = []
    mine = select(host.c.id).where(host.c.volunteer_id == number).order_by(host.c.last_seen.desc()).limit(MOST_HOSTS)
    for each in connection.execute(mine).scalars().all():
        newest = (
            select(replica.c.id, replica.c.unit_id, replica.c.reported)
            .where(replica.c.host_id == each, replica.c.state == literal_column("'valid'"))
            .order_by(replica.c.id.desc())
            .limit(OF_HOST)
        )
        copies += connection.execute(newest).all()
    wanted = {"ids": numbers(connection, {copy.unit_id for copy in copies})}
    disguised = select(known.c.replica_id).where(among_ids(known.c.unit_id), known.c.replica_id.is_not(None))
    secret = set(connection.execute(disguised, wanted).scalars())
    copies = [copy for copy in copies if copy.id not in secret]
    told = over(connection, {copy.unit_id for copy in copies}, now)
    query = (
        select(unit.c.id, unit.c.state, unit.c.run_id, run.c.title, run.c.project)
        .join(run, run.c.id == unit.c.run_id)
        .where(among_ids(unit.c.id))
    )
    rows = connection.execute(query, {"ids": numbers(connection, told)}).all()
    units = {row.id: row for row in rows if row.state == UnitState.VALID}
    seen = sorted((copy for copy in copies if copy.unit_id in units), key=lambda c: -c.id)
    return [(units[copy.unit_id], copy.reported) for copy in seen[:most]]


def devices(connection: Connection, number: int) -> Sequence[Any]:
    """Return the systems and cores of a volunteer's computers, the largest first. Whether they may be seen is for the
    caller to know."""
    query = select(host.c.platform, host.c.cores).where(host.c.volunteer_id == number, host.c.gone.is_(None))
    return connection.execute(query.order_by(host.c.cores.desc(), host.c.id).limit(MOST_HOSTS)).all()
