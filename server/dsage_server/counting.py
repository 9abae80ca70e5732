"""The census, once an hour (store/census.py)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from dsage_server.hub import Hub
from dsage_server.store import census

LOOK_S: Final = 60.0
PERIOD_S: Final = 3600.0


async def count_hourly(hub: Hub) -> None:
    """Count who is here; at the start too, if the last count is older."""
    while True:
        now = hub.clock()
        last = await hub.store.read(census.kept)
        if not last.at <= now < last.at + PERIOD_S:
            found = await hub.store.read(partial(census.count, now=now))
            await hub.store.write(partial(census.keep, found=found))
        await asyncio.sleep(LOOK_S)
