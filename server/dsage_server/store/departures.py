"""Who had themselves erased, and what of them is still to go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection, func, select

from dsage_server.store.schema import host, kin, replica, volunteer, web_session
from dsage_server.store.visits import Role

MOST: Final = 200
EDITION_S: Final = 600.0
"""So long after midnight (UTC) the files for statistics sites are those of the new day."""


class Departure(msgspec.Struct, kw_only=True):
    """An erased account, by its number; `at` is in Unix seconds. What is still to go: `copies` that its computers have
    out, `logins`, `marks` (of where it came from), and the statistics files of before, until the time `files_until`."""

    volunteer: int
    at: float
    copies: int
    logins: int
    marks: int
    files_until: float | None

    @property
    def purged(self) -> bool:
        """Whether nothing is left to go."""
        return not (self.copies or self.logins or self.marks or self.files_until)


def departures(connection: Connection, now: float) -> list[Departure]:
    """Return who left, the last first."""
    rows = connection.execute(
        select(volunteer.c.id, volunteer.c.gone, volunteer.c.withdrawn)
        .where(volunteer.c.gone.is_not(None))
        .order_by(volunteer.c.gone.desc())
        .limit(MOST)
    ).all()
    ids = [row.id for row in rows]
    copies: dict[int, int] = dict(
        connection.execute(
            select(host.c.volunteer_id, func.count())
            .join(replica, replica.c.host_id == host.c.id)
            .where(host.c.volunteer_id.in_(ids), replica.c.state == "leased")
            .group_by(host.c.volunteer_id)
        ).all()
    )  # fmt: skip
    logins: dict[str, int] = dict(
        connection.execute(
            select(web_session.c.subject, func.count())
            .where(web_session.c.role == Role.VOLUNTEER, web_session.c.subject.in_([str(number) for number in ids]))
            .group_by(web_session.c.subject)
        ).all()
    )  # fmt: skip
    marks: dict[int, int] = dict(
        connection.execute(
            select(kin.c.volunteer_id, func.count()).where(kin.c.volunteer_id.in_(ids)).group_by(kin.c.volunteer_id)
        ).all()
    )  # fmt: skip
    return [
        Departure(
            volunteer=row.id, at=row.gone, copies=copies.get(row.id, 0), logins=logins.get(str(row.id), 0),
            marks=marks.get(row.id, 0), files_until=_files_until(row.withdrawn, now),
        )
        for row in rows
    ]  # fmt: skip


def _files_until(withdrawn: float | None, now: float) -> float | None:
    """Return until when somebody is in the statistics files who was until `withdrawn`; None if not any more."""
    if withdrawn is None:
        return None
    midnight = datetime.fromtimestamp(withdrawn, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    until = (midnight + timedelta(days=1)).timestamp() + EDITION_S
    return until if until > now else None
