"""The deadlines of leases, all units together: which have passed, which is next, and what an outage adds to each."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from dsage_server.store.schema import replica


def expired(connection: Connection, now: float, limit: int = 1000) -> list[int]:
    """Return the ids of units that have a lease past its deadline (by the partial index on deadlines)."""
    query = (
        select(replica.c.unit_id)
        .where(replica.c.state == "leased", replica.c.deadline <= now)
        .order_by(replica.c.deadline)
        .limit(limit)
    )
    return sorted({row.unit_id for row in connection.execute(query)})


def next_deadline(connection: Connection) -> float | None:
    """Return the earliest deadline of any lease."""
    query = select(replica.c.deadline).where(replica.c.state == "leased").order_by(replica.c.deadline).limit(1)
    return connection.execute(query).scalar()


def extend_leases(connection: Connection, seconds: float) -> None:
    """Give every open lease the time that the server was away."""
    connection.execute(
        update(replica)
        .where(replica.c.state == "leased")
        .values(deadline=replica.c.deadline + seconds, hard_deadline=replica.c.hard_deadline + seconds)
    )
