"""What people see: runs, the leaderboard, the server at a glance. Read-only, on connections of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, func, select

from dsage import __version__, wire
from dsage.errors import NotFound
from dsage.states import RunState
from dsage_server.sentences import reasons
from dsage_server.store import discoveries, tallies
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.credit import recent_average
from dsage_server.store.meta import recall
from dsage_server.store.ready import kin_of, kind_of
from dsage_server.store.runs import info
from dsage_server.store.schema import (
    archive,
    credit_sum,
    host,
    people_sum,
    replica,
    run,
    run_credit,
    tally,
    unit,
    volunteer,
)
from dsage_server.store.schema import kin as kin_table
from dsage_server.store.units import Book
from dsage_validator import issuing

LIVE_S: Final = 120.0
"""A host counts as there when it called within this time; a call comes at least each 50 s."""
DRIVER_LIVE_S: Final = 120.0
LOOKED_AT: Final = 1000
"""Computers whose offers are compared with what a run needs."""
MOST_NAMED: Final = 1000
"""Volunteers named in one answer about a run."""


Names = Mapping[bytes, str]
"""What researchers' keys are certified under."""
NOBODY: Final[Names] = {}


def run_view(connection: Connection, number: int, now: float, names: Names = NOBODY) -> wire.RunView:
    """Return one run as people see it; raises NotFound."""
    found = _runs(connection, _RUN.where(run.c.id == number), now, names)
    if not found:
        raise NotFound(f"there is no run {number}")
    found[0].discoveries = discoveries.public(connection, of_run=number)
    return found[0]


def runs(connection: Connection, now: float, limit: int = 50, names: Names = NOBODY) -> list[wire.RunView]:
    """Return the newest runs."""
    return _runs(connection, _RUN.order_by(run.c.id.desc()).limit(limit), now, names)


def runs_of(connection: Connection, researcher: bytes, now: float, limit: int, offset: int) -> list[wire.RunView]:
    """Return a researcher's runs, the newest first."""
    mine = _RUN.where(run.c.researcher == researcher).order_by(run.c.id.desc())
    return _runs(connection, mine.limit(limit).offset(offset), now, NOBODY)


def _runs(connection: Connection, query: Select[Any], now: float, names: Names) -> list[wire.RunView]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    sums: dict[int, dict[str, int]] = {number: {} for number in ids}
    counted = select(tally.c.run_id, tally.c.what, func.sum(tally.c.n)).group_by(tally.c.run_id, tally.c.what)
    for number, what, n in connection.execute(counted.where(tally.c.run_id.in_(ids))):
        if n:
            sums[number][what] = int(n)
    filed = connection.execute(
        select(archive.c.run_id, archive.c.made, archive.c.file).where(archive.c.run_id.in_(ids))
    )
    files = {number: archived(made, file) for number, made, file in filed}
    return [_run_view(connection, row, sums[row.id], files.get(row.id, ""), now, names) for row in rows]


def _run_view(
    connection: Connection, row: Any, sums: dict[str, int], filed: str, now: float, names: Names
) -> wire.RunView:
    units = by_state(sums, "unit")
    reasons = [row.reason or _why_waiting(connection, row, units, now), filed]
    return wire.RunView(
        run=row.id, project=row.project, title=row.title, app=row.app, state=row.state, created=row.created,
        finished=row.finished, driver_seen=row.driver_seen, step=row.step, units=units,
        replicas=by_state(sums, "replica"), credit_milli=sums.get("credit", 0), volunteers=sums.get("volunteers", 0),
        progress=row.progress, result=row.result, reason="; ".join(filter(None, reasons)), params=row.params,
        priority=row.priority, platforms=msgspec.json.decode(row.platforms, type=list[str]),
        tags=msgspec.json.decode(row.tags, type=list[str]), hosted=row.hosted,
        researcher=names.get(row.researcher, ""),
    )  # fmt: skip


def archived(made: float, file: str) -> str:
    """Return what people read about a run whose units lie in a file."""
    return reasons.ARCHIVED(day=f"{datetime.fromtimestamp(made, UTC):%Y-%m-%d}", file=file)


def leaderboard(connection: Connection, now: float, limit: int = 100, offset: int = 0) -> list[wire.CreditLine]:
    """Return volunteers by recent average; those who have not opted in are one summed line at the end."""
    page = (
        select(credit_sum)
        .where(credit_sum.c.public)
        .order_by(credit_sum.c.score.desc(), credit_sum.c.volunteer_id)
        .limit(limit)
        .offset(offset)
        .subquery()
    )
    last_seen = select(func.max(host.c.last_seen)).where(host.c.volunteer_id == page.c.volunteer_id).scalar_subquery()
    rows = connection.execute(
        select(
            volunteer.c.pseudonym, page.c.amount_milli, page.c.score, page.c.valid, last_seen.label("last_seen")
        )
        .join(volunteer, volunteer.c.id == page.c.volunteer_id)
        .order_by(page.c.score.desc(), page.c.volunteer_id)
    )  # fmt: skip
    lines = [
        wire.CreditLine(
            pseudonym=row.pseudonym, credit_milli=row.amount_milli, recent=recent_average(row.score, now),
            valid=row.valid, last_seen=row.last_seen,
        )
        for row in rows
    ]  # fmt: skip
    others = everybody(connection)[False]
    if others.people:
        lines.append(
            wire.CreditLine(
                pseudonym=None, credit_milli=others.amount_milli, recent=recent_average(others.score, now),
                valid=others.valid, last_seen=None, people=others.people,
            )
        )  # fmt: skip
    return lines


class People(NamedTuple):
    """Some volunteers and what they have earned together."""

    people: int = 0
    amount_milli: int = 0
    valid: int = 0
    score: float = 0.0


def everybody(connection: Connection) -> dict[bool, People]:
    """Return those who are listed (True) and the others, summed."""
    sums = [func.sum(people_sum.c[name]) for name in People._fields]
    rows = connection.execute(select(people_sum.c.public, *sums).group_by(people_sum.c.public))
    found = {
        public: People(int(people), int(amount), int(valid), score) for public, people, amount, valid, score in rows
    }
    return {False: People(), True: People()} | found


def finders(connection: Connection, number: int, units: list[int]) -> list[wire.Finder]:
    """Return whose machine brought the accepted answer of some units of a run."""
    rows = connection.execute(
        select(unit.c.id, unit.c.run_id, volunteer.c.pseudonym, volunteer.c.public)
        .join(replica, replica.c.id == unit.c.canonical_id)
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .where(among_ids(unit.c.id)),
        {"ids": numbers(connection, units)},
    )
    return [
        wire.Finder(unit=row.id, pseudonym=row.pseudonym if row.public else "a volunteer")
        for row in rows
        if row.run_id == number
    ]


def status(connection: Connection, server_id: str, name: str, now: float, names: Names = NOBODY) -> wire.StatusView:
    """Return the server at a glance."""
    live = connection.execute(
        select(func.count()).select_from(host).where(host.c.last_seen > now - LIVE_S)
    ).scalar_one()
    sums = tallies.of(connection)
    return wire.StatusView(
        server_id=server_id, name=name, version=__version__, time=now,
        volunteers=sum(some.people for some in everybody(connection).values()), hosts_live=live,
        units=by_state(sums, "unit"), replicas=by_state(sums, "replica"),
        runs=runs(connection, now, limit=20, names=names),
    )  # fmt: skip


def credit_of_run(connection: Connection, number: int, limit: int = MOST_NAMED) -> dict[str, int]:
    """Return thousandths of credit by pseudonym for one run: those who have most of it, most first, and "a volunteer",
    which sums those who have not opted in."""
    rows = connection.execute(
        select(volunteer.c.pseudonym, run_credit.c.amount_milli)
        .join(volunteer, volunteer.c.id == run_credit.c.volunteer_id)
        .where(run_credit.c.run_id == number, run_credit.c.public)
        .order_by(run_credit.c.amount_milli.desc(), run_credit.c.volunteer_id)
        .limit(limit)
    )
    found = dict(rows.all())
    unlisted = tallies.of(connection, number).get("unlisted", 0)
    return found | ({"a volunteer": unlisted} if unlisted else {})


def by_state(sums: dict[str, int], of: str) -> dict[str, int]:
    """Return how many units or replicas are in each state; of units, those that a replay put aside are not in it."""
    found = {what.removeprefix(f"{of}."): n for what, n in sums.items() if what.startswith(f"{of}.")}
    if of == "unit":
        found = {state: n - sums.get(f"aside.{state}", 0) for state, n in found.items()}
    return {state: n for state, n in found.items() if n}


def _why_waiting(connection: Connection, row: Any, units: dict[str, int], now: float) -> str:
    """Return the named reason why a run stands still, or an empty text if it does not."""
    if row.state == RunState.PAUSED:
        return reasons.PAUSED(run=row.id)
    if row.state != RunState.RUNNING or units.get("active"):
        return ""
    if units.get("comparing"):
        stuck = recall(connection, "checks") == "off" and info(connection, row.id).manifest.needs_box
        return reasons.NO_SANDBOX() if stuck else ""
    if row.driver_seen is None or row.driver_seen < now - DRIVER_LIVE_S:
        return reasons.DRIVER_AWAY(run=row.id, step=row.step)
    if not units.get("ready"):
        return ""
    if not _is_live(connection, now):
        return reasons.NOBODY()
    if lacking := _lacking(connection, info(connection, row.id).manifest.needs, now):
        return reasons.LACKING(names=" and ".join(lacking))
    oldest = connection.execute(
        select(func.min(unit.c.id)).where(unit.c.run_id == row.id, unit.c.state == "ready")
    ).scalar()
    if oldest is None:
        return ""
    waiting = Book.of(connection, [oldest], lock=False).now[oldest]
    barred = {r.volunteer for r in waiting.replicas if not issuing.may_take(waiting, r.volunteer)}
    kind = kind_of(connection, waiting, info(connection, row.id).terms)
    kin = kin_of(connection, waiting)
    if _is_live(connection, now, barred, kind, kin):
        return ""
    if kin and _is_live(connection, now, barred, kind):
        return reasons.NEEDS_STRANGER(unit=oldest)
    if kind and _is_live(connection, now, barred, kin=kin):
        return reasons.NEEDS_KIND(kind=kind, unit=oldest)
    if refused := sum(r.state == "invalid" and r.id > waiting.since for r in waiting.replicas):
        return reasons.NEEDS_HONEST(n=refused, unit=oldest)
    errors = [r.id for r in waiting.replicas if r.state == "error"]
    if not errors:
        return reasons.NEEDS_MORE(quorum=waiting.quorum, unit=oldest)
    said = connection.execute(select(replica.c.reason).where(replica.c.id == errors[-1])).scalar_one()
    return reasons.NEEDS_WORKING(unit=oldest, code=said.split(":")[0])


def _lacking(connection: Connection, needs: Sequence[str], now: float) -> list[str]:
    """Return what no computer that is there offers, or all that is needed if none offers it together."""
    if not needs:
        return []
    query = select(host.c.offers).where(host.c.last_seen > now - LIVE_S).limit(LOOKED_AT)
    offered = [set(msgspec.json.decode(offers)) for offers in connection.execute(query).scalars()]
    if any(found.issuperset(needs) for found in offered):
        return []
    return sorted(set(needs).difference(*offered)) or sorted(needs)


def _is_live(
    connection: Connection,
    now: float,
    besides: Iterable[int] = (),
    kind: str = "",
    kin: frozenset[str] = frozenset(),
) -> bool:
    """Whether the computer of any volunteer is there, besides those of some and of whoever has part in `kin`; one of a
    `kind` if it names one."""
    there = host.c.last_seen > now - LIVE_S
    query = select(host.c.id).where(there, host.c.volunteer_id.not_in(list(besides))).limit(1)
    if kind:
        query = query.where(host.c.platform == kind)
    if kin:
        akin = select(kin_table.c.volunteer_id).where(kin_table.c.word.in_(sorted(kin)))
        query = query.where(host.c.volunteer_id.not_in(akin))
    return connection.execute(query).first() is not None


_RUN: Final = select(
    run.c.id, run.c.project, run.c.title, run.c.app, run.c.state, run.c.created, run.c.finished, run.c.driver_seen,
    run.c.step, run.c.progress, run.c.result, run.c.reason, run.c.params, run.c.priority, run.c.platforms, run.c.tags,
    run.c.hosted, run.c.researcher,
)  # fmt: skip
"""All but the driver's state, which may have a megabyte."""
