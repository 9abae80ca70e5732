"""Many rows in one statement: inserts and guarded updates, as each database likes them best.

SQLite inserts some dozens of rows by one statement, and runs another for each row that changes without leaving C;
PostgreSQL gets arrays, one a column, and makes rows of them, so that a thousand rows are one message. The texts are
made once for each table and set of columns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, bindparam, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from dsage.errors import Conflict

LOAD_CHUNK: Final = 500
"""Numbers per IN list where a statement has one: below SQLite's limit on bound variables."""
TOGETHER: Final = 64
"""Rows that one statement of SQLite's inserts at most; it has a text for each power of two up to here. Where a trigger
stands behind a table SQLite copies the pages that each statement touches: of one row a statement that was the most."""
_TYPES = postgresql.dialect()  # type: ignore[no-untyped-call]


class _each_number(GenericFunction[int]):
    """The numbers in one bound list, as rows."""

    inherit_cache = True
    name = "each_number"


@compiles(_each_number, "sqlite")
def _from_json(element: Any, compiler: Any, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"


@compiles(_each_number, "postgresql")
def _from_array(element: Any, compiler: Any, **options: Any) -> str:
    return f"(SELECT unnest(CAST({compiler.process(element.clauses, **options)} AS bigint[])))"


def among_ids(column: Any, name: str = "ids") -> Any:
    """Return the condition that `column` is one of the numbers bound to `name` (by `numbers`): one fixed statement,
    however many there are."""
    return column.op("IN", is_comparison=True)(_each_number(bindparam(name)))


def numbers(connection: Connection, ids: Iterable[int]) -> Any:
    """Return ids as a value to bind for `among_ids`."""
    listed = ",".join(map(str, sorted(set(ids))))
    return f"{{{listed}}}" if connection.dialect.name == "postgresql" else f"[{listed}]"


def known_keys(connection: Connection, run: int, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that units of a run have: one probe of the index each, whatever else the run holds."""
    shared = connection.dialect.name == "postgresql"
    rows = connection.execute(
        _KNOWN_POSTGRESQL if shared else _KNOWN_SQLITE,
        {"run": run, "keys": list(keys) if shared else msgspec.json.encode(keys).decode()},
    )
    return set(rows.scalars())


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows: each a tuple of the values of `columns`."""
    if rows and connection.dialect.name == "postgresql":
        _execute(connection, _insert_text("postgresql", table, columns), rows)
        return
    done = 0
    while done < len(rows):
        count = min(TOGETHER, 1 << ((len(rows) - done).bit_length() - 1))
        values = tuple(chain.from_iterable(rows[done : done + count]))
        connection.exec_driver_sql(_insert_text("sqlite", table, columns, count), values)
        done += count


def add_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], *,
    keys: tuple[str, ...], once: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Add numbers to the rows of these keys, and insert those that are not there: each a tuple of the values of
    `columns`. Columns named in `once` keep what they have."""
    if rows:
        _execute(connection, _add_text(connection.dialect.name, table, columns, keys, once), rows)


def put_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], *,
    keys: tuple[str, ...],
) -> None:  # fmt: skip
    """Insert rows, or put them in the place of those of the same keys: each a tuple of the values of `columns`."""
    if rows:
        _execute(connection, _put_text(connection.dialect.name, table, columns, keys), rows)


def update_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], *,
    guard: str | None = None, once: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Update rows by id: each a tuple of the values of `columns`, the id, and what `guard` must still be.

    Columns named in `once` keep what they have. Raises Conflict unless every row was found as it had been loaded.
    """
    if not rows:
        return
    statement = _update_text(connection.dialect.name, table, columns, guard, once)
    if _execute(connection, statement, rows) != len(rows):
        raise Conflict("a unit or one of its copies was changed by somebody else in between")


def _execute(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    if connection.dialect.name == "postgresql":
        arrays = tuple(_array(column) for column in zip(*rows, strict=True))
        return connection.exec_driver_sql(statement, arrays).rowcount
    return connection.exec_driver_sql(statement, list(rows)).rowcount


_PROBE = "(SELECT 1 FROM unit WHERE unit.run_id = :run AND unit.key = asked.key LIMIT 1) IS NOT NULL"
_KNOWN_SQLITE = text(f"SELECT asked.key FROM (SELECT value AS key FROM json_each(:keys)) AS asked WHERE {_PROBE}")
_KNOWN_POSTGRESQL = text(f"SELECT asked.key FROM unnest(CAST(:keys AS varchar[])) AS asked(key) WHERE {_PROBE}")


def _array(column: Iterable[Any]) -> str:
    """Return values as the text of an array: much quicker than to have the driver dump one after the other."""
    return f"{{{','.join([_element(value) for value in column])}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.translate(_QUOTED) + '"'
    if isinstance(value, bytes):
        return '"' + r"\\x" + value.hex() + '"'
    return str(value)


_QUOTED = str.maketrans({'"': r"\"", "\\": r"\\", "\0": "\ufffd"})
"""What must be escaped inside an array's text; a NUL, which PostgreSQL has no place for, is replaced."""


@functools.cache
def _insert_text(dialect: str, table: Table, columns: tuple[str, ...], count: int = 1) -> str:
    names = ", ".join(columns)
    if dialect == "postgresql":
        return f"INSERT INTO {table.name} ({names}) SELECT * FROM {_arrays(table, columns)}"
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * count)}"


@functools.cache
def _add_text(
    dialect: str, table: Table, columns: tuple[str, ...], keys: tuple[str, ...], once: tuple[str, ...]
) -> str:
    added = [name for name in columns if name not in (*keys, *once)]
    changes = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in added)
    inserted = _insert_text(dialect, table, columns)
    return f"{inserted} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"


@functools.cache
def _put_text(dialect: str, table: Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    return f"{_insert_text(dialect, table, columns)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"


@functools.cache
def _update_text(dialect: str, table: Table, columns: tuple[str, ...], guard: str | None, once: tuple[str, ...]) -> str:
    keys = ("id", *((guard,) if guard else ()))
    if dialect == "postgresql":
        given = {name: f"v.{name}" for name in columns}
        rows = f"{_arrays(table, columns + keys)} AS v({', '.join(columns)}, {', '.join(f'k_{key}' for key in keys)})"
        source, where = f" FROM {rows}", " AND ".join(f"t.{key} = v.k_{key}" for key in keys)
        target = f"{table.name} AS t"
        kept = {name: f"COALESCE(t.{name}, v.{name})" for name in once}
    else:
        given = dict.fromkeys(columns, "?")
        source, where, target = "", " AND ".join(f"{key} = ?" for key in keys), table.name
        kept = {name: f"COALESCE({name}, ?)" for name in once}
    changes = ", ".join(f"{name} = {value}" for name, value in (given | kept).items())
    return f"UPDATE {target} SET {changes}{source} WHERE {where}"


def _arrays(table: Table, columns: Sequence[str]) -> str:
    kinds = [table.c[name].type.compile(_TYPES) for name in columns]
    return f"unnest({', '.join(f'%s::{kind}[]' for kind in kinds)})"


def chunks(wanted: Iterable[int]) -> Iterable[list[int]]:
    """Split a collection of ids into IN lists."""
    ordered = sorted(set(wanted))
    for start in range(0, len(ordered), LOAD_CHUNK):
        yield ordered[start : start + LOAD_CHUNK]
