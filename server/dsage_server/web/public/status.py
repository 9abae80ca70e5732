"""The server at a glance, and the chain of its ledger's days."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage_server.store import daybook, views
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.public.lines import RunLine, run_line

LEDGER_DAYS: Final = 400


class StatusPage(Document, kw_only=True):
    """The server at a glance."""

    schema: ClassVar[str] = "dsage.status/1"
    server_id: str
    name: str
    version: str
    time: float
    volunteers: int
    hosts_live: int
    units: dict[str, int]
    replicas: dict[str, int]
    runs: list[RunLine]


class LedgerDay(msgspec.Struct, kw_only=True):
    """A closed day of the ledger (docs/credit.md says what its `hash` is of); `day` is its UTC date."""

    number: int
    day: str
    entries: int
    credit: float
    hash: str


class LedgerDays(Document, kw_only=True):
    """The newest closed days, newest first."""

    schema: ClassVar[str] = "dsage.ledger/1"
    days: list[LedgerDay]


def status(connection: Connection, asked: Asked) -> StatusPage:
    """Return the server at a glance."""
    glance = views.status(connection, asked.server_id, asked.name, asked.now)
    return StatusPage(
        server_id=glance.server_id, name=glance.name, version=glance.version, time=glance.time,
        volunteers=glance.volunteers, hosts_live=glance.hosts_live, units=glance.units, replicas=glance.replicas,
        runs=[run_line(view) for view in glance.runs],
    )  # fmt: skip


def ledger_days(connection: Connection, asked: Asked) -> LedgerDays:
    """The chain of the ledger's closed days, for whoever wants to keep a hash."""
    return LedgerDays(
        days=[
            LedgerDay(
                number=each.number, day=daybook.date_of(each.day).isoformat(), entries=each.entries,
                credit=each.amount_milli / 1000, hash=each.hash,
            )
            for each in daybook.days(connection, LEDGER_DAYS)
        ]
    )  # fmt: skip


PAGES: Final = (
    Page(template="status", route="/status", load=status, document=StatusPage, live=True),
    Page(template="", route="/ledger", load=ledger_days, document=LedgerDays, period_s=60.0),
)
