"""Hosts that stand out, and app versions that do not work: looked for in the background, a few hosts at a time.

What is found raises the share of a host's units that is checked, or holds convictions for an app version; the operator
sees it by `dsage admin hosts` and `dsage admin apps`. Nothing here convicts, and nothing touches credit.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from dsage_server.scheduling.faults import faults
from dsage_server.store import outliers
from dsage_server.store.meta import recall, remember
from dsage_validator.outliers import Sign
from dsage_validator.outliers import outliers as standing_out

if TYPE_CHECKING:
    from dsage_server.hub import Hub

log = logging.getLogger(__name__)

LOOK_S: Final = 600.0
"""How often hosts are looked at."""
RECENT_S: Final = 86_400.0
"""Those that called within this time."""
MOST: Final = 2000
"""So many at a time: a larger fleet takes turns."""
BITE: Final = 10
"""Hosts that are read at once: some 1,500 copies."""
PAUSE_S: Final = 0.05
LOOKED: Final = "outliers_looked"
"""Where it is remembered how often and when it was looked last, by whichever process was first."""


async def watch(hub: Hub) -> None:
    """Look at the hosts again and again."""
    while True:
        await asyncio.sleep(LOOK_S)
        turn = await hub.store.write(functools.partial(_turn, now=hub.clock()))
        if turn is not None:
            await look(hub, turn)


async def look(hub: Hub, turn: int = 0) -> list[Sign]:
    """Look at the hosts whose turn it is, and at what they compute; returns what is newly found."""
    since = hub.clock() - RECENT_S
    chosen = await hub.store.read(functools.partial(outliers.active, since=since, most=MOST, turn=turn))
    seen = outliers.History()
    for start in range(0, len(chosen), BITE):
        bite = await hub.store.read(functools.partial(outliers.history, hosts=chosen[start : start + BITE]))
        seen.profiles += bite.profiles
        seen.rows += bite.rows
        await asyncio.sleep(PAUSE_S)
    apart = await hub.store.read(outliers.apart)
    signs = await asyncio.to_thread(lambda: [*standing_out(seen.profiles), *faults(seen.rows, apart)])
    apps = {row.app for row in seen.rows} | apart.keys()
    note = functools.partial(outliers.note, hosts=chosen, apps=apps, signs=signs, now=hub.clock())
    fresh = await hub.store.write(note)
    for sign in fresh:
        whose = f"host {sign.host}" if sign.host else f"app version {sign.app[:12]}"
        log.warning("%s stands out (%s): %s", whose, sign.kind, sign.sentence)
    return fresh


def _turn(connection: Connection, now: float) -> int | None:
    """Return whose turn it is, counted up; None if another process looked meanwhile."""
    last, _, turn = (recall(connection, LOOKED) or "0 0").partition(" ")
    if 0.0 <= now - float(last) < LOOK_S / 2:
        return None
    remember(connection, LOOKED, f"{now!r} {int(turn) + 1}")
    return int(turn)
