"""What the operator tells all visitors, and when no work is given out."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, or_, select

from dsage_server.store.schema import announcement


class Notice(msgspec.Struct, kw_only=True, frozen=True):
    """One announcement; times are Unix seconds. While one of `maintenance` holds, no work is given out."""

    id: int
    text: str
    maintenance: bool
    begins: float
    ends: float | None


def current(connection: Connection, now: float) -> list[Notice]:
    """Return what holds now, the newest first."""
    rows = connection.execute(
        select(announcement)
        .where(announcement.c.begins <= now, or_(announcement.c.ends.is_(None), announcement.c.ends > now))
        .order_by(announcement.c.id.desc())
        .limit(5)
    )
    return [
        Notice(id=row.id, text=row.text, maintenance=row.maintenance, begins=row.begins, ends=row.ends) for row in rows
    ]
