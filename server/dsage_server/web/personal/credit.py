"""A volunteer's credit: what waits to be checked and why, what was paid, and what was taken back with the reason."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, distinct, func, select

from dsage.errors import NotFound
from dsage.states import UnitState
from dsage_server.store import daybook, earned, ledger
from dsage_server.store.schema import credit_app, credit_daily, credit_entry, host, known, replica, run, unit
from dsage_server.web.page import Document
from dsage_server.web.personal.mine import Mine, Room, is_in
from dsage_server.web.public.lines import MOST_PAGES

PAGE_DAYS: Final = 10
CHART_DAYS: Final = 30
MOST_PENDING: Final = 100
MOST_PAID: Final = 50
MOST_HOSTS: Final = 50
"""Computers, those seen last, whose newest answers are looked for."""
MOST_CORRECTIONS: Final = 200
SECOND, CHECKED = "second", "checked"
"""Why credit waits: for a second opinion, or for the check itself."""


class Pending(msgspec.Struct, kw_only=True):
    """An answer that is not paid yet; `why` is "second" (it waits for a second opinion) or "checked" (it is being
    checked)."""

    run: int
    title: str
    credit: float
    reported: float | None
    why: str


class Paid(msgspec.Struct, kw_only=True):
    """An answer that was paid; `house` is credit of a researcher's own computers, which is in no sum."""

    unit: int
    run: int
    title: str
    credit: float
    at: float
    house: bool


class Taken(msgspec.Struct, kw_only=True):
    """What was taken back (reversal, and retaken after it had been given back), given back for an answer (manual, with
    its project) or corrected by the operator (manual, of no project), and why."""

    kind: str
    credit: float
    at: float
    project: str
    reason: str


class DayLine(msgspec.Struct, kw_only=True):
    """What a UTC day's answers of one app were worth, less what of it was taken back since."""

    day: str
    app: str
    valid: int
    credit: float


class MyCredit(Document, kw_only=True):
    """A volunteer's credit in full: `chart` has the last days, oldest first; `days` is a page of all of them."""

    schema: ClassVar[str] = "dsage.me.credit/1"
    credit: float
    pending: list[Pending]
    paid: list[Paid]
    corrections: list[Taken]
    chart: list[DayLine]
    days: list[DayLine]
    page: int
    pages: int


def my_credit(connection: Connection, mine: Mine) -> MyCredit:
    """Return a volunteer's credit; raises NotFound for a page that there is not."""
    me = credit_daily.c.volunteer_id == mine.number
    count = int(connection.execute(select(func.count(distinct(credit_daily.c.day))).where(me)).scalar_one())
    pages = min(MOST_PAGES, max(1, -(-count // PAGE_DAYS)))
    if mine.page > pages:
        raise NotFound(f"your credit has no page {mine.page}", hint=f"It has {pages}.")
    total = int(
        connection.execute(select(func.coalesce(func.sum(credit_daily.c.amount_milli), 0)).where(me)).scalar_one()
    )
    chosen = (
        select(credit_daily.c.day)
        .where(me)
        .distinct()
        .order_by(credit_daily.c.day.desc())
        .limit(PAGE_DAYS)
        .offset((mine.page - 1) * PAGE_DAYS)
    )
    return MyCredit(
        credit=total / 1000, pending=_pending(connection, mine.number), paid=_paid(connection, mine.number),
        corrections=[
            Taken(
                kind=each.kind, credit=each.amount_milli / 1000, at=each.granted, project=each.project,
                reason=each.reason,
            )
            for each in ledger.corrections(connection, mine.number, MOST_CORRECTIONS)
        ],
        chart=_chart(connection, mine),
        days=_days(connection, me & credit_daily.c.day.in_(list(connection.execute(chosen).scalars()))),
        page=mine.page, pages=pages,
    )  # fmt: skip


def _pending(connection: Connection, number: int) -> list[Pending]:
    query = (
        select(unit.c.run_id, unit.c.state, unit.c.credit_milli, run.c.title, run.c.project, replica.c.reported)
        .join(unit, unit.c.id == replica.c.unit_id)
        .join(run, run.c.id == unit.c.run_id)
        .where(replica.c.volunteer_id == number, is_in("reported"))
        .order_by(replica.c.reported.desc())
        .limit(MOST_PENDING)
    )
    return [
        Pending(
            run=row.run_id, title=row.title or row.project, credit=row.credit_milli / 1000, reported=row.reported,
            why=SECOND if row.state in (UnitState.READY, UnitState.ACTIVE) else CHECKED,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def _paid(connection: Connection, number: int) -> list[Paid]:
    """Return the newest, from each computer's newest valid copies: the ledger itself has no order by volunteer."""
    seen = select(host.c.id).where(host.c.volunteer_id == number).order_by(host.c.last_seen.desc()).limit(MOST_HOSTS)
    found: list[Any] = []
    for machine in connection.execute(seen).scalars().all():
        found += connection.execute(_PAID.where(replica.c.host_id == machine)).all()
    found.sort(key=lambda row: (-row.granted, -row.id))
    return [
        Paid(
            unit=row.shown, run=row.run_id, title=row.title or row.project, credit=row.amount_milli / 1000,
            at=row.granted, house=row.house,
        )
        for row in found[:MOST_PAID]
    ]  # fmt: skip


def _chart(connection: Connection, mine: Mine) -> list[DayLine]:
    today = int(mine.now // daybook.DAY_S)
    query = (
        select(credit_daily.c.day, func.sum(credit_daily.c.amount_milli), func.sum(credit_daily.c.valid))
        .where(credit_daily.c.volunteer_id == mine.number, credit_daily.c.day > today - CHART_DAYS)
        .group_by(credit_daily.c.day)
    )
    found = {day: (int(amount), int(valid)) for day, amount, valid in connection.execute(query)}
    return [
        DayLine(day=daybook.date_of(day).isoformat(), app="", credit=amount / 1000, valid=valid)
        for day in range(today - CHART_DAYS + 1, today + 1)
        for amount, valid in [found.get(day, (0, 0))]
    ]


def _days(connection: Connection, which: Any) -> list[DayLine]:
    query = (
        select(credit_daily.c.day, credit_daily.c.amount_milli, credit_daily.c.valid, credit_app.c.app)
        .join(credit_app, credit_app.c.id == credit_daily.c.app_id)
        .where(which)
        .order_by(credit_daily.c.day.desc(), credit_app.c.id)
    )
    rows = connection.execute(query).all()
    names = earned.app_names(connection, {row.app for row in rows if row.app})
    return [
        DayLine(
            day=daybook.date_of(row.day).isoformat(), app=names.get(row.app, earned.OTHER)[2], valid=row.valid,
            credit=row.amount_milli / 1000,
        )
        for row in rows
    ]  # fmt: skip


_PAID: Final = (
    select(
        credit_entry.c.id, credit_entry.c.amount_milli, credit_entry.c.granted, credit_entry.c.house,
        credit_entry.c.run_id, credit_entry.c.project, run.c.title,
        func.coalesce(known.c.id, replica.c.unit_id).label("shown"),
    )
    .join_from(replica, credit_entry, (credit_entry.c.replica_id == replica.c.id) & (credit_entry.c.kind == "grant"))
    .join(run, run.c.id == credit_entry.c.run_id)
    .outerjoin(known, (known.c.unit_id == replica.c.unit_id) & (known.c.replica_id == replica.c.id))
    .where(is_in("valid"))
    .order_by(replica.c.id.desc())
    .limit(MOST_PAID)
)  # fmt: skip
"""A unit is named as its computer knew it: one whose answer was known before went out under another number."""

ROOM: Final = Room(template="me_credit", route="/me/credit", load=my_credit, document=MyCredit, listed=True)
