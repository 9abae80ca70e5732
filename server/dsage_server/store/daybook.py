"""The days of the ledger and the chain of their hashes: whoever has a hash can tell later whether a row was changed.

A row belongs to the day in which it was added up (`ledger_span` says which rows those are). That is not always the UTC
day of its grant: one that is granted just before midnight, or committed late by another process, belongs to the
next. Adding up and closing exclude each other, so a closed day never gets another row, whatever order rows commit in
and whatever clocks say.

The hash of a day is the SHA-256 of lines, each a JSON array without spaces and a line feed: first the day's number, its
date and the hash of the day before ("" before the first), then its rows by id, with the columns named in `COLUMNS`;
times are whole microseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from dsage_server.store.schema import credit_entry, ledger_day, ledger_span

DAY_S: Final = 86400
LOCK: Final = 0x64736167650002
"""PostgreSQL's number for the lock that adding up shares and closing a day has alone."""
COLUMNS: Final = (
    "id", "kind", "replica_id", "volunteer_id", "team_id", "host_id", "app", "project", "run_id", "amount_milli",
    "granted", "reverses", "reason", "actor", "house",
)  # fmt: skip
SPAN: Final = ("number", "first_id", "last_id")
FETCHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Day:
    """A closed day as the rows tell it: how many there are, their sum in thousandths, and the chained hash."""

    number: int
    day: int
    entries: int
    amount_milli: int
    hash: str


def date_of(day: int) -> date:
    """Return the date of a UTC day, counted from 1970; the last that there is for later ones."""
    return datetime.fromtimestamp(min(day * DAY_S, 253_402_214_400), UTC).date()


def open_number(connection: Connection) -> int:
    """Return the number of the open day, which stays open until this transaction ends."""
    _hold(connection, "pg_advisory_xact_lock_shared")
    return _open(connection)


def spans(number: int, ids: Iterable[int]) -> list[tuple[int, int, int]]:
    """Return rows that are added up in a day, by ascending ids, as rows of `ledger_span`."""
    found: list[tuple[int, int, int]] = []
    for _, several in groupby(enumerate(ids), lambda each: each[1] - each[0]):
        run = [entry for _, entry in several]
        found.append((number, run[0], run[-1]))
    return found


def close(connection: Connection, now: float) -> int | None:
    """Close the open day if the UTC day in which the last one was closed is over; return its number if it was.

    The first is closed at the first call, with what was added up before. If the clock was wrong, dates may repeat or
    go back; numbers never do.
    """
    _hold(connection, "pg_advisory_xact_lock")
    number, ended = _open(connection), int(now // DAY_S) - 1
    if connection.execute(select(ledger_day.c.day).where(ledger_day.c.number == number - 1)).scalar() == ended:
        return None
    connection.execute(insert(ledger_day).values(number=number, day=ended, closed=now))
    return number


def unhashed(connection: Connection) -> Day | None:
    """Return the first closed day without a hash, with its hash; None if each has one."""
    query = select(ledger_day.c.number, ledger_day.c.day).where(ledger_day.c.hash.is_(None))
    row = connection.execute(query.order_by(ledger_day.c.number).limit(1)).first()
    return None if row is None else computed(connection, row.number, row.day, _before(connection, row.number))


def keep(connection: Connection, day: Day) -> None:
    """Keep a day's hash, if it has none yet: what was published stays."""
    values = {"entries": day.entries, "amount_milli": day.amount_milli, "hash": day.hash}
    unset = (ledger_day.c.number == day.number) & ledger_day.c.hash.is_(None)
    connection.execute(update(ledger_day).where(unset).values(**values))


def computed(connection: Connection, number: int, day: int, before: str) -> Day:
    """Return a closed day with the hash that its rows have now, after the hash `before`."""
    digest = hashlib.sha256(line((number, date_of(day).isoformat(), before)))
    entries = amount = after = 0
    while rows := connection.execute(_ROWS, {"page": number, "after": after}).all():
        digest.update(b"".join(map(row_line, rows)))
        entries += len(rows)
        amount += sum(row.amount_milli for row in rows)
        after = rows[-1].id
    return Day(number, day, entries, amount, digest.hexdigest())


def first_changed(connection: Connection) -> tuple[Any, Day] | None:
    """Return the first closed day that is not what its hash says, as kept and as it is now; None if all are."""
    before = ""
    for kept in connection.execute(select(ledger_day).order_by(ledger_day.c.number)).all():
        if kept.hash is None:
            break
        now = computed(connection, kept.number, kept.day, before)
        if (now.hash, now.entries, now.amount_milli) != (kept.hash, kept.entries, kept.amount_milli):
            return kept, now
        before = kept.hash
    return None


def days(connection: Connection, most: int) -> list[Day]:
    """Return the newest closed days that have a hash, newest first."""
    query = select(ledger_day).where(ledger_day.c.hash.is_not(None)).order_by(ledger_day.c.number.desc()).limit(most)
    return [
        Day(row.number, row.day, row.entries, row.amount_milli, row.hash) for row in connection.execute(query).all()
    ]


def row_line(row: Any) -> bytes:
    """Return a row, whose columns are `COLUMNS` in their order, as it is hashed."""
    values = list(row)
    values[10] = round(values[10] * 1_000_000)
    return line(values)


def line(values: Iterable[Any]) -> bytes:
    """Return values as a line of the text that is hashed."""
    return msgspec.json.encode(list(values)) + b"\n"


def _open(connection: Connection) -> int:
    return int(connection.execute(_OPEN).scalar_one())


def _before(connection: Connection, number: int) -> str:
    found = connection.execute(select(ledger_day.c.hash).where(ledger_day.c.number == number - 1)).scalar()
    return found or ""


def _hold(connection: Connection, how: str) -> None:
    """Hold the lock until the transaction ends; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT {how}(:lock)"), {"lock": LOCK})


_OPEN = select(func.coalesce(func.max(ledger_day.c.number), 0) + 1)
_ROWS = (
    select(*[credit_entry.c[name] for name in COLUMNS])
    .join_from(ledger_span, credit_entry, credit_entry.c.id.between(ledger_span.c.first_id, ledger_span.c.last_id))
    .where(
        ledger_span.c.number == bindparam("page"),
        ledger_span.c.last_id > bindparam("after"),
        credit_entry.c.id > bindparam("after"),
    )
    .order_by(credit_entry.c.id)
    .limit(FETCHED)
)
