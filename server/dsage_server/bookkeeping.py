"""The books: days of the ledger are closed and hashed, and at a quiet hour all sums are proven to equal the ledger."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from dsage.errors import Conflict
from dsage_server.hub import Hub
from dsage_server.sentences import news
from dsage_server.store import daybook, recount
from dsage_server.store.engine import Store
from dsage_server.store.events import note
from dsage_server.store.meta import recall, remember

log = logging.getLogger(__name__)

LOOK_S: Final = 60.0
QUIET_S: Final = 3 * 3600
"""The proof of a day begins at three in the morning (UTC), or when a server that was off then is there again."""
TOLD: Final = 20
"""Differences that the log names."""
PASSES: Final = 4
"""Sums of sums can be right only after the sums are: repairing takes two passes, or more if somebody else repairs."""


async def keep_books(hub: Hub) -> None:
    """Close days as they end, keep their hashes, and prove the sums once a day."""
    while True:
        now = hub.clock()
        await hub.store.write(functools.partial(daybook.close, now=now))
        await hash_days(hub.store)
        if await hub.store.write(functools.partial(_is_due, now=now)):
            found = await hub.store.read(recount.differences)
            await hub.store.write(functools.partial(tell, found=found, now=hub.clock()))
        await asyncio.sleep(LOOK_S)


async def hash_days(store: Store) -> None:
    """Hash every closed day that has no hash yet, off the loop."""
    while (day := await store.read(daybook.unhashed)) is not None:
        await store.write(functools.partial(daybook.keep, day=day))


def tell(connection: Connection, found: Sequence[recount.Difference], now: float) -> None:
    """Tell the operator of sums that are wrong, in the log and in the news; say nothing if none is."""
    if not found:
        return
    for each in found[:TOLD]:
        log.error("a sum is not that of the ledger: %s", each)
    note(connection, now, "ledger-wrong", news.LEDGER_WRONG(n=len(found)))


def prove(store: Store, *, repair: bool) -> tuple[list[recount.Difference], list[recount.Difference]]:
    """Return which sums differ from the ledger, and which still do after they were repaired, if that is asked."""
    first: list[recount.Difference] | None = None
    for _ in range(PASSES):
        found, known = store.read_now(lambda c: (recount.differences(c), recount.repairs(c)))
        first = found if first is None else first
        if not found or not repair:
            return first, found
        try:
            store.write_now(functools.partial(recount.repair, found=found, known=known))
        except Conflict as error:
            log.warning("the sums are counted again: %s", error)
    return first or [], store.read_now(recount.differences)


def _is_due(connection: Connection, now: float) -> bool:
    """Whether today's proof is still to be made, by whom this is told; on the first day of a database it is not."""
    day = str(int((now - QUIET_S) // daybook.DAY_S))
    known = recall(connection, recount.PROVED)
    if known == day:
        return False
    remember(connection, recount.PROVED, day)
    return known is not None
