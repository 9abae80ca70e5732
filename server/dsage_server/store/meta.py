"""Single values that the server remembers: its URL, when it was last alive, the next unit id."""

from __future__ import annotations

import secrets

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


def secret(connection: Connection, name: str) -> bytes:
    """Return a key of this server's own, made when it is first asked for."""
    found: bytes | None = connection.info.get(name)
    if found is not None:
        return found
    known = recall(connection, name)
    if known is None:
        known = secrets.token_hex(32)
        remember(connection, name, known)
    else:
        connection.info[name] = bytes.fromhex(known)
    return bytes.fromhex(known)
