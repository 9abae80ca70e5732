"""Single values that the server remembers: its URL, when it was last alive, the next unit id."""

from __future__ import annotations

from sqlalchemy import Connection, select

from dsage_server.store.dialect import upsert
from dsage_server.store.schema import meta


def recall(connection: Connection, name: str) -> str | None:
    """Return a remembered value."""
    return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()


def remember(connection: Connection, name: str, value: str) -> None:
    """Remember a value, in place of an older one."""
    statement = upsert(connection, meta).values(name=name, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": statement.excluded.value})
    )
