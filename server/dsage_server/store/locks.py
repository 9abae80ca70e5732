"""What one of several server processes has to itself for a while, as PostgreSQL's advisory locks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError


class Locks:
    """Locks by number, all on one connection: however many are held, those who read find a connection.

    They belong to the session, so a process that is killed has none. If the connection breaks they are gone as well:
    they save double work, and writes guard what they change by themselves.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    @asynccontextmanager
    async def alone(self, number: int) -> AsyncIterator[bool]:
        """Say whether no other process has this number; if so, none gets it before the end of the block.

        The same process gets it again. Raises DBAPIError if the database is away.
        """
        mine = await asyncio.to_thread(self._ask, func.pg_try_advisory_lock, number)
        try:
            yield mine
        finally:
            if mine:
                await asyncio.to_thread(self._ask, func.pg_advisory_unlock, number)

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            if self._connection is not None:
                # Back in the pool the session would live on, with its locks.
                self._connection.invalidate()
                self._connection.close()
                self._connection = None

    def _ask(self, what: Callable[[int], Any], number: int) -> bool:
        with self._lock:
            if self._connection is None or self._connection.invalidated:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                return self._connection.scalar(select(what(number))) is True
            except DBAPIError:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
                raise
