"""One unit of work, with its copies."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, exists, func, select

from dsage import wire
from dsage.errors import NotFound
from dsage.states import OPEN_RUNS, OPEN_UNITS, UnitState
from dsage_server.store import known
from dsage_server.store.schema import answer as stored
from dsage_server.store.schema import blob, credit_entry, event, replica, run, unit, volunteer
from dsage_server.store.schema import known as known_table
from dsage_server.store.units import args_of
from dsage_server.web import plain
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import NOBODY, RUN_EVENTS, events

MAX_REASON: Final = 60
WITHHELD: Final = "it is shown later, at the latest when the run has ended: volunteers are checked by it"
UNIT_IS_KNOWN: Final = known_table.c.unit_id == replica.c.unit_id
"""What finds the row by its index."""


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
    row = _row(connection, asked.number)
    if row is None:
        return _known_page(connection, asked.number)
    command = f"`dsage results {row.run_id}`"
    if row.adaptive and row.run_state in OPEN_RUNS and _withheld(connection, row):
        args, answer = Opened(note=WITHHELD), Opened() if row.state in OPEN_UNITS else Opened(note=WITHHELD)
        return _page(connection, row, args, answer, _copies(connection, row))
    args = plain.opened(args_of(connection, row.id), command)
    answer = plain.opened(row.value, command, row.bytes or 0) if row.state == UnitState.VALID else Opened()
    if answer != Opened() and _may_be_answered(connection, row.id, asked.now):
        answer = Opened(note="it is shown once nobody else can answer this unit any more")
    return _page(connection, row, args, answer, _copies(connection, row))


def _row(connection: Connection, number: int) -> Any:
    return connection.execute(
        select(unit, run.c.title, run.c.state.label("run_state"), stored.c.value, blob.c.bytes)
        .join(run, run.c.id == unit.c.run_id)
        .outerjoin(stored, stored.c.replica_id == unit.c.canonical_id)
        .outerjoin(blob, blob.c.sha256 == stored.c.blob)
        .where(unit.c.id == number)
    ).first()


def _page(connection: Connection, row: Any, args: Opened, answer: Opened, copies: list[Copy]) -> UnitPage:
    return UnitPage(
        unit=row.id, run=row.run_id, title=row.title, key="" if args.note == WITHHELD else row.key, group=row.grp,
        state=row.state, reason=row.reason, quorum=row.quorum, unsent=row.unsent, credit=row.credit_milli / 1000,
        deadline_s=row.deadline_s, created=row.created, finished=row.finished, args=args, answer=answer,
        replicas=copies, events=events(connection, RUN_EVENTS, event.c.unit_id == row.id),
    )  # fmt: skip


def _withheld(connection: Connection, row: Any) -> bool:
    """Whether a unit's page keeps to itself what would tell a unit whose answer is known from others: nobody can see
    here what a unit asks before it was answered, nor, of those that may go out again, afterwards."""
    return row.state in OPEN_UNITS or known.withheld(connection, row.id)


def _known_page(connection: Connection, number: int) -> UnitPage:
    """Return the page of a unit whose answer is known, as that of any other which was not answered yet. Raises
    NotFound if there is none."""
    shown = connection.execute(select(known_table).where(known_table.c.id == number)).first()
    row = _row(connection, shown.unit_id) if shown is not None else None
    if shown is None or row is None:
        raise NotFound(f"there is no unit {number}")
    copies = _copies(connection, row, disguised=True)
    page = _page(connection, row, Opened(note=WITHHELD), Opened(), copies)
    page.unit, page.created, page.finished, page.events = number, shown.made, None, []
    page.state, page.unsent = (UnitState.ACTIVE, 0) if copies else (UnitState.READY, 1)
    return page


def _may_be_answered(connection: Connection, number: int, now: float) -> bool:
    """Whether a copy of a unit could still bring an answer, which would be paid if it is the accepted one."""
    open_copies = select(replica.c.id).where(
        replica.c.unit_id == number, replica.c.state.in_(["leased", "expired"]), replica.c.hard_deadline >= now
    )
    return connection.execute(select(exists(open_copies))).scalar_one()


def _copies(connection: Connection, row: Any, *, disguised: bool = False) -> list[Copy]:
    """Return the copies of a unit; those that went out as a unit whose answer is known stand on the page of that."""
    apart = exists(select(known_table.c.id).where(known_table.c.replica_id == replica.c.id, UNIT_IS_KNOWN))
    own = credit_entry.c.replica_id == replica.c.id
    paid = select(func.sum(credit_entry.c.amount_milli)).where(own, ~credit_entry.c.house)
    rows = connection.execute(
        select(
            replica.c.id, replica.c.state, replica.c.leased, replica.c.reported, replica.c.cpu_s, replica.c.reason,
            volunteer.c.pseudonym, volunteer.c.public, paid.scalar_subquery().label("amount_milli"),
        )
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .where(replica.c.unit_id == row.id, apart if disguised else ~apart)
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
