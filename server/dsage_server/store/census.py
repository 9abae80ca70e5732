"""Which computers there are, and from which countries: counted once an hour, with nobody in a group of fewer than five.

Whoever is in no group is counted with the others of the table, and those who told no country in a row of their own, so
that each table adds up to everybody. What is kept holds nothing that could be told apart further.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, case, func, select

from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import credit_host, credit_sum, host, volunteer

FLOOR: Final = 5
"""People in a group, at least."""
HERE_S: Final = 30 * 86400.0
"""Computers that were here within this time are counted."""
CORES: Final = (2, 4, 8, 16, 32, 64)
"""The groups of processors: up to so many cores, and more."""
KEPT: Final = "census"
OTHERS: Final = "*"
"""The name of the row that has all who are in no group."""


class Group(msgspec.Struct, kw_only=True):
    """A row: how many people and computers, and what they have earned: in thousandths, and as a score of the recent."""

    name: str
    people: int = 0
    hosts: int = 0
    amount_milli: int = 0
    valid: int = 0
    score: float = 0.0


class Census(msgspec.Struct, kw_only=True):
    """What was counted, and when (Unix seconds). `cores` are named by the most of each group; 0: more than that."""

    at: float = 0.0
    platforms: list[Group] = []
    cores: list[Group] = []
    clients: list[Group] = []
    countries: list[Group] = []


def count(connection: Connection, now: float) -> Census:
    """Count; walks all computers and all volunteers."""
    here = host.c.last_seen > now - HERE_S
    size = case(*[(host.c.cores <= most, str(most)) for most in CORES], else_="0")
    return Census(
        at=now, platforms=_hosts(connection, host.c.platform, here), cores=_hosts(connection, size, here),
        clients=_hosts(connection, host.c.client, here), countries=_countries(connection),
    )  # fmt: skip


def keep(connection: Connection, found: Census) -> None:
    """Remember what was counted, until it is counted again."""
    remember(connection, KEPT, msgspec.json.encode(found).decode())


def kept(connection: Connection) -> Census:
    """Return what was counted last; an empty census if nothing was."""
    return msgspec.json.decode(recall(connection, KEPT) or "{}", type=Census)


def _hosts(connection: Connection, name: Any, here: Any) -> list[Group]:
    rows = connection.execute(
        select(
            name.label("name"), func.count(func.distinct(host.c.volunteer_id)).label("people"),
            func.count().label("hosts"), *_sums(credit_host),
        )
        .outerjoin(credit_host, credit_host.c.host_id == host.c.id)
        .where(here, host.c.gone.is_(None))
        .group_by(name)
    )  # fmt: skip
    return _floored(_group(row) for row in rows)


def _countries(connection: Connection) -> list[Group]:
    rows = connection.execute(
        select(volunteer.c.country.label("name"), func.count().label("people"), *_sums(credit_sum))
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)
        .where(volunteer.c.gone.is_(None))
        .group_by(volunteer.c.country)
    )
    found = [_group(row) for row in rows]
    told = _floored(group for group in found if group.name)
    return told + [group for group in found if not group.name]


def _sums(table: Any) -> list[Any]:
    return [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in ("amount_milli", "valid", "score")]


def _group(row: Any) -> Group:
    return Group(
        name=row.name, people=row.people, hosts=getattr(row, "hosts", 0), amount_milli=int(row.amount_milli),
        valid=int(row.valid), score=float(row.score),
    )  # fmt: skip


def _floored(groups: Iterable[Group]) -> list[Group]:
    """Return groups, the largest first, and those that are too small as one; if that one is too small, the smallest
    group that is not goes with it."""
    ordered = sorted(groups, key=lambda group: (-group.people, group.name))
    shown = [group for group in ordered if group.people >= FLOOR]
    small = [group for group in ordered if group.people < FLOOR]
    while small and shown and sum(group.people for group in small) < FLOOR:
        small.append(shown.pop())
    if not small:
        return shown
    rest = Group(name=OTHERS)
    for group in small:
        for name in ("people", "hosts", "amount_milli", "valid", "score"):
            setattr(rest, name, getattr(rest, name) + getattr(group, name))
    return [*shown, rest]
