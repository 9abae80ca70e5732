"""Maintenance: while the operator has announced it, no work is given out. Reports are taken, and leases renewed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dsage_server.store import announcements
from dsage_server.store.announcements import Notice

if TYPE_CHECKING:
    from dsage_server.hub import Hub

LOOK_S: Final = 2.0
"""How often it is looked whether maintenance begins or ends; the operator's commands write to the database alone."""
RETRY_S: Final = 60.0
"""How long clients stay away at most, on average: they learn so late of an end that came early."""
SOONEST_S: Final = 5.0


async def heed(hub: Hub) -> None:
    """See whether there is maintenance now, again and again; who comes back after it finds work as always."""
    while True:
        await look(hub)
        await asyncio.sleep(LOOK_S)


async def look(hub: Hub) -> None:
    """See whether there is maintenance now."""
    now = hub.clock()
    hub.maintenance = await hub.store.read(lambda connection: announcements.maintenance(connection, now))


def sentence(notice: Notice) -> str:
    """Return why no work is given out, for volunteers."""
    until = "" if notice.ends is None else f" until {datetime.fromtimestamp(notice.ends, UTC):%Y-%m-%d %H:%M} UTC"
    return f"maintenance{until}, results are taken: {notice.text}"


def retry_s(notice: Notice, now: float) -> float:
    """Return when clients may ask again, on average: when it ends, but within RETRY_S."""
    return RETRY_S if notice.ends is None else min(RETRY_S, max(SOONEST_S, notice.ends - now))
