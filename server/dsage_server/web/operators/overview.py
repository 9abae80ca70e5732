"""How the server stands: what needs attention, how its parts are, its processes and its disk."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection, select

from dsage import __version__
from dsage_server.store import attention, vitals
from dsage_server.store.attention import Glance, Matter
from dsage_server.store.processes import GONE_S
from dsage_server.store.schema import process
from dsage_server.web.operators.machine import Disk, Machine
from dsage_server.web.page import Asked, Document
from dsage_server.web.public.status import Part, Window, parts

LOW_SHARE: Final = 0.1
"""A disk with less than this free needs attention."""


class Overview(Document, kw_only=True):
    """What needs attention, and the counts behind it."""

    schema: ClassVar[str] = "dsage.overview/1"
    matters: list[Matter]
    glance: Glance


class Process(msgspec.Struct, kw_only=True):
    """A server process on a shared database; `seen` is when it last said that it lives."""

    number: int
    roles: str
    started: float
    seen: float
    alive: bool


class Health(Document, kw_only=True):
    """How the server's parts are. Without `processes` it has one, on SQLite; `disk` is of this machine."""

    schema: ClassVar[str] = "dsage.health/1"
    version: str
    parts: list[Part]
    glance: Glance
    processes: list[Process]
    windows: list[Window]
    disk: Disk | None


def overview(connection: Connection, asked: Asked, machine: Machine | None) -> Overview:
    """Return what needs attention."""
    found = attention.glance(connection, asked.now)
    told = attention.matters(found)
    if machine is not None:
        disk, expiring = machine.disk(connection), machine.expiring(asked.now)
        if disk.free < LOW_SHARE * disk.total or disk.free < machine.settings.min_free_bytes:
            told.insert(
                0, Matter(what="disk", n=round(100 * disk.free / max(disk.total, 1)), page="/admin/health", urgent=True)
            )
        if expiring:
            told.insert(0, Matter(what="keys", n=expiring, page="/admin/keys", urgent=True))
    return Overview(matters=told, glance=found)


def health(connection: Connection, asked: Asked, machine: Machine | None) -> Health:
    """Return how the parts are."""
    now = asked.now
    rows = connection.execute(select(process).order_by(process.c.id))
    return Health(
        version=__version__, parts=parts(vitals.vitals(connection, now), now), glance=attention.glance(connection, now),
        processes=[
            Process(number=row.id, roles=row.roles, started=row.started, seen=row.seen, alive=row.seen >= now - GONE_S)
            for row in rows
        ],
        windows=[Window(**each._asdict()) for each in vitals.windows(connection, now)],
        disk=None if machine is None else machine.disk(connection),
    )  # fmt: skip
