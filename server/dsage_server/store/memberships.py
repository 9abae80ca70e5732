"""Who is in which team at the moment: looked up once in every commit that grants credit."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import volunteer


def teams_of(connection: Connection, volunteers: Iterable[int]) -> dict[int, int]:
    """Return the teams of those of these volunteers who are in one."""
    return dict(connection.execute(_OF, {"ids": numbers(connection, volunteers)}).all())


_OF = select(volunteer.c.id, volunteer.c.team_id).where(among_ids(volunteer.c.id), volunteer.c.team_id.is_not(None))
