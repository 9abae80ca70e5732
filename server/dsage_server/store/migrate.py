"""Bring a database to the present schema, from the first table on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event, pool

MIGRATIONS = Path(__file__).with_name("migrations")


def config() -> Config:
    """Return Alembic's settings for our migrations."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    return settings


def upgrade(path: Path, revision: str = "head") -> None:
    """Upgrade the SQLite database at `path` (made if missing) to a revision: wholly, or not at all."""
    engine = create_engine(f"sqlite:///{path}", poolclass=pool.NullPool)
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
    engine.dispose()


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    """Python's sqlite3 begins a transaction before INSERT, but not before CREATE TABLE."""
    connection.isolation_level = None
