"""A stopped server's SQLite database moves to PostgreSQL: every row, compared afterwards, in one transaction.

What was done is all there or not at all, so whoever is interrupted begins again; and if only the last word was missing
(the folder did not know its new store yet), the same command finds equal databases and says it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, LargeBinary, String, Table, func, select
from sqlalchemy.dialects import postgresql as dialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from dsage.errors import Conflict, NotFound, ServerAway
from dsage_server.locking import only_one
from dsage_server.store.engine import Store
from dsage_server.store.migrate import upgrade
from dsage_server.store.place import DATABASE, MOVED, parse, place_of, remember, shown
from dsage_server.store.schema import credit_entry, metadata

ROWS: Final = 20_000
"""Rows of one COPY: foreign keys are checked at its end, from memory."""
_SUMS: Final = 1 << 128

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Contents:
    """How many rows a table has, and the sum of their hashes, which their order does not change."""

    rows: int
    sum: int


def migrate_store(folder: Path, url: str, progress: Progress) -> dict[str, int]:
    """Move the database of the server in `folder` to PostgreSQL and let the folder remember it; return the rows by
    table. The SQLite file stays under another name.

    Raises Conflict if a server runs or the database there is not empty, NotFound if there is no server, ServerAway if
    the database does not answer.
    """
    url = parse(url).render_as_string(hide_password=False)
    source = folder / DATABASE
    if not source.exists():
        hint = f"Its data are in {shown(place_of(folder))}." if place_of(folder) != source else "Set DSAGE_HOME."
        raise NotFound(f"there is no SQLite database in {folder}", hint=hint)
    with only_one(folder):
        upgrade(source)
        upgrade(url)
        rows = _moved(source, url, progress)
        remember(folder, url)
        source.rename(folder / MOVED)
    return rows


def _moved(source: Path, url: str, progress: Progress) -> dict[str, int]:
    from dsage_server.store.postgresql import engine

    old, new = Store(source), engine(make_url(url), write=True)
    try:
        with old.reading() as before, new.begin() as after:
            found = {table.name: _contents(before, table) for table in metadata.sorted_tables}
            for table in metadata.sorted_tables:
                after.exec_driver_sql(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
            if any(after.execute(select(table).limit(1)).first() for table in metadata.sorted_tables):
                progress("The database there has rows already: they are compared with those here.")
            else:
                after.exec_driver_sql(f"ALTER TABLE {credit_entry.name} DISABLE TRIGGER USER")
                for table in metadata.sorted_tables:
                    progress(f"{table.name}: {found[table.name].rows} rows")
                    _copy(before, after, table)
                set_sequences(after)
            _compare(after, found, url)
            return {name: contents.rows for name, contents in found.items()}
    except IntegrityError as error:
        raise Conflict(
            f"a row does not fit: {str(error.orig).strip()}", hint="Nothing was moved; the server goes on with SQLite."
        ) from error
    except OperationalError as error:
        raise ServerAway(
            f"the database broke off: {str(error.orig).strip()}", hint="Nothing was moved. Run the command again."
        ) from error
    finally:
        old.close()
        new.dispose()


def _rows(connection: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Yield rows as both databases can hold them."""
    texts = [index for index, column in enumerate(table.columns) if isinstance(column.type, String)]
    for row in connection.execute(select(table).execution_options(yield_per=ROWS)):
        if any("\0" in (row[index] or "") for index in texts):
            yield [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row]
        else:
            yield row


def _contents(connection: Connection, table: Table) -> Contents:
    count = total = 0
    for row in _rows(connection, table):
        count += 1
        packed = msgspec.msgpack.encode(list(row))
        total += int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest())
    return Contents(count, total % _SUMS)


def _copy(before: Connection, after: Connection, table: Table) -> None:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    types = [_type(column.type) for column in table.columns]
    rows = _rows(before, table)
    raw: Any = after.connection.dbapi_connection
    while part := list(islice(rows, ROWS)):
        with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in part:
                copy.write_row(row)


def _type(kind: Any) -> str:
    if isinstance(kind, LargeBinary):
        return "bytea"
    words = kind.compile(dialect.dialect())  # type: ignore[no-untyped-call]
    return {"FLOAT": "float8"}.get(words, str(words).lower())


def set_sequences(connection: Connection) -> None:
    """Let the database number on from the highest id of each table that it numbers itself."""
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            highest = connection.execute(select(func.max(column))).scalar()
            name = func.pg_get_serial_sequence(table.name, column.name)
            if highest and connection.execute(select(name)).scalar():
                connection.execute(select(func.setval(name, highest)))


def _compare(after: Connection, found: dict[str, Contents], url: str) -> None:
    wrong = [table.name for table in metadata.sorted_tables if _contents(after, table) != found[table.name]]
    if wrong:
        raise Conflict(
            f"{shown(url)} is not empty, or does not give back what was written: {', '.join(wrong)}",
            hint="Nothing was moved. Name an empty database: createdb NAME.",
        )
