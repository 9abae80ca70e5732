"""Accepted answers that somebody contradicts: one more volunteer is asked, until either side is right.

Whoever contradicts late an answer that was taken alone is refused no sooner than others have said so, and the accepted
answer gives way if they say the opposite. It stays accepted meanwhile, or one wrong answer could take a run back.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dsage_server.store import reopening

if TYPE_CHECKING:
    from dsage_server.hub import Hub


AGAIN_S: Final = 60.0
"""How often contested units are looked for: another process may have been killed before it could tell of one."""


async def decide_contests(hub: Hub) -> None:
    """Decide contested units, woken by whatever contests one."""
    while True:
        hub.unlisted = False
        hub.contested.update(await hub.store.read(reopening.contested))
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_S):
                while not hub.unlisted:
                    hub.contests.clear()
                    await decide(hub)
                    await hub.contests.wait()


async def decide(hub: Hub) -> None:
    """Look at the contested units; copies that are still wanted are listed, also where the run has ended, because its
    result would be corrected."""
    chosen = sorted(hub.contested)
    if not chosen:
        return
    hub.contested.difference_update(chosen)
    look = functools.partial(reopening.decide, contested=chosen, now=hub.clock())
    changed = await hub.store.write(look, then=hub.learn)
    for number in {entry.run for entry in changed}:
        await hub.begin(number)
    await hub.list_again(chosen)
