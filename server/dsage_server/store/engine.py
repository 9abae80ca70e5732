"""The database as the rest of the server sees it: group commit for writes, separate connections for pages.

Every change is a function of a connection. The changes that arrive in one turn of the event loop share one
transaction, each in its own savepoint, and each caller goes on only after the commit: that is what lets an
acknowledged result survive a kill at any moment, at the price of one disk flush for many requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from dsage.errors import Busy, DSageError, StorageFull

T = TypeVar("T")
Change = Callable[[Connection], Any]


class Store:
    """An open database. `write` and `read` are for coroutines of one event loop; `close` ends both."""

    def __init__(self, path: Path) -> None:
        self._writer = _engine(path, begin="BEGIN IMMEDIATE")
        self._reader = _engine(path, begin="BEGIN")
        self._connection = self._writer.connect()
        self._pending: list[tuple[Change, Callable[[Any], None] | None, asyncio.Future[Any]]] = []
        self.commits = 0

    async def write(self, change: Callable[[Connection], T], then: Callable[[T], None] | None = None) -> T:
        """Run `change` in the next group commit and return its value once that is durable.

        `then` gets the value first, in the order of commits, even if the caller has gone by that time. An error
        raised by the change undoes this change alone; a caller that goes before the commit takes its change
        along. Raises StorageFull when the disk has no room, Busy when somebody else holds the database.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._flush)
        self._pending.append((change, then, future))
        return await future

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a read-only query off the event loop, on a connection of its own."""
        return await asyncio.to_thread(self._read, query)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._reader.connect() as connection:
            return query(connection)

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """Run one change in a transaction of its own, at once: for start-up and the command line."""
        with self._connection.begin():
            return change(self._connection)

    def close(self) -> None:
        """Flush what waits and close every connection."""
        if self._pending:
            self._flush()
        self._connection.close()
        self._writer.dispose()
        self._reader.dispose()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        group = [entry for entry in pending if not entry[2].done()]
        if not group:
            return
        outcomes: list[tuple[Any, BaseException | None]] = []
        try:
            with self._connection.begin():
                outcomes += [self._attempt(change) for change, _, _ in group]
        except SQLAlchemyError as error:
            self._undo()
            outcomes = [(None, _storage_error(error))] * len(group)
        self.commits += 1
        for (_, then, future), (value, failed) in zip(group, outcomes, strict=True):
            if failed is not None:
                future.set_exception(failed)
                continue
            if then is not None:
                future.get_loop().call_soon(then, value)
            future.set_result(value)

    def _undo(self) -> None:
        """Leave no transaction behind: after a COMMIT that failed SQLite may still be in it, unlike SQLAlchemy."""
        raw = None if self._connection.closed else self._connection.connection.dbapi_connection
        if raw is not None and getattr(raw, "in_transaction", False):
            raw.rollback()

    def _attempt(self, change: Change) -> tuple[Any, BaseException | None]:
        savepoint = self._connection.begin_nested()
        try:
            value = change(self._connection)
        except OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the one caller whose change this was
            savepoint.rollback()
            return None, error
        savepoint.commit()
        return value, None


def _engine(path: Path, *, begin: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 15, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _storage_error(error: SQLAlchemyError) -> DSageError:
    text = str(getattr(error, "orig", None) or error)
    if "full" in text or "disk I/O" in text:
        return StorageFull(f"the server's disk has no room ({text})")
    return Busy(f"the database did not take this: {text}")
