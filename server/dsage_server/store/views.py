"""What people see: runs, the leaderboard, the server at a glance. Read-only, on connections of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select

from dsage import __version__, wire
from dsage.errors import NotFound
from dsage.states import HOLDS_PLACE, RunState
from dsage_server.store.credit import recent_average
from dsage_server.store.meta import recall
from dsage_server.store.runs import info
from dsage_server.store.schema import among, archive, credit_entry, credit_sum, host, replica, run, unit, volunteer
from dsage_server.store.units import Book, tallies
from dsage_validator import life

LIVE_S: Final = 120.0
"""A host counts as there when it called within this time; a call comes at least each 50 s."""
DRIVER_LIVE_S: Final = 120.0


def run_view(connection: Connection, number: int, now: float) -> wire.RunView:
    """Return one run as people see it; raises NotFound."""
    row = connection.execute(select(run).where(run.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no run {number}")
    sums = tallies(connection, number)
    units, replicas = _by_state(sums, "unit"), _by_state(sums, "replica")
    filed = connection.execute(select(archive).where(archive.c.run_id == number)).first()
    reasons = [
        row.reason or _why_waiting(connection, row, units, now),
        archived(filed.made, filed.file) if filed else "",
    ]
    return wire.RunView(
        run=row.id, project=row.project, title=row.title, app=row.app, state=row.state, created=row.created,
        finished=row.finished, driver_seen=row.driver_seen, step=row.step, units=units, replicas=replicas,
        credit_milli=sums.get("credit", 0), volunteers=filed.volunteers if filed else people(connection, number),
        progress=row.progress, result=row.result, reason="; ".join(filter(None, reasons)), params=row.params,
    )  # fmt: skip


def people(connection: Connection, number: int) -> int:
    """Return how many volunteers took part in a run."""
    query = (
        select(func.count(replica.c.volunteer_id.distinct()))
        .join(unit, unit.c.id == replica.c.unit_id)
        .where(unit.c.run_id == number, among(replica.c.state, HOLDS_PLACE))
    )
    return connection.execute(query).scalar_one()


def archived(made: float, file: str) -> str:
    """Return what people read about a run whose units lie in a file."""
    return f"archived on {datetime.fromtimestamp(made, UTC):%Y-%m-%d}, file {file}"


def runs(connection: Connection, now: float, limit: int = 50) -> list[wire.RunView]:
    """Return the newest runs."""
    query = select(run.c.id).order_by(run.c.id.desc()).limit(limit)
    return [run_view(connection, number, now) for number in connection.execute(query).scalars()]


def leaderboard(connection: Connection, now: float, limit: int = 100, offset: int = 0) -> list[wire.CreditLine]:
    """Return volunteers by recent average; those who have not opted in are one summed line at the end."""
    seen = (
        select(host.c.volunteer_id, func.max(host.c.last_seen).label("last_seen"))
        .group_by(host.c.volunteer_id)
        .subquery()
    )
    rows = connection.execute(
        select(
            volunteer.c.pseudonym, seen.c.last_seen,
            credit_sum.c.amount_milli, credit_sum.c.score, credit_sum.c.valid,
        )
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id, isouter=True)
        .join(seen, seen.c.volunteer_id == volunteer.c.id)
        .where(volunteer.c.public.is_(True))
        .order_by(func.coalesce(credit_sum.c.score, 0.0).desc(), volunteer.c.id)
        .limit(limit)
        .offset(offset)
    )  # fmt: skip
    lines = [
        wire.CreditLine(
            pseudonym=row.pseudonym, credit_milli=row.amount_milli or 0,
            recent=recent_average(row.score or 0.0, now), valid=row.valid or 0, last_seen=row.last_seen,
        )
        for row in rows
    ]  # fmt: skip
    hidden = connection.execute(
        select(
            func.count(volunteer.c.id), func.sum(credit_sum.c.amount_milli),
            func.sum(credit_sum.c.score), func.sum(credit_sum.c.valid),
        )
        .join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id, isouter=True)
        .where(volunteer.c.public.is_(False))
    ).one()  # fmt: skip
    if hidden[0]:
        lines.append(
            wire.CreditLine(
                pseudonym=None, credit_milli=int(hidden[1] or 0), recent=recent_average(hidden[2] or 0.0, now),
                valid=hidden[3] or 0, last_seen=None, people=hidden[0],
            )
        )  # fmt: skip
    return lines


def finders(connection: Connection, number: int, units: list[int]) -> list[wire.Finder]:
    """Return whose machine brought the accepted answer of some units of a run."""
    rows = connection.execute(
        select(unit.c.id, volunteer.c.pseudonym, volunteer.c.public)
        .join(replica, replica.c.id == unit.c.canonical_id)
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .where(unit.c.run_id == number, unit.c.id.in_(units))
    )
    return [wire.Finder(unit=row.id, pseudonym=row.pseudonym if row.public else "a volunteer") for row in rows]


def status(connection: Connection, server_id: str, name: str, now: float) -> wire.StatusView:
    """Return the server at a glance."""
    live = connection.execute(
        select(func.count()).select_from(host).where(host.c.last_seen > now - LIVE_S)
    ).scalar_one()
    everybody = connection.execute(select(func.count()).select_from(volunteer)).scalar_one()
    sums = tallies(connection)
    return wire.StatusView(
        server_id=server_id, name=name, version=__version__, time=now, volunteers=everybody, hosts_live=live,
        units=_by_state(sums, "unit"), replicas=_by_state(sums, "replica"),
        runs=runs(connection, now, limit=20),
    )  # fmt: skip


def credit_of_run(connection: Connection, number: int) -> dict[str, int]:
    """Return thousandths of credit by pseudonym for one run; "a volunteer" sums those who have not opted in."""
    rows = connection.execute(
        select(volunteer.c.pseudonym, volunteer.c.public, func.sum(credit_entry.c.amount_milli).label("amount"))
        .join(volunteer, volunteer.c.id == credit_entry.c.volunteer_id)
        .where(credit_entry.c.run_id == number)
        .group_by(volunteer.c.id)
    )
    found: dict[str, int] = {}
    for row in rows:
        name = row.pseudonym if row.public else "a volunteer"
        found[name] = found.get(name, 0) + row.amount
    return found


def _by_state(sums: dict[str, int], of: str) -> dict[str, int]:
    return {what.removeprefix(f"{of}."): n for what, n in sums.items() if what.startswith(f"{of}.")}


def _why_waiting(connection: Connection, row: Any, units: dict[str, int], now: float) -> str:
    """Return the named reason why a running run stands still, or an empty text if it does not."""
    if row.state != RunState.RUNNING or units.get("active"):
        return ""
    if units.get("comparing"):
        stuck = recall(connection, "checks") == "off" and info(connection, row.id).has_check
        return "its answers wait to be checked: this server has no sandbox for that (its log says why)" if stuck else ""
    if row.driver_seen is None or row.driver_seen < now - DRIVER_LIVE_S:
        return f"its driver is away: `dsage attach {row.id}` goes on from step {row.step}"
    if not units.get("ready"):
        return ""
    live = set(connection.execute(select(host.c.volunteer_id).where(host.c.last_seen > now - LIVE_S)).scalars())
    if not live:
        return "no volunteer's computer is connected"
    oldest = connection.execute(
        select(func.min(unit.c.id)).where(unit.c.run_id == row.id, unit.c.state == "ready")
    ).scalar_one()
    waiting = Book.of(connection, [oldest], lock=False).now[oldest]
    if any(life.may_take(waiting, person) for person in live):
        return ""
    errors = [r.id for r in waiting.replicas if r.state == "error"]
    if not errors:
        return f"needs one more volunteer: {waiting.quorum} must agree on unit {oldest}"
    said = connection.execute(select(replica.c.reason).where(replica.c.id == errors[-1])).scalar_one()
    return f"needs another volunteer: unit {oldest} failed on every computer here ({said.split(':')[0]})"
