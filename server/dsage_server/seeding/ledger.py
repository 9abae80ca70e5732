"""The ledger of a made-up world, written day by day: rows, the sums that follow from them, and the chained hashes.

A server's projector would read every row again to add it up. Here rows come by the computer and day, and are added up
as they are written; `store.recount` and `store.daybook`, which share no code with this, prove that the sums are those
of the rows and the hashes those of the days.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, insert

from dsage_server.seeding.people import DAY_S, Machine
from dsage_server.store import credit, daybook
from dsage_server.store.bulk import insert_rows
from dsage_server.store.schema import (
    credit_app,
    credit_daily,
    credit_entry,
    credit_host,
    credit_sum,
    credit_team,
    credit_team_daily,
    ledger_day,
    ledger_span,
    run_credit,
)
from dsage_server.store.tallies import add_up

KEPT: Final = 600_000
"""Sums that are kept at hand before they are written: more would be memory, fewer the same rows again and again."""


NOTED: Final = "credit_entry_noted"
"""The trigger that notes each new row of the ledger."""


@dataclass(frozen=True, slots=True)
class Work:
    """What grants are for: a run, and what else a row says of it."""

    run: int
    project: str
    app: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Copies of one computer that were found valid together, each worth the same."""

    at: float
    machine: Machine
    work: Work
    copies: range
    amount_milli: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A grant's row, for who takes it back."""

    id: int
    grant: Grant
    copy: int
    team: int | None


class Ledger:
    """Open days, one after the other; `entries` and `amount_milli` are of all rows so far."""

    def __init__(self) -> None:
        self.entries = 0
        self.amount_milli = 0
        self._number, self._hash = 1, ""
        self._rows: list[tuple[Any, ...]] = []
        self._sums: dict[Table, credit.Sums] = {}
        self._runs: Counter[tuple[int, str]] = Counter()
        self._kept = 0

    def grant(self, given: Grant) -> Entry:
        """Write the rows of a grant; return the first."""
        who, work, at = given.machine, given.work, given.at
        team = who.owner.team_at(at)
        first = self.entries + 1
        self._rows += [
            (first + n, "grant", copy, who.owner.id, team, who.id, work.app, work.project, work.run,
             given.amount_milli, at, None, "", "", False)
            for n, copy in enumerate(given.copies)
        ]  # fmt: skip
        self.entries += len(given.copies)
        entry = Entry(first, given, given.copies.start, team)
        self._add(entry, given.amount_milli * len(given.copies), len(given.copies))
        return entry

    def take_back(self, entry: Entry, at: float, reason: str, actor: str) -> None:
        """Write the row that takes back the first row of a grant."""
        who, work, amount = entry.grant.machine, entry.grant.work, -entry.grant.amount_milli
        self.entries += 1
        self._rows.append(
            (self.entries, "reversal", entry.copy, who.owner.id, entry.team, who.id, work.app, work.project, work.run,
             amount, at, entry.id, reason, actor, False)
        )  # fmt: skip
        self._add(entry, amount, -1)

    def correct(self, person: int, amount_milli: int, at: float, reason: str, actor: str) -> None:
        """Write a row that belongs to no copy."""
        self.entries += 1
        self._rows.append(
            (self.entries, "manual", None, person, None, None, "", "", None, amount_milli, at, None, reason, actor,
             False)
        )  # fmt: skip
        score = amount_milli * credit.weight(at) / 1000
        self.amount_milli += amount_milli
        self._put(credit_sum, (person,), amount_milli, 0, score)
        self._put(credit_daily, (person, int(at // DAY_S), ""), amount_milli, 0)
        self._put(credit_app, ("",), amount_milli, 0, score)

    def write(self, connection: Connection, *, last: bool = False) -> None:
        """Write the rows that were made since the last time, and sums if there are many or it is the `last` time."""
        if self._rows:
            with _unnoted(connection):
                insert_rows(connection, credit_entry, daybook.COLUMNS, self._rows)
            span = (self._number, self._rows[0][0], self._rows[-1][0])
            insert_rows(connection, ledger_span, daybook.SPAN, [span])
            self._rows = []
        if self._kept >= KEPT or last:
            credit.add(connection, self._sums)
            add_up(connection, self._runs)
            self._sums, self._runs, self._kept = {}, Counter(), 0

    def close(self, connection: Connection, day: int, closed: float) -> None:
        """Write the open day's rows and close it: `day` is its UTC day."""
        rows, self._hash = self._rows, _hashed(self._number, day, self._hash, self._rows)
        self.write(connection)
        connection.execute(
            insert(ledger_day).values(
                number=self._number, day=day, closed=closed, entries=len(rows),
                amount_milli=sum(row[9] for row in rows), hash=self._hash,
            )
        )  # fmt: skip
        self._number += 1

    def _add(self, entry: Entry, amount: int, valid: int) -> None:
        given, person = entry.grant, entry.grant.machine.owner.id
        score = amount * credit.weight(given.at) / 1000
        self.amount_milli += amount
        self._put(credit_sum, (person,), amount, valid, score)
        self._put(credit_daily, (person, int(given.at // DAY_S), given.work.app), amount, valid)
        self._put(credit_app, (given.work.app,), amount, valid, score)
        self._put(credit_host, (given.machine.id,), amount, valid, score)
        if entry.team is not None:
            self._put(credit_team, (entry.team,), amount, valid, score)
            self._put(credit_team_daily, (entry.team, int(given.at // DAY_S)), amount, valid)
        self._put(run_credit, (given.work.run, person), amount, valid)
        self._runs[given.work.run, "credit"] += amount

    def _put(self, table: Table, key: tuple[Any, ...], amount: int, valid: int, *score: float) -> None:
        sums = self._sums.setdefault(table, {})
        kept = sums.get(key)
        if kept is None:
            sums[key] = [amount, valid, *score]
            self._kept += 1
            return
        kept[0] += amount
        kept[1] += valid
        if score:
            kept[2] += score[0]


@contextmanager
def _unnoted(connection: Connection) -> Iterator[None]:
    """Let the database not note that rows are still to be added up, until the end of the block: that takes as long as
    the rows themselves. Whoever breaks off leaves all as it was, in one transaction."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE credit_entry DISABLE TRIGGER {NOTED}")
        yield
        connection.exec_driver_sql(f"ALTER TABLE credit_entry ENABLE TRIGGER {NOTED}")
        return
    known = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?", (NOTED,))
    made = known.scalar()
    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {NOTED}")
    yield
    if made is not None:
        connection.exec_driver_sql(made)


def _hashed(number: int, day: int, before: str, rows: Iterable[tuple[Any, ...]]) -> str:
    head = daybook.line((number, daybook.date_of(day).isoformat(), before))
    return hashlib.sha256(head + b"".join([daybook.row_line(row) for row in rows])).hexdigest()
