"""The tasks that run beside the requests: leases expire, credit is folded, answers are checked, root.json reloads.

Each is a coroutine for the server's task group; each waits for its event and never polls faster than its purpose.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dsage.bundle import MAX_BUNDLE_BYTES, unpack
from dsage.errors import (
    BundleError,
    Busy,
    Conflict,
    DSageError,
    NotFound,
    RolledBack,
    SandboxRefused,
    StorageFull,
    UnitFailed,
)
from dsage.trust.ceremony import load_root
from dsage.trust.documents import Manifest
from dsage_server.blobs import answers
from dsage_server.hub import Hub
from dsage_server.sentences import reasons
from dsage_server.signing import renewed, sign_documents
from dsage_server.store import checking, credit, deadlines, own, renewal, runs, units
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import run
from dsage_validator import life
from dsage_validator.boxes import Boxes
from dsage_validator.checks import judge

log = logging.getLogger(__name__)

SWEEP_S: Final = 1.0
MOVED: Final = "moved"
MOVED_S: Final = 60.0
JUMP_S: Final = 5.0
"""The date and the steady clock may drift apart by this before every lease is moved."""
AGAIN_S: Final = 5.0
ALIVE_S: Final = 10.0
WAKE_S: Final = 1.0
FOLD_S: Final = 0.5
FOLD_AGAIN_S: Final = 60.0
"""How often it is looked for rows that a command of the operator entered, for which nobody wakes the projector."""
WRITE_BACK_S: Final = 0.5
ROOT_S: Final = 2.0
RENEW_S: Final = 3600.0
RENEW_BEFORE_S: Final = 7 * 86400.0
HURRIED_CHECKERS: Final = 32
"""Checkers for answers that somebody waits for; one more looks at those of cancelled units first."""
RETRIES: Final = 2
ROOT_VERSION: Final = "root_version"
"""Where the highest version of root.json is remembered."""


async def steadily(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do an endless piece of work; while the disk is full or the database away, try again now and then."""
    while True:
        try:
            await work()
        except (StorageFull, Busy, SQLAlchemyError, OSError) as error:
            log.warning("%s must wait: %s", what, error)
            await asyncio.sleep(AGAIN_S)


async def expire_leases(hub: Hub) -> None:
    """Expire leases past their deadline, found by the index on deadlines; if the clock is set, they move along."""
    offset = hub.clock() - hub.ticks()

    def change(connection: Connection, now: float) -> list[units.Changed]:
        book = units.Book.of(connection, deadlines.expired(connection, now))
        for number, current in book.now.items():
            book.now[number] = life.expire(current, now)
        return book.write(now)

    while True:
        now = hub.clock()
        jump = now - hub.ticks() - offset
        if abs(jump) > JUMP_S:
            await hub.store.write(functools.partial(_move_leases, jump=jump, now=now))
            offset += jump
            log.warning("the clock was set by %+.0f s, or the computer slept: every lease was moved along", jump)
        deadline = await hub.store.read(deadlines.next_deadline)
        if deadline is not None and deadline <= now:
            await hub.store.write(functools.partial(change, now=now), then=hub.learn)
        await asyncio.sleep(SWEEP_S)


def _move_leases(connection: Connection, jump: float, now: float) -> None:
    """Move every lease along with the clock; once, if several processes saw the same jump."""
    before = [float(number) for number in (recall(connection, MOVED) or "0 0").split()]
    if abs(before[0] - jump) < JUMP_S and abs(before[1] - now) < MOVED_S:
        return
    remember(connection, MOVED, f"{jump!r} {now!r}")
    deadlines.extend_leases(connection, jump)


def extend_after_outage(connection: Connection, now: float, *, shared: bool = False) -> float:
    """At the start: give every open lease the time since a server was last alive. Returns that time, which is none if
    another process of a `shared` database is alive."""
    alive = recall(connection, "alive")
    away = max(0.0, now - float(alive)) if alive else 0.0
    if shared and away < 2 * ALIVE_S:
        return 0.0
    if away:
        deadlines.extend_leases(connection, away)
    remember(connection, "alive", repr(now))
    return away


async def keep_alive(hub: Hub) -> None:
    """Note each ALIVE_S that the server is alive, what was learnt of the hosts that called, and which units the server
    is to compute itself."""
    while True:
        await asyncio.sleep(ALIVE_S)
        await hub.store.write(lambda connection: remember(connection, "alive", repr(hub.clock())))
        await hub.exchanges.note()
        drawn = hub.own.drawn()
        if drawn != hub.own.noted:
            await hub.store.write(functools.partial(own.note_waiting, drawn=drawn))
            hub.own.noted = drawn


async def write_back(hub: Hub) -> None:
    """Move what was committed into the database's file, off the loop: a commit that had to would keep all waiting."""
    done = 0
    while True:
        await asyncio.sleep(WRITE_BACK_S)
        if hub.store.commits != done:
            done = hub.store.commits
            await asyncio.to_thread(hub.store.write_back)


async def wake_hosts(hub: Hub) -> None:
    """While units wait, call further hosts to look at them: those called first may not have been able to take any.
    While none do, call the drivers that can make more."""
    while True:
        await asyncio.sleep(WAKE_S)
        hub.pressure.hosts = len(hub.exchanges.crowd)
        if hub.ready.resting:
            await hub.wake_rested()
        if hub.ready.unsent:
            hub.wake(hub.ready.unsent)
        hub.call_hungry_drivers()


async def fold_credit(hub: Hub) -> None:
    """Fold new ledger rows into the sums, woken by whoever granted; much at a time when there is much."""
    most = credit.FOLD_SHARED if hub.store.shared else credit.FOLD
    while True:
        while await hub.store.write(functools.partial(credit.fold, most=most)) == most:
            pass
        hub.ledger.clear()
        await asyncio.sleep(FOLD_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLD_AGAIN_S):
                await hub.ledger.wait()


async def check_answers(hub: Hub, boxes: Boxes, work_dir: Path, *, hurried: bool) -> None:
    """Judge the answers of apps that bring a rule or checks of their own, as they come in; if `hurried`, none of
    cancelled units. Those that need a sandbox wait where there is none."""
    tries: Counter[int] = Counter()
    while True:
        number = await hub.checks.get(hurried=hurried)
        try:
            async with checking.alone(hub.store, number) as mine:
                if mine:
                    await _check(hub, boxes, work_dir, number, tries, hurried=hurried)
        except (StorageFull, Busy, SQLAlchemyError):
            hub.checks.put(number)
            raise
        finally:
            hub.checks.done(number)


async def _check(hub: Hub, boxes: Boxes, work_dir: Path, number: int, tries: Counter[int], *, hurried: bool) -> None:
    case = await hub.store.read(lambda c: checking.case(c, number))
    if case is None:
        return
    if case.cancelled and hurried:
        hub.checks.put(number, hurried=False)
        return
    info = await hub.run(case.run)
    if boxes.level is None and info.manifest.needs_box:
        return
    case = checking.filled(case, {n: await answers.read(hub.blobs, sha256) for n, sha256 in case.blobs.items()})
    try:
        if not info.manifest.needs_box:
            verdicts = await judge(None, info.manifest, case.args, case.standing, case.candidates)
        else:
            app_dir = await unpacked(hub, info.manifest, work_dir)
            async with boxes.judging(info.app, app_dir, info.manifest.entry) as asker:
                verdicts = await judge(asker, info.manifest, case.args, case.standing, case.candidates)
    except (UnitFailed, SandboxRefused, BundleError, NotFound, OSError) as error:
        tries[number] += 1
        log.warning("check of unit %s failed (%s): %s", number, tries[number], error)
        if tries[number] <= RETRIES:
            hub.checks.put(number)
        else:
            del tries[number]
            await _fail_runs(hub, [case.run], f"its checks do not run: {error}")
        return
    del tries[number]
    try:
        await hub.store.write(lambda c: checking.apply(c, case, verdicts, hub.clock()), then=hub.learn)
        hub.meters.judged(verdicts)
    except Conflict:
        hub.checks.put(number)


async def renew_signatures(hub: Hub) -> None:
    """Sign ready units again before their signature expires, and after the unit key was replaced."""
    while True:
        now = hub.clock()
        found = await hub.store.read(lambda c, t=now: renewal.stale(c, hub.unit_key.public, t + RENEW_BEFORE_S))  # type: ignore[misc]
        for number, documents in found.items():
            authorisation = await hub.store.read(lambda c, n=number: renewal.authorisation_of(c, n))  # type: ignore[misc]
            if authorisation.expires < now + RENEW_BEFORE_S:
                continue
            signed = sign_documents(hub.unit_key, renewed(documents, authorisation, now), now)
            await hub.store.write(lambda c, s=signed: renewal.replace(c, s))  # type: ignore[misc]
        await asyncio.sleep(RENEW_S)


async def watch_root(hub: Hub, path: Path) -> None:
    """Take over a newer root.json: new keys at once, and revoked apps end their runs."""
    stamp = 0
    while True:
        await asyncio.sleep(ROOT_S)
        try:
            current = os.stat(path).st_mtime_ns
            if current != stamp:
                stamp = current
                await take_root(hub, path)
        except (DSageError, OSError) as error:
            log.warning("root.json was not taken over: %s", error)


def note_root(connection: Connection, version: int) -> None:
    """Remember the highest version of root.json that was in force here. Raises RolledBack for a lower one: what a later
    one revoked would be believed again by new volunteers."""
    seen = int(recall(connection, ROOT_VERSION) or 0)
    if version < seen:
        raise RolledBack(
            f"root.json has version {version}, and this server has had version {seen} in force already",
            hint=f"Put the newer root.json back, or have it signed again until its version is above {seen}.",
        )
    remember(connection, ROOT_VERSION, str(version))


async def take_root(hub: Hub, path: Path) -> None:
    """Advance the chain to the root.json at `path`. Raises TrustError if it does not follow."""
    chain = hub.chain.advance(load_root(path), hub.clock())
    if chain.root.version == hub.chain.root.version:
        return
    await hub.store.write(functools.partial(note_root, version=chain.root.version))
    hub.chain = chain
    hub.sessions.drop_keys(set(hub.chain.root.revoked_keys))
    await end_revoked(hub)
    log.info("root.json version %s is in force", hub.chain.root.version)


async def end_revoked(hub: Hub) -> None:
    """End the runs whose app version or researcher's key root.json withdraws."""
    root = hub.chain.root
    for reason, condition in (
        (reasons.APP_REVOKED(), run.c.app.in_(root.revoked_apps)),
        (reasons.KEY_REVOKED(), run.c.researcher.in_(root.revoked_keys)),
    ):
        found = await hub.store.read(functools.partial(runs.unfinished, where=condition))
        await _fail_runs(hub, found, reason)


async def _fail_runs(hub: Hub, numbers: Iterable[int], reason: str) -> None:
    for number in numbers:
        await hub.store.write(functools.partial(runs.fail, number=number, reason=reason, now=hub.clock()), hub.learn)
        hub.over(number)


async def unpacked(hub: Hub, manifest: Manifest, work_dir: Path) -> Path:
    """Return the folder of an app version's source, unpacked when it is first asked for."""
    folder = work_dir / "apps" / manifest.bundle
    if not await asyncio.to_thread(folder.exists):
        data = await hub.blobs.read(manifest.bundle, MAX_BUNDLE_BYTES)
        await asyncio.to_thread(unpack, data, folder, expected_sha256=manifest.bundle)
    return folder
