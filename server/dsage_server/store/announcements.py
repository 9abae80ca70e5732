"""What the operator tells all visitors, and when no work is given out."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from dsage.errors import Conflict, NotFound, UsageError
from dsage_server.sentences import deeds as said
from dsage_server.store import deeds
from dsage_server.store.schema import announcement

LONGEST: Final = 500
"""Characters of an announcement."""
MOST: Final = 100
"""Announcements that are listed."""
SHOWN: Final = 5
"""Announcements that every page shows."""
MAINTENANCE: Final = said.MAINTENANCE()
"""What is said if the operator does not say why."""


class Notice(msgspec.Struct, kw_only=True, frozen=True):
    """One announcement; times are Unix seconds. While one of `maintenance` holds, no work is given out."""

    id: int
    text: str
    maintenance: bool
    begins: float
    ends: float | None

    def state(self, now: float) -> str:
        """Return "coming", "current" or "over"."""
        if now < self.begins:
            return "coming"
        return "current" if self.ends is None or now < self.ends else "over"


def current(connection: Connection, now: float) -> list[Notice]:
    """Return what holds now, the newest first."""
    rows = connection.execute(
        select(announcement).where(_holds(now)).order_by(announcement.c.id.desc()).limit(SHOWN)
    )  # fmt: skip
    return [_notice(row) for row in rows]


def maintenance(connection: Connection, now: float) -> Notice | None:
    """Return the announcement because of which no work is given out now, of several the one that ends last."""
    rows = connection.execute(select(announcement).where(announcement.c.maintenance, _holds(now)))
    found = [_notice(row) for row in rows]
    return max(found, key=lambda each: float("inf") if each.ends is None else each.ends, default=None)


def newest(connection: Connection) -> list[Notice]:
    """Return the latest announcements, also those that are over or still to come, newest first."""
    return [
        _notice(row) for row in connection.execute(select(announcement).order_by(announcement.c.id.desc()).limit(MOST))
    ]


def announce(
    connection: Connection, text: str, now: float, *, begins: float | None = None, ends: float | None = None,
    maintenance: bool = False,
) -> int:  # fmt: skip
    """Tell something from `begins` (now) until `ends` (until it is withdrawn); return its number. Raises UsageError."""
    said = " ".join(text.split())
    start = now if begins is None else max(begins, now)
    if not said or len(said) > LONGEST or not said.isprintable():
        raise UsageError(f"an announcement is a text of 1 to {LONGEST} characters")
    if ends is not None and ends <= start:
        raise UsageError("an announcement must end after it begins")
    number = connection.execute(
        insert(announcement)
        .values(text=said, maintenance=maintenance, begins=start, ends=ends, created=now)
        .returning(announcement.c.id)
    ).scalar_one()
    deeds.record(connection, now, "operator", "announced", "maintenance" if maintenance else "to all", said)
    return int(number)


def withdraw(connection: Connection, number: int, now: float) -> None:
    """End an announcement now; one that is still to come is never shown. Raises NotFound, Conflict."""
    row = connection.execute(select(announcement).where(announcement.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no announcement {number}", hint="`dsage admin announce` lists them.")
    found = _notice(row)
    if found.state(now) == "over":
        raise Conflict(f"announcement {number} is over already", hint="`dsage admin announce` lists them.")
    connection.execute(
        update(announcement).where(announcement.c.id == number).values(begins=min(found.begins, now), ends=now)
    )
    deeds.record(
        connection, now, "operator", "ended", "maintenance" if found.maintenance else "an announcement", found.text
    )


def end_maintenance(connection: Connection, now: float) -> int:
    """Give out work again: end all maintenance that holds or is to come; return how much there was."""
    ids = connection.execute(
        select(announcement.c.id).where(
            announcement.c.maintenance, or_(announcement.c.ends.is_(None), announcement.c.ends > now)
        )
    ).scalars().all()  # fmt: skip
    for number in ids:
        withdraw(connection, number, now)
    return len(ids)


def _holds(now: float) -> ColumnElement[bool]:
    return (announcement.c.begins <= now) & or_(announcement.c.ends.is_(None), announcement.c.ends > now)


def _notice(row: Row[Any]) -> Notice:
    return Notice(id=row.id, text=row.text, maintenance=row.maintenance, begins=row.begins, ends=row.ends)
