"""Every row that belongs to a run, a few hundred units at a time, with the signatures that let anybody check them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Table, select

from dsage_server.retention.files import Row
from dsage_server.store.bulk import chunks
from dsage_server.store.schema import (
    answer,
    batch,
    credit_entry,
    document,
    event,
    printed,
    proof,
    replica,
    run,
    signed_unit,
    tally,
    unit,
)

TABLES: Final = (run, document, tally, batch, proof, unit, signed_unit, replica, answer, printed, credit_entry, event)
"""What the file of a run has rows of."""
FETCHED: Final = 500
"""Units, ledger rows or events read at a time."""

T = TypeVar("T")


class Read(Protocol):
    """Runs one query and returns what it returns, as `Store.read_now` does."""

    def __call__(self, query: Callable[[Connection], T], /) -> T:
        """Run the query."""


@dataclass(slots=True)
class _Place:
    """How far the units of a run have been told; units are told by key, because there is an index of those."""

    key: str | None = None
    batches: set[int] = field(default_factory=set)
    proofs: set[int] = field(default_factory=set)


def rows(read: Read, number: int, large: Callable[[str], bytes]) -> Iterator[Row]:
    """Yield all rows of a run. Each part is a query of its own, so the run must be settled.

    `large` returns an answer that is kept as a blob: it stands in its row here, like the others.
    """
    yield from read(lambda c: _head(c, number))
    place = _Place()
    while part := read(lambda c: _units(c, number, place)):
        for name, row in part:
            yield name, row if not row.get("blob") else row | {"value": large(row["blob"])}
    for table in (credit_entry, event):
        last = 0
        while page := read(functools.partial(_page, table=table, number=number, after=last)):
            yield from ((str(table.name), row) for row in page)
            last = page[-1]["id"]


def _head(connection: Connection, number: int) -> list[Row]:
    (row,) = _all(connection, select(run).where(run.c.id == number))
    found: list[Row] = [("run", row)]
    documents = select(document).where(document.c.hash.in_([row["app"], row["authorisation"]]))
    found += [("document", each) for each in _all(connection, documents)]
    return found + [("tally", each) for each in _all(connection, select(tally).where(tally.c.run_id == number))]


def _units(connection: Connection, number: int, place: _Place) -> list[Row]:
    """Return the next units with their copies and answers, after the signatures over them that were not told yet."""
    query = select(unit).where(unit.c.run_id == number).order_by(unit.c.key).limit(FETCHED)
    units = _all(connection, query if place.key is None else query.where(unit.c.key > place.key))
    if not units:
        return []
    place.key = units[-1]["key"]
    copies = _in(connection, replica, "unit_id", {each["id"] for each in units})
    answers = _in(connection, answer, "replica_id", {each["id"] for each in copies})
    words = _in(connection, printed, "replica_id", {each["id"] for each in copies})
    leaves = _in(connection, signed_unit, "unit_id", {each["id"] for each in units})
    batches = {each["batch_id"] for each in leaves} - place.batches
    proofs = {each["proof_id"] for each in copies if each["proof_id"] is not None} - place.proofs
    place.batches |= batches
    place.proofs |= proofs
    signed = [("batch", each) for each in _in(connection, batch, "id", batches)]
    signed += [("proof", each) for each in _in(connection, proof, "id", proofs)]
    found = [("unit", each) for each in units] + [("signed_unit", each) for each in leaves]
    found += [("replica", each) for each in copies] + [("answer", each) for each in answers]
    return signed + found + [("printed", each) for each in words]


def _page(connection: Connection, table: Table, number: int, after: int) -> list[dict[str, Any]]:
    query = select(table).where(table.c.run_id == number, table.c.id > after).order_by(table.c.id).limit(FETCHED)
    return _all(connection, query)


def _in(connection: Connection, table: Table, column: str, numbers: set[int]) -> list[dict[str, Any]]:
    return [row for part in chunks(numbers) for row in _all(connection, select(table).where(table.c[column].in_(part)))]


def _all(connection: Connection, query: Any) -> list[dict[str, Any]]:
    result = connection.execute(query)
    names = [str(name) for name in result.keys()]  # noqa: SIM118 - a result is no dict
    return [dict(zip(names, row, strict=True)) for row in result]
