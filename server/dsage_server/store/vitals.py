"""How the server itself is: what each of its parts last did, and how much went through it lately."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from dsage_server.store import daybook, recount
from dsage_server.store.hosting import REMEMBERED
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import credit_entry, credit_unfolded, host

SILENT_S: Final = 60.0
"""A server that said nothing of itself for so long is taken to be down; it says so several times as often."""
LATE_S: Final = 120.0
"""Credit that was not added up for so long is late: it takes seconds."""
WEEK_DAYS: Final = 7
HOUR_S: Final = 3600.0
KEPT: Final = "windows"
GOOD_S: Final = 180.0
"""So long what was counted of who was here is told; a server with many computers counts anew once a minute."""


class Vitals(NamedTuple):
    """`alive` is when the server last said that it lives (0: never), `unfolded_s` the age of the oldest credit that is
    not added up, `proved` the UTC day when the sums were last compared with the ledger. `checks` and `hosting` are
    whether answers are judged and drivers hosted in a sandbox here; None: nobody has said."""

    alive: float
    unfolded_s: float
    proved: str
    checks: bool | None
    hosting: bool | None


class Window(NamedTuple):
    """Computers that were here within the last `seconds`, and their people."""

    seconds: float
    hosts: int
    people: int


def vitals(connection: Connection, now: float) -> Vitals:
    """Return how the parts are."""
    oldest = select(func.min(credit_unfolded.c.entry_id)).scalar_subquery()
    since = connection.execute(select(credit_entry.c.granted).where(credit_entry.c.id == oldest)).scalar()
    proved = recall(connection, recount.PROVED)
    return Vitals(
        alive=float(recall(connection, "alive") or 0), unfolded_s=0.0 if since is None else max(now - since, 0.0),
        proved="" if proved is None else daybook.date_of(int(proved)).isoformat(), checks=_is_on(connection, "checks"),
        hosting=_is_on(connection, REMEMBERED),
    )  # fmt: skip


def windows(connection: Connection, now: float) -> list[Window]:
    """Return who was here within an hour, a day and a week: as counted last, or now if that was long ago."""
    known = recall(connection, KEPT)
    at, found = msgspec.json.decode(known, type=tuple[float, list[Window]]) if known else (0.0, [])
    return found if found and at <= now < at + GOOD_S else count_windows(connection, now)


def count_windows(connection: Connection, now: float) -> list[Window]:
    """Count who was here within an hour, a day and a week; walks all computers of the week."""
    people = func.count(func.distinct(host.c.volunteer_id))
    found = []
    for seconds in (HOUR_S, 24 * HOUR_S, WEEK_DAYS * 24 * HOUR_S):
        row = connection.execute(select(func.count(), people).where(host.c.last_seen > now - seconds)).one()
        found.append(Window(seconds, row[0], row[1]))
    return found


def keep_windows(connection: Connection, found: list[Window], now: float) -> None:
    """Remember what was counted."""
    remember(connection, KEPT, msgspec.json.encode((now, found)).decode())


def granted(connection: Connection) -> tuple[int, int]:
    """Return the credit, in thousandths, of the ledger's last closed day and of its last seven."""
    days = [day.amount_milli for day in daybook.days(connection, WEEK_DAYS)]
    return (days[0] if days else 0), sum(days)


def _is_on(connection: Connection, name: str) -> bool | None:
    said = recall(connection, name)
    return None if said is None else said == "on"
