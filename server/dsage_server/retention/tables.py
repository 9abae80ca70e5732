"""Every row of a database as records, and back: streamed, in one consistent view, whatever the engine and revision.

The tables are read as the database describes them, not as this program would make them, so that a backup of an
older revision can be put back by a newer program, which then upgrades it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, delete, insert, select, text

from dsage.trust.sealed import Damaged
from dsage_server.retention.contents import Rows

VERSIONS: Final = "alembic_version"
ROWS: Final = 500
"""Rows of one record, and fetched at a time."""
RECORD_BYTES: Final = 4 << 20
"""A record is closed once its texts and bytes are this long; one row alone may be longer."""


def revision(connection: Connection) -> str:
    """Return the revision of the schema."""
    return str(connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar_one())


def dump(connection: Connection) -> Iterator[Rows]:
    """Yield every row of every table, referenced tables first. The caller's transaction is the view."""
    for table in _tables(connection):
        columns = [str(column.name) for column in table.columns]
        query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=ROWS)
        rows: list[list[Any]] = []
        size = 0
        for row in connection.execute(query):
            rows.append(list(row))
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if len(rows) == ROWS or size >= RECORD_BYTES:
                yield Rows(table=str(table.name), columns=columns, rows=rows)
                rows, size = [], 0
        if rows:
            yield Rows(table=str(table.name), columns=columns, rows=rows)


class Loader:
    """Puts rows into the tables of an empty database of the same revision."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tables = {str(table.name): table for table in _tables(connection)}
        for table in reversed(self._tables.values()):
            connection.execute(delete(table))

    def put(self, rows: Rows) -> None:
        """Insert. Raises Damaged for a table or column that the revision does not have."""
        table = self._tables.get(rows.table)
        if table is None or not set(rows.columns) <= set(table.columns.keys()):
            raise Damaged(f"its table {rows.table} does not fit the revision that it names")
        self._connection.execute(insert(table), [dict(zip(rows.columns, row, strict=True)) for row in rows.rows])


def _tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != VERSIONS]
