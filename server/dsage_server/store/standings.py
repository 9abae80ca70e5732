"""How hosts stand, in the tables: read when a copy is leased, written in the commit in which a unit says something.

A proven lie marks its host as due in the same commit; `dsage_server.looking_back` then looks at everything that was
accepted on its word, also after a kill.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, bindparam, case, func, select, union_all, update

from dsage_server.store import outliers
from dsage_server.store.bulk import among_ids, numbers, put_rows
from dsage_server.store.meta import secret
from dsage_server.store.schema import among, people_sum, replica, standing
from dsage_server.store.schema import host as host_table
from dsage_validator.issuing import first_copy
from dsage_validator.reputation import Evidence, Kind, Standing, drawn, evidence, weighed
from dsage_validator.unit import Trust, Unit

KEY: Final = "draw_key"
"""Under which name the key is remembered that draws which units are checked."""

ENOUGH: Final = 10
"""Volunteers that a server must have before anybody's word is taken alone: fewer are too few to judge each other, and
three computers with a liar among them would wait for a fourth for ever."""

_ALWAYS: Final = (Kind.LIED, Kind.CLEARED, Kind.DECIDED)
"""What is said of hosts whatever the unit."""

Known = dict[int, dict[str, Standing]]


def of(connection: Connection, hosts: Iterable[int], *, lock: bool = False) -> Known:
    """Return how hosts stand, by host and app version; locked, if they are to be written."""
    found: Known = {}
    query = _LOCKED if lock else _OF
    for host, app, passed, lies, at, audit in connection.execute(query, {"ids": numbers(connection, hosts)}):
        found.setdefault(host, {})[app] = Standing(passed=passed, lies=lies, at=at, audit=audit)
    return found


def trust(connection: Connection, known: dict[str, Standing], app: str, unit: Unit, now: float) -> Trust:
    """Return how far a host is trusted with the next copy of a unit, given how it stands with each app version."""
    if distrusted(known, now):
        return Trust.LOST
    if app not in known:
        return Trust.NEW
    found = known[app].trust(drawn(secret(connection, KEY), unit.id), now)
    return found if first_copy(unit) else min(found, Trust.KNOWN)


def distrusted(known: dict[str, Standing], now: float) -> bool:
    """Whether a host was found lying with any app version, and has not made up for that."""
    return any(each.distrusted(now) for each in known.values())


def says(was: Unit, unit: Unit) -> list[Evidence]:
    """Return what the change of a unit says of hosts; checks passed count where trust is asked for."""
    if unit.replicas == was.replicas:
        return []
    return [each for each in evidence(was, unit) if unit.adaptive or each.kind in _ALWAYS]


def note(connection: Connection, said: list[tuple[str, Evidence]], now: float) -> None:
    """Write down what was said of hosts, each with the app version that it was said about.

    Where the answers of honest computers differ nobody is convicted: what would be a lie there is a doubt.
    """
    held = outliers.held(connection) if any(each.kind is Kind.LIED for _, each in said) else set()
    known = of(connection, {each.host for _, each in said}, lock=True)
    turned: set[tuple[int, str]] = set()
    for app, each in said:
        apps = known.setdefault(each.host, {})
        kind = Kind.DOUBTED if each.kind is Kind.LIED and app in held else each.kind
        apps[app] = weighed(apps.get(app, Standing()), kind, now)
        if kind in (Kind.LIED, Kind.CLEARED) or (kind is Kind.DECIDED and not any(a.lies for a in apps.values())):
            turned.add((each.host, app))
    rows = [
        (host, app, each.passed, each.lies, each.at)
        for host, app, each in sorted((host, app, known[host][app]) for host, app in {(e.host, a) for a, e in said})
    ]
    put_rows(connection, standing, ("host_id", "app", "passed", "lies", "at"), rows, keys=("host_id", "app"))
    if turned:
        connection.execute(_DUE, [{"b_host": host, "b_app": app, "b_now": now} for host, app in sorted(turned)])


def undecided(connection: Connection, hosts: Iterable[int]) -> dict[int, int]:
    """Return how many copies each of some hosts has out, or has answered without being told whether it was right."""
    found = dict.fromkeys(hosts, 0)
    if found:
        found |= dict(connection.execute(_OUT, {"ids": numbers(connection, found)}).all())
    return found


def enough(connection: Connection) -> bool:
    """Whether there are enough volunteers to judge each other."""
    people = connection.execute(select(func.sum(people_sum.c.people))).scalar()
    return int(people or 0) >= ENOUGH


def due(connection: Connection) -> list[int]:
    """Return the hosts that were found lying, or cleared of that, or whose fallen answers were decided on again
    while no lie stood against them, and not looked at since."""
    return sorted(set(connection.execute(select(standing.c.host_id).where(standing.c.due.is_not(None))).scalars()))


def cleared(connection: Connection, host: int, *, lock: bool = False) -> bool:
    """Whether no lie stands against a host, for those it was convicted of are none."""
    return not any(each.lies for each in of(connection, [host], lock=lock).get(host, {}).values())


def looked_at(connection: Connection, host: int) -> None:
    """Everything that was accepted on a host's word was looked at."""
    connection.execute(update(standing).where(standing.c.host_id == host).values(due=None))


_OF = (
    select(
        standing.c.host_id, standing.c.app, standing.c.passed, standing.c.lies, standing.c.at,
        case((standing.c.app.in_(outliers.HELD), 1.0), else_=standing.c.audit),
    )
    .where(among_ids(standing.c.host_id))
    .order_by(standing.c.host_id, standing.c.app)
)  # fmt: skip
_LOCKED = _OF.with_for_update(of=standing)
_COPIES = union_all(
    select(replica.c.host_id).where(among_ids(replica.c.host_id), among(replica.c.state, ["leased"])),
    select(replica.c.host_id)
    .join(host_table, host_table.c.volunteer_id == replica.c.volunteer_id)
    .where(among_ids(host_table.c.id), replica.c.host_id == host_table.c.id, among(replica.c.state, ["reported"])),
).subquery()
"""Each half by the partial index on such copies."""
_OUT = select(_COPIES.c.host_id, func.count()).group_by(_COPIES.c.host_id)
_DUE = (
    update(standing)
    .where(standing.c.host_id == bindparam("b_host"), standing.c.app == bindparam("b_app"))
    .values(due=bindparam("b_now"))
)
