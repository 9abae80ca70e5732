"""Things worth telling people: an append-only list that pages and `watch` read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select

from dsage import wire
from dsage_server.store.schema import event


def note(
    connection: Connection, now: float, kind: str, text: str, *, run: int | None = None, unit: int | None = None
) -> None:
    """Append one event: `kind` is a fixed word, `text` a sentence."""
    connection.execute(insert(event).values(at=now, kind=kind, text=text, run_id=run, unit_id=unit))


def since(
    connection: Connection, after: int, *where: Any, run: int | None = None, limit: int = 200
) -> list[wire.Event]:
    """Return the events after number `after`, oldest first; conditions may leave some out."""
    query = select(event).where(event.c.id > after, *where).order_by(event.c.id).limit(limit)
    if run is not None:
        query = query.where(event.c.run_id == run)
    return [
        wire.Event(id=row.id, at=row.at, kind=row.kind, text=row.text, run=row.run_id, unit=row.unit_id)
        for row in connection.execute(query)
    ]
