"""The audit log: what operators and researchers did, and the chain of the ledger's days."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage.errors import NotFound
from dsage_server.store import daybook, deeds
from dsage_server.web.page import NUMBERED, Asked, Document, Page
from dsage_server.web.public.lines import MOST_PAGES, PAGE_ROWS

LEDGER_DAYS: Final = 400


class Deed(msgspec.Struct, kw_only=True):
    """What somebody did: `actor` is "operator" or the name of a researcher; `about` says to what."""

    at: float
    actor: str
    action: str
    about: str
    detail: str


class Audit(Document, kw_only=True):
    """What was done, newest first."""

    schema: ClassVar[str] = "dsage.audit/1"
    page: int
    pages: int
    deeds: list[Deed]


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


def audit(connection: Connection, asked: Asked) -> Audit:
    """Return a page of the log; raises NotFound for one that there is not."""
    pages = min(MOST_PAGES, max(1, -(-deeds.count(connection) // PAGE_ROWS)))
    if asked.page > pages:
        raise NotFound(f"the audit log has no page {asked.page}", hint=f"It has {pages}.")
    found = deeds.newest(connection, PAGE_ROWS, (asked.page - 1) * PAGE_ROWS)
    return Audit(
        page=asked.page, pages=pages,
        deeds=[Deed(at=d.at, actor=d.actor, action=d.action, about=d.about, detail=d.detail) for d in found],
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
    Page(template="audit", route="/audit", load=audit, document=Audit, params={"page": NUMBERED}, period_s=5.0),
    Page(template="ledger", route="/ledger", load=ledger_days, document=LedgerDays, period_s=60.0),
)
