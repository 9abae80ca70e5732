"""Candidates become confirmed: by a second volunteer who says the same, or because the answer proves itself.

An answer that was taken on one computer's word is asked of one more volunteer, also where its run has ended. If that
one contradicts, nobody knows who is right: the answer is refused, and others compute the unit again. The last words of
hosts whose run is done (`store/last_words.py`) go out the same way.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection

from dsage.errors import Conflict
from dsage.states import OPEN_RUNS, ReplicaState, RunState, UnitState
from dsage_server.sentences import reasons
from dsage_server.store import discoveries, last_words, reopening, runs, units
from dsage_validator import life
from dsage_validator.reputation import supporters
from dsage_validator.unit import Replica, Trust, Unit

if TYPE_CHECKING:
    from dsage_server.hub import Hub

log = logging.getLogger(__name__)

MOST: Final = 200
"""Candidates that are looked at in one commit."""
AGAIN_S: Final = 5.0
"""How soon candidates are looked at again whose confirmation was lost on its way."""
IDLE_S: Final = 60.0
MAX_ERRORS: Final = 6
"""Volunteers whose computers failed to confirm an answer, before no further one is asked."""
CONTRADICTED: Final = reasons.CONTRADICTED()
HOPELESS: Final = reasons.HOPELESS()
GONE: Final = reasons.GONE()


class Looked(msgspec.Struct):
    """What a look at candidates did: `wanted` are units of which a copy should go out, `ended` the runs of those that
    have ended, `last` the last candidate."""

    changed: list[units.Changed] = []
    wanted: set[int] = set()
    ended: set[int] = set()
    last: int = 0


async def confirm_discoveries(hub: Hub) -> None:
    """Confirm discoveries, woken by whatever declares one or brings an answer for one."""
    lent: set[int] = set()
    while True:
        hub.discovered.clear()
        looked = await look(hub)
        if hub.serves:
            await _hand_out(hub, looked, lent)
        lent = looked.ended
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_S if looked.wanted else IDLE_S):
                await hub.discovered.wait()


async def look(hub: Hub) -> Looked:
    """Look at every candidate."""
    all_of_it = Looked()
    while await hub.store.read(functools.partial(discoveries.candidates, after=all_of_it.last, most=1)):
        part = functools.partial(look_at, after=all_of_it.last, now=hub.clock())
        found = await hub.store.write(part, then=lambda found: hub.learn(found.changed))
        all_of_it.wanted |= found.wanted
        all_of_it.ended |= found.ended
        all_of_it.last = found.last
        for number in {entry.run for entry in found.changed if not entry.unit.final}:
            await hub.begin(number)
    await check_last_words(hub, all_of_it)
    return all_of_it


async def check_last_words(hub: Hub, looked: Looked) -> None:
    """Choose the last words of runs that are done since, and have asked what is to be asked."""
    for number in await hub.store.read(last_words.unlooked):
        choice = last_words.Choice()
        while not choice.whole:
            choice = await hub.store.read(functools.partial(last_words.chosen, number=number, so_far=choice))
        await hub.store.write(functools.partial(last_words.keep, number=number, found=choice.units))
    asked = await hub.store.write(
        lambda c: last_words.look(c, hub.clock()), then=lambda found: hub.learn(found.changed)
    )
    looked.wanted |= asked.wanted
    looked.ended |= asked.ended


def look_at(connection: Connection, after: int, now: float) -> Looked:
    """Look at some candidates beyond an id."""
    rows = discoveries.candidates(connection, after, MOST)
    book = units.Book.of(connection, {row.unit_id for row in rows})
    found = Looked(last=rows[-1].id if rows else after)
    refused: dict[int, list[int]] = {}
    for row in rows:
        current = book.now.get(row.unit_id)
        if current is None:
            _explain(connection, row, GONE)
        elif current.state is UnitState.VALID:
            for_it = _supporters(current)
            proven = any(r.proof for r in for_it)
            if proven or len({r.volunteer for r in for_it}) > 1:
                discoveries.confirm(connection, row.id, [r.id for r in for_it], proven=proven, now=now)
            elif any(_contradicts(current, r) for r in current.replicas):
                refused.setdefault(row.run_id, []).append(row.unit_id)
            elif not any(r.state is ReplicaState.LEASED for r in current.replicas):
                if _errors(current) >= MAX_ERRORS:
                    _explain(connection, row, HOPELESS)
                elif row.state != RunState.PAUSED:
                    book.now[row.unit_id] = current if current.unsent else life.asked_again(current)
                    found.wanted.add(row.unit_id)
                    if row.state not in OPEN_RUNS:
                        found.ended.add(row.run_id)
    found.changed = book.write(now) + _refuse(connection, rows, refused, now)
    return found


def _refuse(connection: Connection, rows: Sequence[Any], refused: dict[int, list[int]], now: float) -> list[Any]:
    changed: list[units.Changed] = []
    for number, chosen in sorted(refused.items()):
        try:
            changed += reopening.reopen(connection, number, sorted(set(chosen)), now)
        except Conflict as error:
            log.info("answers of run %s that discoveries rest on are contradicted: %s", number, error)
            for row in rows:
                if row.unit_id in chosen:
                    _explain(connection, row, CONTRADICTED)
    return changed


def _explain(connection: Connection, row: Any, reason: str) -> None:
    if row.reason != reason:
        discoveries.explain(connection, row.id, reason)


def _supporters(current: Unit) -> list[Replica]:
    """Return the copies whose word counts for the accepted answer."""
    return [r for r in supporters(current) if r.trust >= Trust.NEW or r.proof]


def _contradicts(current: Unit, copy: Replica) -> bool:
    """Whether an answer whose word counts stands against the accepted one."""
    heard = copy.state is ReplicaState.INVALID and copy.trust >= Trust.NEW and not copy.partial
    return heard and copy.id > current.since and copy.proof is None


def _errors(current: Unit) -> int:
    accepted = current.canonical or 0
    failed = (ReplicaState.ERROR, ReplicaState.INVALID)
    return sum(r.state in failed and r.id > accepted for r in current.replicas)


async def _hand_out(hub: Hub, looked: Looked, lent: set[int]) -> None:
    """List what is wanted in the queue, and close there the runs of `lent` that have ended and want nothing more."""
    over = lent - looked.ended
    for number in over - set(await hub.store.read(runs.running)) if over else ():
        hub.ended_here(number)
    if looked.wanted:
        await hub.list_again(looked.wanted)
