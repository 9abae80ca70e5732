"""The database as the rest of the server sees it: group commit for writes, separate connections for pages.

Every change is a function of a connection. The changes that arrive in one turn of the event loop share one
transaction, and each caller goes on only after the commit: that is what lets an acknowledged result survive a kill at
any moment, at the price of one disk flush for many requests. Changes of the same kind may be applied together
(`Kind`); the others run one by one, each in its own savepoint.

SQLite runs in the event loop's thread: its work is short, and a thread would only pass the interpreter's lock to and
fro. PostgreSQL has a thread that waits for it; meanwhile the next group gathers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError

from dsage.errors import Busy, DSageError, StorageFull
from dsage_server.store.ids import Ids
from dsage_server.store.locks import Locks

log = logging.getLogger(__name__)

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item
O = TypeVar("O")  # noqa: E741 - an outcome
Change = Callable[[Connection], Any]

READERS: Final = 8
"""Queries that run at a time."""
RETRIES: Final = 5
"""Times that a transaction is begun again because another process's was in its way."""
_LOG: Final = "wal_autocheckpoint=16000"
"""Pages of SQLite's log, 64 MB, after which a commit moves them into the file itself: `write_back` comes before."""
_KEPT: Final = ("cache_size=-32000", "temp_store=MEMORY")
"""Memory of whoever writes with SQLite: 32 MB of pages, for a commit of hundreds of copies touches more than the usual
2 MB, and what a change may have to undo, which would be a file."""
PART_S: Final = 0.005
"""Before it is begun again a transaction waits a time drawn from 0 to this, doubled each time: two that were in each
other's way would be so again if both began at once."""
_RACES: Final = frozenset({"40001", "40P01", "23505"})
"""PostgreSQL's codes for transactions that lost a race and may be repeated: each in the way of the other, or one was
quicker to insert what both wanted to; who looks again finds it."""
_DISK_FULL: Final = "53100"


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[I, O]):
    """Changes that are applied together: `apply` gets all items of a group and returns an outcome (or the error) for
    each; `then` learns, after the commit and before the callers, of everything that was applied."""

    apply: Callable[[Connection, Sequence[I]], tuple[Sequence[O | Exception], Any]]
    then: Callable[[Any], None]


@dataclass(slots=True)
class _Group:
    """What waits for the next commit."""

    changes: list[tuple[Change, Callable[[Any], None] | None, asyncio.Future[Any]]]
    items: dict[Kind[Any, Any], list[tuple[Any, asyncio.Future[Any]]]]

    def __len__(self) -> int:
        return len(self.changes) + sum(len(items) for items in self.items.values())


@dataclass(frozen=True, slots=True)
class _Done:
    """The value or error of each change and item, and who is to be told of what."""

    outcomes: list[tuple[Any, BaseException | None]]
    told: list[tuple[Callable[[Any], None], Any]]


class Store:
    """An open database. `write`, `join` and `read` are for coroutines of one event loop; `close` ends them.

    `slot` numbers the server processes that share the database.
    """

    def __init__(self, where: Path | str, *, slot: int = 0) -> None:
        self.url = make_url(f"sqlite:///{where}" if isinstance(where, Path) else where)
        self.shared = self.url.get_backend_name() == "postgresql"
        self.slot = slot
        self.commits = 0
        self.told: Callable[[int], None] | None = None
        """Who hears how many changes shared each commit."""
        self.trouble = ""
        """Why the latest group was not committed; nothing if it was."""
        self._ids = Ids()
        self._writer = _engine(self.url, write=True)
        self._reader = _engine(self.url, write=False)
        self.locks = Locks(self._reader)
        self._thread = ThreadPoolExecutor(1, "store") if self.shared else None
        self._readers = ThreadPoolExecutor(READERS, "reads")
        self._connection: Connection | None = None
        self._waiting = _Group([], {})
        self._busy = False
        self._lock = threading.Lock()

    async def write(self, change: Callable[[Connection], T], then: Callable[[T], None] | None = None) -> T:
        """Run `change` in the next group commit and return its value once that is durable.

        `then` gets the value first, in the order of commits, even if the caller has gone by that time. An error
        raised by the change undoes this change alone; a caller that goes before the commit takes its change
        along. Raises StorageFull when the disk has no room, Busy when the database is away or somebody else holds it.
        """
        future: asyncio.Future[T] = self._soon()
        self._waiting.changes.append((change, then, future))
        return await future

    async def join(self, kind: Kind[I, O], item: I) -> O:
        """Apply an item with the others of its kind in the next group commit; otherwise as `write`."""
        future: asyncio.Future[O] = self._soon()
        self._waiting.items.setdefault(kind, []).append((item, future))
        return await future

    @property
    def waiting(self) -> int:
        """How many changes wait for the next commit."""
        return len(self._waiting)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a read-only query off the event loop, on a connection of its own. Raises Busy if the database is away."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, query)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """Run a read-only query in this thread."""
        with self.reading() as connection:
            return query(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Look at one moment of the database; others go on writing. Raises Busy if the database is away."""
        try:
            with self._reader.connect() as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            if self._away(error):
                raise _storage_error(error) from error
            raise

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """Run one change in a transaction of its own, at once: for start-up and the command line. Raises Busy if the
        database is away."""
        try:
            return self._transaction(change)
        except DBAPIError as error:
            if self._away(error):
                raise _storage_error(error) from error
            raise

    def write_back(self) -> None:
        """Move what SQLite has logged into its file, while others go on: what waits for a log is its next commit.
        Raises StorageFull."""
        if self.shared:
            return
        with self._reader.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            try:
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except connection.dialect.loaded_dbapi.Error as error:
                raise StorageFull(f"the log of the database cannot be written back ({error})") from error

    def close(self) -> None:
        """Flush what waits, let reads end, and close every connection."""
        self._readers.shutdown()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        group, self._waiting = self._waiting, _Group([], {})
        if group:
            self._settle(group, self._commit(group))
        if self._connection is not None:
            self._connection.close()
        self.locks.close()
        self._writer.dispose()
        self._reader.dispose()

    def _soon(self) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if not self._waiting and not self._busy:
            loop.call_soon(self._flush)
        return loop.create_future()

    def _flush(self) -> None:
        group, self._waiting = self._waiting, _Group([], {})
        group.changes = [entry for entry in group.changes if not entry[2].done()]
        group.items = {
            kind: kept for kind, items in group.items.items() if (kept := [e for e in items if not e[1].done()])
        }
        if not group:
            return
        if self._thread is None:
            self._settle(group, self._commit(group))
            return
        self._busy = True
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, self._commit, group)
        done.add_done_callback(lambda future: self._settled(group, future))

    def _settled(self, group: _Group, future: asyncio.Future[Any]) -> None:
        self._busy = False
        if self._waiting:
            future.get_loop().call_soon(self._flush)
        self._settle(group, future.result())

    def _commit(self, group: _Group) -> _Done:
        try:
            done = self._transaction(lambda connection: self._apply(connection, group))
            if self.trouble:
                log.warning("the database takes changes again")
            self.trouble = ""
            return done
        except Exception as error:  # noqa: BLE001 - it is every caller's, and no caller may wait for ever
            failed = _storage_error(error) if isinstance(error, SQLAlchemyError) else error
            if self.trouble != str(failed):
                log.warning("a group of %s changes was not committed: %s", len(group), failed)
            self.trouble = str(failed)
            return _Done([(None, failed)] * len(group), [])

    def _apply(self, connection: Connection, group: _Group) -> _Done:
        done = _Done([], [])
        for change, then, _ in group.changes:
            value, failed = self._attempt(connection, change)
            done.outcomes.append((value, failed))
            if failed is None and then is not None:
                done.told.append((then, value))
        for kind, entries in group.items.items():
            self._together(connection, kind, [item for item, _ in entries], done)
        return done

    def _together(self, connection: Connection, kind: Kind[Any, Any], items: Sequence[Any], done: _Done) -> None:
        """Apply items together; if that fails, one by one, so that the one at fault is found."""
        value, failed = self._attempt(connection, lambda c: kind.apply(c, items))
        if failed is None:
            parts, what = value
            done.outcomes.extend((None, part) if isinstance(part, Exception) else (part, None) for part in parts)
            done.told.append((kind.then, what))
        elif len(items) == 1:
            done.outcomes.append((None, failed))
        else:
            log.warning("a group of %s was taken apart", len(items), exc_info=failed)
            for item in items:
                self._together(connection, kind, [item], done)

    def _settle(self, group: _Group, done: _Done) -> None:
        self.commits += 1
        if self.told is not None:
            self.told(len(group))
        futures = [future for _, _, future in group.changes]
        futures += [future for items in group.items.values() for _, future in items]
        for then, what in done.told:
            futures[0].get_loop().call_soon(then, what)
        for future, (value, failed) in zip(futures, done.outcomes, strict=True):
            if future.done():
                continue
            if failed is not None:
                future.set_exception(failed)
            else:
                future.set_result(value)

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        with self._lock:
            return self._tried(work)

    def _tried(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(RETRIES + 1):
            connection = self._connected()
            try:
                with connection.begin():
                    return work(connection)
            except BaseException as error:
                self._ids.forget()
                self._undo(connection)
                if _state(error) not in _RACES or attempt == RETRIES:
                    raise
                time.sleep(random.uniform(0.0, PART_S * 2**attempt))
        raise AssertionError("unreachable")

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.invalidated:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._writer.connect()
            self._connection.info["ids"] = self._ids
        self._connection.info["slot"] = self.slot
        return self._connection

    def _undo(self, connection: Connection) -> None:
        """Leave no transaction behind: after a COMMIT that failed the database may be in it, unlike SQLAlchemy."""
        if connection.closed or connection.invalidated:
            return
        raw = connection.connection.dbapi_connection
        if raw is None:
            return
        try:
            if self.shared or getattr(raw, "in_transaction", False):
                raw.rollback()
        except connection.dialect.loaded_dbapi.Error:
            connection.invalidate()

    def _away(self, error: DBAPIError) -> bool:
        """Whether an error is about the database's being there at all, not about what it was asked."""
        return error.connection_invalidated or (self.shared and isinstance(error, OperationalError | InterfaceError))

    def _attempt(self, connection: Connection, change: Change) -> tuple[Any, BaseException | None]:
        value, failed = self._attempt_once(connection, change)
        if isinstance(failed, IntegrityError) and _state(failed) in _RACES:
            return self._attempt_once(connection, change)
        return value, failed

    def _attempt_once(self, connection: Connection, change: Change) -> tuple[Any, BaseException | None]:
        savepoint = connection.begin_nested()
        try:
            value = change(connection)
        except OperationalError:
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            savepoint.rollback()
            self._ids.forget()
            return None, error
        savepoint.commit()
        return value, None


def _engine(url: URL, *, write: bool) -> Engine:
    if url.get_backend_name() == "postgresql":
        from dsage_server.store.postgresql import engine as postgresql  # psycopg is there only if it is needed

        return postgresql(url, write=write)
    engine = create_engine(url, connect_args={"timeout": 15, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        pragmas = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000", _LOG]
        pragmas += _KEPT if write else ()
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _state(error: BaseException) -> str | None:
    """Return PostgreSQL's code for an error."""
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def _storage_error(error: SQLAlchemyError) -> DSageError:
    text = str(getattr(error, "orig", None) or error).strip()
    if _state(error) == _DISK_FULL or "is full" in text or "disk I/O" in text or "No space left" in text:
        return StorageFull(f"the server's disk has no room ({text})")
    return Busy(f"the database did not take this: {text}")
