"""How answers were checked: by the server itself, by known answers, by last words; and credit that was taken back."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection, func, literal_column, select

from dsage_server.store import own
from dsage_server.store.schema import credit_entry, known, last_word, replica, volunteer
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document

MOST: Final = 200
LATEST: Final = 5000
"""Known answers that are looked at, the latest."""


class Correction(msgspec.Struct, kw_only=True):
    """A row of the ledger that is no grant: `credit` below 0 was taken back. `kind` is reversal, manual
    or retaken."""

    entry: int
    at: float
    kind: str
    credit: float
    volunteer: str
    host: int | None
    run: int | None
    project: str
    reason: str
    actor: str


class Checks(Document, kw_only=True):
    """What checks found. `own` counts what the server computed itself, `known` how copies of known answers stand."""

    schema: ClassVar[str] = "dsage.checks/1"
    share: float
    own: dict[str, int]
    known: dict[str, int]
    known_waiting: int
    last_words: int
    corrections: list[Correction]


def checks(connection: Connection, _asked: Asked, _: Machine | None) -> Checks:
    """Return what checks found."""
    sent = (
        select(known.c.replica_id).where(known.c.replica_id.is_not(None)).order_by(known.c.id.desc()).limit(LATEST)
    ).subquery()
    ends = select(replica.c.state, func.count()).join(sent, sent.c.replica_id == replica.c.id).group_by(replica.c.state)
    unsent = select(func.count()).select_from(known).where(known.c.replica_id.is_(None))
    words = select(func.count()).select_from(last_word).where(last_word.c.unit_id.is_not(None))
    return Checks(
        share=own.share(connection),
        own={what.partition(".")[2]: n for what, n in own.counted(connection).items()},
        known=dict(connection.execute(ends).all()), known_waiting=connection.execute(unsent).scalar_one(),
        last_words=connection.execute(words).scalar_one(),
        corrections=corrections(connection),
    )  # fmt: skip


def corrections(connection: Connection) -> list[Correction]:
    """Return what was taken back and corrected, the newest first."""
    rows = connection.execute(
        select(credit_entry, volunteer.c.pseudonym)
        .join(volunteer, volunteer.c.id == credit_entry.c.volunteer_id)
        .where(credit_entry.c.kind != literal_column("'grant'"))
        .order_by(credit_entry.c.id.desc())
        .limit(MOST)
    )
    return [
        Correction(
            entry=row.id, at=row.granted, kind=row.kind, credit=row.amount_milli / 1000, volunteer=row.pseudonym,
            host=row.host_id, run=row.run_id, project=row.project, reason=row.reason, actor=row.actor,
        )
        for row in rows
    ]  # fmt: skip
