"""Connections to PostgreSQL as the store needs them."""

from __future__ import annotations

from typing import Any, Final

from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import StrDumper
from sqlalchemy import URL, Engine, create_engine, event

_LINE: Final = {
    "connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000, "application_name": "dsage",
}  # fmt: skip
"""How soon a database that went without a word is noticed: seconds, and the last but one in milliseconds."""
_SESSION: Final = "SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'; SET jit = off"
"""Nobody waits for ever for a row that a process holds which was stopped; and no statement here is long enough to be
compiled first."""


class _Text(StrDumper):
    """Text as PostgreSQL can hold it: what a peer sends may have a NUL, which has no place there."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


class _Number(Loader):
    """Sums of whole numbers are whole numbers, as SQLite has them, and no decimal fractions."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdecimal() else float(text)


def engine(url: URL, *, write: bool) -> Engine:
    """Return an engine whose readers see one moment, as SQLite's do, and whose writers see what others committed
    before each statement, as row locks need it."""
    made = create_engine(
        url.set(drivername="postgresql+psycopg"), pool_pre_ping=not write, pool_size=8, max_overflow=0,
        connect_args=_LINE, isolation_level="READ COMMITTED" if write else "REPEATABLE READ",
    )  # fmt: skip

    @event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.adapters.register_dumper(str, _Text)
        connection.adapters.register_loader("numeric", _Number)
        connection.autocommit = True
        connection.execute(_SESSION)
        connection.autocommit = False

    return made
