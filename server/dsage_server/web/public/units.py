"""One unit of work, with its copies."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, exists, func, select

from dsage import wire
from dsage.errors import NotFound
from dsage.states import UnitState
from dsage_server.store.schema import answer as stored
from dsage_server.store.schema import blob, credit_entry, event, replica, run, unit, volunteer
from dsage_server.store.units import args_of
from dsage_server.web import plain
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import NOBODY, RUN_EVENTS, events

MAX_REASON: Final = 60


class Copy(msgspec.Struct, kw_only=True):
    """One replica as anybody may see it; `reason` is the code of its failure."""

    replica: int
    pseudonym: str
    state: str
    leased: float
    reported: float | None
    cpu_s: float
    credit: float
    accepted: bool
    reason: str


class UnitPage(Document, kw_only=True):
    """One unit of work; `answer` is the accepted one, once the unit is valid and nobody could be paid for a copy."""

    schema: ClassVar[str] = "dsage.unit/1"
    unit: int
    run: int
    title: str
    key: str
    group: str
    state: str
    reason: str
    quorum: int
    unsent: int
    credit: float
    deadline_s: float
    created: float
    finished: float | None
    args: Opened
    answer: Opened
    replicas: list[Copy]
    events: list[wire.Event]


def unit_page(connection: Connection, asked: Asked) -> UnitPage:
    """Return one unit with its replicas; raises NotFound."""
    row = connection.execute(
        select(unit, run.c.title, stored.c.value, blob.c.bytes)
        .join(run, run.c.id == unit.c.run_id)
        .outerjoin(stored, stored.c.replica_id == unit.c.canonical_id)
        .outerjoin(blob, blob.c.sha256 == stored.c.blob)
        .where(unit.c.id == asked.number)
    ).first()
    if row is None:
        raise NotFound(f"there is no unit {asked.number}")
    args = args_of(connection, row.id)
    command = f"`dsage results {row.run_id}`"
    answer = plain.opened(row.value, command, row.bytes or 0) if row.state == UnitState.VALID else Opened()
    if answer != Opened() and _may_be_answered(connection, row.id, asked.now):
        answer = Opened(note="it is shown once nobody else can answer this unit any more")
    return UnitPage(
        unit=row.id, run=row.run_id, title=row.title, key=row.key, group=row.grp, state=row.state, reason=row.reason,
        quorum=row.quorum, unsent=row.unsent, credit=row.credit_milli / 1000, deadline_s=row.deadline_s,
        created=row.created, finished=row.finished, args=plain.opened(args, command), answer=answer,
        replicas=_copies(connection, row), events=events(connection, RUN_EVENTS, event.c.unit_id == row.id),
    )  # fmt: skip


def _may_be_answered(connection: Connection, number: int, now: float) -> bool:
    """Whether a copy of a unit could still bring an answer, which would be paid if it is the accepted one."""
    open_copies = select(replica.c.id).where(
        replica.c.unit_id == number, replica.c.state.in_(["leased", "expired"]), replica.c.hard_deadline >= now
    )
    return connection.execute(select(exists(open_copies))).scalar_one()


def _copies(connection: Connection, row: Any) -> list[Copy]:
    own = credit_entry.c.replica_id == replica.c.id
    paid = select(func.sum(credit_entry.c.amount_milli)).where(own, ~credit_entry.c.house)
    rows = connection.execute(
        select(
            replica.c.id, replica.c.state, replica.c.leased, replica.c.reported, replica.c.cpu_s, replica.c.reason,
            volunteer.c.pseudonym, volunteer.c.public, paid.scalar_subquery().label("amount_milli"),
        )
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .where(replica.c.unit_id == row.id)
        .order_by(replica.c.id)
    )  # fmt: skip
    return [
        Copy(
            replica=one.id, pseudonym=one.pseudonym if one.public else NOBODY, state=one.state, leased=one.leased,
            reported=one.reported, cpu_s=one.cpu_s, credit=(one.amount_milli or 0) / 1000,
            accepted=one.id == row.canonical_id, reason=one.reason.partition(":")[0][:MAX_REASON],
        )
        for one in rows
    ]  # fmt: skip


PAGES: Final = (Page(template="unit", route=r"/unit/{number:\d+}", load=unit_page, document=UnitPage, live=True),)
