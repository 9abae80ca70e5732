"""One unit of work, and one copy of it.

Until a unit is over (store/over.py) its page says that it goes on, and nothing that another one's would not say.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, exists, func, select

from dsage import wire
from dsage.errors import NotFound
from dsage.states import OPEN_RUNS, UnitState
from dsage_server.sentences import reasons
from dsage_server.store.over import over
from dsage_server.store.schema import answer as stored
from dsage_server.store.schema import blob, credit_entry, credit_sum, event, replica, run, unit, volunteer
from dsage_server.store.schema import known as known_table
from dsage_server.store.signed import args_of
from dsage_server.web import plain
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import NOBODY, RUN_EVENTS, events

MAX_REASON: Final = 60
OPEN: Final = "open"
"""The state, as far as anybody is told, of what is not over."""
ASKED_AGAIN: Final = reasons.ASKED_AGAIN()


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
    """One unit of work. Of one that is `open` nothing else is told; `answer` is the accepted one."""

    schema: ClassVar[str] = "dsage.unit/2"
    unit: int
    run: int
    title: str
    state: str
    created: float
    key: str = ""
    group: str = ""
    reason: str = ""
    quorum: int = 0
    credit: float = 0.0
    deadline_s: float = 0.0
    finished: float | None = None
    args: Opened = Opened()
    answer: Opened = Opened()
    replicas: list[Copy] = msgspec.field(default_factory=list)
    events: list[wire.Event] = msgspec.field(default_factory=list)


class ResultPage(Document, kw_only=True):
    """One copy of a unit. Until the unit is over it is `open`, and not even the unit is told."""

    schema: ClassVar[str] = "dsage.result/1"
    result: int
    state: str
    unit: int | None = None
    run: int | None = None
    title: str = ""
    copy: Copy | None = None
    answer: Opened = Opened()


def unit_page(connection: Connection, asked: Asked) -> UnitPage:
    """Return one unit; raises NotFound."""
    row = connection.execute(_UNIT.where(unit.c.id == asked.number)).first()
    if row is None:
        return _known_page(connection, asked)
    page = UnitPage(unit=row.id, run=row.run_id, title=row.title, state=OPEN, created=row.created)
    return _told(connection, page, row) if over(connection, [row.id], asked.now) else page


def result_page(connection: Connection, asked: Asked) -> ResultPage:
    """Return one copy; raises NotFound."""
    found = connection.execute(
        select(replica.c.unit_id, known_table.c.id)
        .outerjoin(
            known_table, (known_table.c.unit_id == replica.c.unit_id) & (known_table.c.replica_id == replica.c.id)
        )
        .where(replica.c.id == asked.number)
    ).first()
    if found is None:
        raise NotFound(f"there is no result {asked.number}")
    number, disguise = found
    page = ResultPage(result=asked.number, state=OPEN)
    if not over(connection, [number], asked.now):
        return page
    row = connection.execute(_UNIT.where(unit.c.id == number)).one()
    if disguise is not None and row.run_state in OPEN_RUNS:
        return page
    copies = {copy.replica: copy for copy in _copies(connection, row, disguised=disguise is not None)}
    page.copy = copies[asked.number]
    page.state, page.run, page.title, page.unit = page.copy.state, row.run_id, row.title, disguise or number
    if page.copy.accepted:
        page.answer = _answer(row)
    return page


_UNIT: Final = (
    select(unit, run.c.title, run.c.state.label("run_state"), stored.c.value, blob.c.bytes)
    .join(run, run.c.id == unit.c.run_id)
    .outerjoin(stored, stored.c.replica_id == unit.c.canonical_id)
    .outerjoin(blob, blob.c.sha256 == stored.c.blob)
)


def _known_page(connection: Connection, asked: Asked) -> UnitPage:
    """Return the page of a unit whose answer is known: that of any other which is not over, until its run has ended.
    Raises NotFound if there is none."""
    shown = connection.execute(select(known_table).where(known_table.c.id == asked.number)).first()
    row = connection.execute(_UNIT.where(unit.c.id == shown.unit_id)).first() if shown is not None else None
    if shown is None or row is None:
        raise NotFound(f"there is no unit {asked.number}")
    page = UnitPage(unit=asked.number, run=row.run_id, title=row.title, state=OPEN, created=shown.made)
    if row.run_state in OPEN_RUNS or not over(connection, [row.id], asked.now):
        return page
    _told(connection, page, row, disguised=True)
    page.reason = ASKED_AGAIN
    return page


def _told(connection: Connection, page: UnitPage, row: Any, *, disguised: bool = False) -> UnitPage:
    page.state, page.key, page.group, page.reason = row.state, row.key, row.grp, row.reason
    page.quorum, page.credit, page.deadline_s = row.quorum, row.credit_milli / 1000, row.deadline_s
    page.finished = row.finished
    page.args = plain.opened(args_of(connection, row.id), _command(row))
    page.answer = _answer(row)
    page.replicas = _copies(connection, row, disguised=disguised)
    page.events = [] if disguised else events(connection, RUN_EVENTS, event.c.unit_id == row.id)
    return page


def _answer(row: Any) -> Opened:
    return plain.opened(row.value, _command(row), row.bytes or 0) if row.state == UnitState.VALID else Opened()


def _command(row: Any) -> str:
    return f"`dsage results {row.run_id}`"


def _copies(connection: Connection, row: Any, *, disguised: bool = False) -> list[Copy]:
    """Return the copies of a unit; those that went out as a unit whose answer is known stand on the page of that."""
    is_known = known_table.c.unit_id == replica.c.unit_id
    apart = exists(select(known_table.c.id).where(known_table.c.replica_id == replica.c.id, is_known))
    own = credit_entry.c.replica_id == replica.c.id
    paid = select(func.sum(credit_entry.c.amount_milli)).where(own, ~credit_entry.c.house)
    rows = connection.execute(
        select(
            replica.c.id, replica.c.state, replica.c.leased, replica.c.reported, replica.c.cpu_s, replica.c.reason,
            volunteer.c.pseudonym, credit_sum.c.public, paid.scalar_subquery().label("amount_milli"),
        )
        .join(volunteer, volunteer.c.id == replica.c.volunteer_id)
        .outerjoin(credit_sum, credit_sum.c.volunteer_id == replica.c.volunteer_id)
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


PAGES: Final = (
    Page(template="unit", route=r"/unit/{number:\d+}", load=unit_page, document=UnitPage, live=True),
    Page(template="result", route=r"/result/{number:\d+}", load=result_page, document=ResultPage),
)
