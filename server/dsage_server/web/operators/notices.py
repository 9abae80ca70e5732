"""What all visitors are told, and when no work is given out: the page, and what its forms change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from sqlalchemy import Connection

from dsage.errors import UsageError
from dsage_server.store import announcements
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document

HOUR_S = 3600.0
MOST_HOURS = 24.0 * 366


class Told(msgspec.Struct, kw_only=True):
    """An announcement; `state` is coming, current or over."""

    id: int
    text: str
    maintenance: bool
    begins: float
    ends: float | None
    state: str


class Announcements(Document, kw_only=True):
    """All announcements, the newest first."""

    schema: ClassVar[str] = "dsage.announcements/1"
    announcements: list[Told]


def told(connection: Connection, asked: Asked, _: Machine | None) -> Announcements:
    """Return what was announced."""
    return Announcements(
        announcements=[
            Told(**msgspec.structs.asdict(each), state=each.state(asked.now))
            for each in announcements.newest(connection)
        ]
    )


def announce(connection: Connection, form: Mapping[str, str], now: float) -> None:
    """Announce what a form says. Raises UsageError."""
    maintenance = form.get("kind") == "maintenance"
    text = form.get("text", "").strip()
    begins = now + _hours(form.get("later", "")) * HOUR_S
    lasting = _hours(form.get("hours", ""))
    announcements.announce(
        connection, text or (announcements.MAINTENANCE if maintenance else ""), now, begins=begins,
        ends=begins + lasting * HOUR_S if lasting else None, maintenance=maintenance,
    )  # fmt: skip


def _hours(text: str) -> float:
    try:
        hours = float(text.strip() or 0)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is not a number of hours") from None
    if not 0 <= hours <= MOST_HOURS:
        raise UsageError("hours are 0 to 8784")
    return hours
