"""The server processes that share a database: each has a number of its own while it lives, and says that it lives.

The numbers are small, since tallies have a row for each. What was counted under a number stays when another process
takes it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select, update

from dsage_server.store.dialect import upsert
from dsage_server.store.schema import process

GONE_S: Final = 60.0
"""Who said nothing for so long is taken to be gone; `refresh` is called several times as often."""


@dataclass(frozen=True, slots=True)
class Place:
    """A process's number, and when it got it (Unix seconds): both together are this process and no other."""

    slot: int
    started: float


def join(connection: Connection, roles: str, now: float) -> Place:
    """Enter this process under the smallest number that is free or whose process is gone."""
    row = {"roles": roles, "started": now, "seen": now}
    while True:
        rows = connection.execute(select(process.c.id, process.c.seen)).all()
        taken = {found.id for found in rows if found.seen >= now - GONE_S}
        slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
        entry = upsert(connection, process).values(id=slot, **row)
        entry = entry.on_conflict_do_update(index_elements=["id"], set_=row, where=process.c.seen < now - GONE_S)
        if connection.execute(entry.returning(process.c.id)).first() is not None:
            return Place(slot, now)


def refresh(connection: Connection, place: Place, now: float) -> bool:
    """Say that this process lives; False if it was taken to be gone and its number has gone to another one."""
    return connection.execute(update(process).where(_is(place)).values(seen=now)).rowcount > 0


def leave(connection: Connection, place: Place) -> None:
    """Give the number back."""
    connection.execute(delete(process).where(_is(place)))


def gone(connection: Connection, before: float) -> list[int]:
    """Return the numbers of processes that said nothing since `before`."""
    return list(connection.execute(select(process.c.id).where(process.c.seen < before)).scalars())


def _is(place: Place) -> ColumnElement[bool]:
    return (process.c.id == place.slot) & (process.c.started == place.started)
