"""The audit log: what operators and researchers did, for everybody to read."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, func, insert, select

from dsage_server.store.schema import deed

LONGEST: Final = 300
"""Characters of each part."""


class Done(NamedTuple):
    """Who did what, to what; `at` is in Unix seconds."""

    at: float
    actor: str
    action: str
    about: str
    detail: str


def record(connection: Connection, now: float, actor: str, action: str, about: str, detail: str = "") -> None:
    """Write down what somebody did; `actor` is "operator" or how a researcher is called."""
    parts = {"actor": actor, "action": action, "about": about, "detail": detail}
    connection.execute(insert(deed).values(at=now, **{name: words[:LONGEST] for name, words in parts.items()}))


def newest(connection: Connection, limit: int, offset: int = 0) -> list[Done]:
    """Return what was done, newest first."""
    columns = [deed.c[name] for name in Done._fields]
    return [
        Done(*row)
        for row in connection.execute(select(*columns).order_by(deed.c.id.desc()).limit(limit).offset(offset))
    ]


def count(connection: Connection) -> int:
    """Return how many there are."""
    return int(connection.execute(select(func.count()).select_from(deed)).scalar_one())
