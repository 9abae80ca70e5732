"""The run of welcome units: what a computer that has just joined gets first, as the tables tell of it."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from dsage.states import RunState
from dsage_server.scheduling.terms import NEWCOMER
from dsage_server.store.schema import run


def runs_here(connection: Connection) -> bool:
    """Whether newcomers get a welcome unit."""
    return bool(connection.execute(select(exists().where(*_GOES_ON))).scalar())


def numbers(connection: Connection) -> list[int]:
    """Return the welcome runs that go on, oldest first."""
    return list(connection.execute(select(run.c.id).where(*_GOES_ON).order_by(run.c.id)).scalars())


_GOES_ON = (run.c.state == RunState.RUNNING.value, run.c.tags.contains(f'"{NEWCOMER}"'))
