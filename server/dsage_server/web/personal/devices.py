"""A volunteer's computers: what each does now, what it gave, and what went wrong on it."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, func, select

from dsage_server.store.accounts import MAX_DEVICES
from dsage_server.store.schema import among, credit_host, host, known, replica, run, unit
from dsage_server.store.views import LIVE_S
from dsage_server.web.page import Document
from dsage_server.web.personal.mine import Mine, Room, is_in
from dsage_server.web.public.lines import FAILURES

MOST_TROUBLES: Final = 5
MOST_WORKS: Final = 20
UNKNOWN: Final = "it failed"


class Work(msgspec.Struct, kw_only=True):
    """A unit that a computer has, since when (Unix seconds), and until when its answer is counted on."""

    unit: int
    run: int
    title: str
    leased: float
    deadline: float


class Trouble(msgspec.Struct, kw_only=True):
    """A copy that came to nothing: `state` is error, expired or invalid, `reason` a sentence for errors."""

    title: str
    at: float
    state: str
    reason: str


class Computer(msgspec.Struct, kw_only=True):
    """One of the volunteer's computers; `state` is working, here, away or new (it never called)."""

    number: int
    name: str
    state: str
    last_seen: float | None
    created: float
    platform: str
    cores: int
    memory_bytes: int
    client: str
    sandbox: str
    credit: float
    valid: int
    works: list[Work]
    troubles: list[Trouble]


class MyDevices(Document, kw_only=True):
    """The volunteer's computers, those that called last first; `shown` is whether others may see them."""

    schema: ClassVar[str] = "dsage.me.devices/1"
    computers: list[Computer]


def my_devices(connection: Connection, mine: Mine) -> MyDevices:
    """Return a volunteer's computers that have not left."""
    query = (
        select(host, credit_host.c.amount_milli, credit_host.c.valid)
        .outerjoin(credit_host, credit_host.c.host_id == host.c.id)
        .where(host.c.volunteer_id == mine.number, host.c.gone.is_(None))
        .order_by(func.coalesce(host.c.last_seen, 0).desc(), host.c.id)
        .limit(MAX_DEVICES)
    )
    return MyDevices(computers=[_computer(connection, row, mine.now) for row in connection.execute(query).all()])


def _computer(connection: Connection, row: Any, now: float) -> Computer:
    works = [
        Work(
            unit=each.shown,
            run=each.run_id,
            title=each.title or each.project,
            leased=each.leased,
            deadline=each.deadline,
        )
        for each in connection.execute(_WORKS.where(replica.c.host_id == row.id))
    ]
    troubles = [
        Trouble(
            title=each.title or each.project, at=each.reported or each.deadline, state=each.state,
            reason=FAILURES.get(each.reason.partition(":")[0], UNKNOWN) if each.state == "error" else "",
        )
        for each in connection.execute(_TROUBLES.where(replica.c.host_id == row.id))
    ]  # fmt: skip
    here = row.last_seen is not None and now - row.last_seen < LIVE_S
    state = "new" if row.last_seen is None else "away" if not here else "working" if works else "here"
    return Computer(
        number=row.id, name=row.name, state=state, last_seen=row.last_seen, created=row.created, platform=row.platform,
        cores=row.cores, memory_bytes=row.memory_bytes, client=row.client, sandbox=row.sandbox,
        credit=(row.amount_milli or 0) / 1000, valid=row.valid or 0, works=works, troubles=troubles,
    )  # fmt: skip


_OF_RUN = (run.c.title, run.c.project)
_WORKS = (
    select(
        func.coalesce(known.c.id, replica.c.unit_id).label("shown"), unit.c.run_id, replica.c.leased,
        replica.c.deadline, *_OF_RUN,
    )
    .join_from(replica, unit, unit.c.id == replica.c.unit_id)
    .join(run, run.c.id == unit.c.run_id)
    .outerjoin(known, (known.c.unit_id == replica.c.unit_id) & (known.c.replica_id == replica.c.id))
    .where(is_in("leased"))
    .order_by(replica.c.id)
    .limit(MOST_WORKS)
)  # fmt: skip
_TROUBLES = (
    select(replica.c.state, replica.c.reason, replica.c.reported, replica.c.deadline, *_OF_RUN)
    .join(unit, unit.c.id == replica.c.unit_id)
    .join(run, run.c.id == unit.c.run_id)
    .where(among(replica.c.state, ["error", "expired", "invalid"]))
    .order_by(replica.c.id.desc())
    .limit(MOST_TROUBLES)
)

ROOM: Final = Room(template="me_devices", route="/me/devices", load=my_devices, document=MyDevices)
