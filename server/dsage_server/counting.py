"""Who is here: the census once an hour (store/census.py), the windows of the status page once a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from dsage_server.store import census, vitals
from dsage_server.store.engine import Store

LOOK_S: Final = 60.0
PERIOD_S: Final = 3600.0
MANY: Final = 5000
"""Fewer computers are counted for each look at the status page: that takes milliseconds."""


async def count(store: Store, clock: Callable[[], float]) -> None:
    """Count who is here; at the start too, if the last count is older."""
    while True:
        now = clock()
        windows = await store.read(partial(vitals.count_windows, now=now))
        if windows[-1].hosts >= MANY:
            await store.write(partial(vitals.keep_windows, found=windows, now=now))
        last = await store.read(census.kept)
        if not last.at <= now < last.at + PERIOD_S:
            found = await store.read(partial(census.count, now=now))
            await store.write(partial(census.keep, found=found))
        await asyncio.sleep(LOOK_S)
