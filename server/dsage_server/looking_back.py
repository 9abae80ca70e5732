"""After a proven lie: everything that was accepted on that host's word alone is computed again by others.

A host that was found lying is marked in the commit that found it, so a kill loses nothing. An accepted answer stands
while somebody stands behind it who is not distrusted; the others fall, with the credit that was paid for them and with
what they proved of other hosts. What the host still holds counts for nothing, and is asked of others as well.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select, union

from dsage.errors import Conflict
from dsage.states import UnitState
from dsage_server.sentences import news, reasons
from dsage_server.store import events, ledger, outliers, reopening, standings, units
from dsage_server.store.schema import among, replica
from dsage_server.store.schema import host as host_table
from dsage_validator import life
from dsage_validator.reputation import stands, supporters
from dsage_validator.unit import Trust

if TYPE_CHECKING:
    from dsage_server.hub import Hub

log = logging.getLogger(__name__)

REASON: Final = reasons.LIAR()
LOOK_AGAIN_S: Final = 10.0
CLEARED: Final = reasons.CLEARED()
MOST: Final = 200
"""Answers of a host that are looked at in one commit."""


async def look_back(hub: Hub) -> None:
    """Look at what hosts did that were found lying, woken by whatever found one; another process that found one may
    have been killed before it could tell."""
    while True:
        hub.liars.clear()
        for host in await hub.store.read(standings.due):
            await look_at(hub, host)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                await hub.liars.wait()


async def look_at(hub: Hub, host: int) -> int:
    """Look at everything that a host did; returns how many accepted answers fell.

    One that was cleared of its lies gets back what was taken from it because of them, as far as it was right.
    """
    if await hub.store.read(lambda c: standings.cleared(c, host)):
        if await hub.store.write(lambda c: restore(c, host, hub.clock())):
            log.warning("host %s was cleared: what was taken from it is given back", host)
        hub.ledger.set()
        return 0
    await hub.store.write(lambda c: distrust(c, host, hub.clock()), then=hub.learn)
    fell, after = 0, 0
    while True:
        look = functools.partial(part, host=host, after=after, now=hub.clock())
        changed, after, taken = await hub.store.write(look, then=lambda found: hub.learn(found[0]))
        fell += taken
        hub.ledger.set()
        for number in {entry.run for entry in changed}:
            await hub.begin(number)
        if not after:
            break
    await hub.store.write(lambda c: _looked(c, host, fell, hub.clock()))
    log.warning("host %s was found lying: %s answers that rested on its word are computed again", host, fell)
    return fell


def restore(connection: Connection, host: int, now: float) -> int:
    """Give a host that was cleared its credit back; returns for how many answers.

    What others have contradicted since stays taken; what is still computed again, or is accepted otherwise now, is
    looked at once more when its unit is decided (`Kind.DECIDED`).
    """
    taken = ledger.taken_from(connection, host, REASON)
    if not standings.cleared(connection, host, lock=True):
        return 0
    given = len(ledger.give_back(connection, taken, CLEARED, "validator", now))
    standings.looked_at(connection, host)
    if given:
        events.note(connection, now, "cleared", news.CLEARED(host=host, n=given))
    return given


def distrust(connection: Connection, host: int, now: float) -> list[units.Changed]:
    """What a host holds, or answered without being accepted, counts for nothing; where a few volunteers are all there
    are, units that are not adaptive go on taking whoever answers."""
    outliers.suspect(connection, host, now)
    enough = standings.enough(connection)
    book = units.Book.of(connection, connection.execute(_OPEN, {"host": host, "now": now}).scalars())
    for number, current in book.now.items():
        if current.adaptive or enough:
            book.now[number] = life.distrusted(current, host, Trust.LOST)
    return book.write(now)


def part(connection: Connection, host: int, after: int, now: float) -> tuple[list[units.Changed], int, int]:
    """Look at a part of the answers of a host that are accepted, those beyond a copy's id.

    Returns what changed, up to which copy this went (0: that was all), and how many answers fell.
    """
    rows = connection.execute(_ACCEPTED, {"host": host, "after": after, "most": MOST}).all()
    book = units.Book.of(connection, {row.unit_id for row in rows})
    valid = {n: unit for n, unit in book.now.items() if unit.state is UnitState.VALID}
    known = standings.of(connection, {r.host for unit in valid.values() for r in supporters(unit)})
    liars = {number for number, apps in known.items() if standings.distrusted(apps, now)}
    runs: dict[int, list[int]] = {}
    unpaid: list[int] = []
    for number, unit in valid.items():
        if any(r.host == host for r in supporters(unit)) and not stands(unit, liars.__contains__):
            runs.setdefault(book.heads[number].run, []).append(number)
            unpaid += [r.id for r in supporters(unit)]
    ledger.take_again(connection, [number for chosen in runs.values() for number in chosen], REASON, "validator", now)
    changed = _fallen(connection, runs, now)
    ledger.reverse(connection, unpaid, REASON, "validator", now)
    taken = sum(entry.was.state is UnitState.VALID and not entry.unit.final for entry in changed)
    return changed, rows[-1].id if len(rows) == MOST else 0, taken


def _fallen(connection: Connection, runs: Mapping[int, Iterable[int]], now: float) -> list[units.Changed]:
    """Open units again, run by run; one that failed or was cancelled needs no answers any more, and keeps them."""
    changed: list[units.Changed] = []
    for number, chosen in sorted(runs.items()):
        try:
            changed += reopening.reopen(connection, number, sorted(chosen), now)
        except Conflict as error:
            log.info("answers of run %s are not computed again: %s", number, error)
    return changed


def _looked(connection: Connection, host: int, fell: int, now: float) -> None:
    excused = outliers.excuse(connection, host)
    standings.looked_at(connection, host)
    sentence = news.FAULTY if excused else news.LIED
    events.note(connection, now, "lied", sentence(host=host, n=fell))


_OPEN = union(
    select(replica.c.unit_id).where(replica.c.host_id == bindparam("host"), among(replica.c.state, ["leased"])),
    select(replica.c.unit_id)
    .join(host_table, host_table.c.volunteer_id == replica.c.volunteer_id)
    .where(host_table.c.id == bindparam("host"), replica.c.host_id == host_table.c.id)
    .where(among(replica.c.state, ["reported"])),
    select(replica.c.unit_id)
    .where(replica.c.host_id == bindparam("host"), among(replica.c.state, ["error", "expired", "invalid"]))
    .where(replica.c.state == "expired", replica.c.hard_deadline >= bindparam("now")),
)  # fmt: skip
"""Each part by a partial index; an answer may come late until the hard deadline."""
_ACCEPTED = (
    select(replica.c.id, replica.c.unit_id)
    .where(
        replica.c.host_id == bindparam("host"), replica.c.state == "valid", replica.c.id > bindparam("after")
    )
    .order_by(replica.c.id)
    .limit(bindparam("most"))
)  # fmt: skip
