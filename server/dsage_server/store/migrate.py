"""Bring a database to the present schema, from the first table on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, pool
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError

from dsage.errors import ServerAway

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK: Final = 0x64736167650001
"""PostgreSQL's number for the lock that whoever migrates holds: any other does so after that, and finds it done."""


def config() -> Config:
    """Return Alembic's settings for our migrations."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    return settings


def upgrade(where: Path | str, revision: str = "head") -> None:
    """Upgrade the database in a file (made if missing) or at a URL to a revision: wholly, or not at all.

    Raises ServerAway if PostgreSQL does not answer.
    """
    engine = _sqlite(where) if isinstance(where, Path) else _postgresql(where)
    try:
        with engine.begin() as connection:
            if not isinstance(where, Path):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            settings = config()
            settings.attributes["connection"] = connection
            command.upgrade(settings, revision)
    except (OperationalError, InterfaceError) as error:
        if isinstance(where, Path):
            raise
        raise ServerAway(
            f"the database does not answer: {str(error.orig).strip()}",
            hint="See whether PostgreSQL runs, and whether the URL's user may use the database.",
        ) from error
    finally:
        engine.dispose()


def _postgresql(url: str) -> Engine:
    driver = make_url(url).set(drivername="postgresql+psycopg")
    return create_engine(driver, poolclass=pool.NullPool, connect_args={"connect_timeout": 5})


def _sqlite(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", poolclass=pool.NullPool)
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    """Python's sqlite3 begins a transaction before INSERT, but not before CREATE TABLE."""
    connection.isolation_level = None
