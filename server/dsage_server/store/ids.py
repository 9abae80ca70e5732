"""Ids in blocks: a process reserves many at once, so that giving one out costs no statement.

A block that a rolled-back transaction reserved was never reserved: `forget` drops what is left of every block, and
ids that were given out in between are as unknown to the tables as the rows that bore them. On PostgreSQL a block is
reserved in a transaction of its own, so that no process waits for another one's commit to get the next.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

BLOCK: Final = 4096


class Ids:
    """The blocks of one process."""

    def __init__(self) -> None:
        self._left: dict[str, range] = {}

    def take(self, connection: Connection, name: str, count: int) -> range:
        """Return `count` consecutive ids of a kind that nobody else will get."""
        left = self._left.get(name, range(0))
        if len(left) < count:
            block = max(count, BLOCK)
            first = _apart(connection, name, block)
            left = range(first, first + block)
        self._left[name] = left[count:]
        return left[:count]

    def forget(self) -> None:
        """Drop every block."""
        self._left.clear()


def reserve(connection: Connection, name: str, count: int) -> int:
    """Return the first of `count` ids of a kind, reserved with this transaction."""
    value = connection.execute(_RESERVE, {"name": f"next_{name}", "value": str(1 + count), "count": count}).scalar_one()
    return int(value) - count


def _apart(connection: Connection, name: str, count: int) -> int:
    if connection.dialect.name != "postgresql":
        return reserve(connection, name, count)
    with connection.engine.begin() as other:
        return reserve(other, name, count)


_RESERVE = text(
    "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE "
    "SET value = CAST(CAST(meta.value AS BIGINT) + CAST(:count AS BIGINT) AS VARCHAR) RETURNING value"
)
