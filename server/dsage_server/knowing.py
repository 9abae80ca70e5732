"""The task that lets known units go out when it is their turn (`store/known.py` says what they are)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from dsage_server.store import known
from dsage_server.store.meta import secret

if TYPE_CHECKING:
    from dsage_server.hub import Hub

LOOK_S: Final = 10.0
"""How often it is looked for what other processes made, and for what ended runs left."""


async def send_known(hub: Hub) -> None:
    """Release known units, woken by the queue; those that went out before this start, and were not taken, go again."""
    await hub.store.write(lambda c: secret(c, known.KEY))
    await hub.list_again(await hub.store.read(known.lost))
    while True:
        over = await hub.store.read(known.over)
        if over:
            await hub.store.write(partial(known.drop, gone=over))
        for number, run in (await hub.store.read(known.waiting)).items():
            hub.known.put(number, run)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                while True:
                    await hub.known.changed.wait()
                    hub.known.changed.clear()
                    await release(hub)


async def release(hub: Hub) -> None:
    """Release the known units whose turn it is."""
    due = sorted(hub.known.due)
    hub.known.due.difference_update(due)
    await hub.store.write(partial(known.release, wanted=due, now=hub.clock()), then=hub.learn)
