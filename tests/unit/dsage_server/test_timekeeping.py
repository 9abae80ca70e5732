from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from dsage.errors import StorageFull
from dsage.trust.keys import PrivateKey
from dsage.trust.testing import World as Trust
from dsage_server import timekeeping
from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import open_store
from dsage_server.hub import Hub
from dsage_server.store.engine import Store
from dsage_server.store.meta import recall
from dsage_server.store.schema import replica
from dsage_server.store.testing import fresh
from dsage_server.web.testing import World

HOUR = 3600.0
DAY = 86400.0


class Clocks:
    """A date and a steady clock that a test moves."""

    def __init__(self) -> None:
        self.date = 1_800_000_000.0
        self.steady = 50.0
        self.looks = 0

    def look(self) -> float:
        self.looks += 1
        return self.date

    def pass_by(self, seconds: float) -> None:
        self.date += seconds
        self.steady += seconds


@asynccontextmanager
async def leasing(folder: Path, clocks: Clocks) -> AsyncIterator[tuple[Hub, World]]:
    """A hub over a store in which one copy of a unit is out for an hour, and the task that expires it."""
    store = Store(fresh(folder))
    world = World(store, clocks.date)
    objects = open_store(str(folder), "here", min_free_bytes=0)
    blobs = Blobs(store=store, objects=objects, clock=lambda: clocks.date)
    hub = Hub(
        store=store, unit_key=PrivateKey.generate(), chain=Trust().chain(), blobs=blobs,
        clock=clocks.look, ticks=lambda: clocks.steady,
    )  # fmt: skip
    host = world.join("quiet-otter")
    number = world.submit("Example")
    await hub.run(number)
    world.lease(host, *world.step(number, args=[1]))
    task = asyncio.create_task(timekeeping.expire_leases(hub))
    try:
        yield hub, world
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        store.close()


async def lease(hub: Hub) -> tuple[str, float]:
    """Return the state and the deadline of the copy."""
    row = await hub.store.read(lambda c: c.execute(select(replica)).one())
    return row.state, row.deadline


async def sweeps(clocks: Clocks, count: int = 3) -> None:
    """Wait until the task, which alone asks for the time, has done so a few times: what it found before is written."""
    wanted = clocks.looks + count
    async with asyncio.timeout(30.0):
        while clocks.looks < wanted:
            await asyncio.sleep(0)


@pytest.mark.parametrize("jump", [DAY, -DAY, 2 * HOUR])
async def test_a_clock_that_is_set_moves_the_leases_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr(timekeeping, "SWEEP_S", 0.0)
    clocks = Clocks()
    async with leasing(tmp_path, clocks) as (hub, _):
        ends = clocks.date + HOUR
        await sweeps(clocks)
        assert await lease(hub) == ("leased", ends)
        clocks.date += jump
        await sweeps(clocks)
        assert await lease(hub) == ("leased", ends + jump)
        clocks.pass_by(HOUR)
        await sweeps(clocks)
        assert (await lease(hub))[0] == "expired"
        assert hub.ready.unsent == 2, "the queue has learned that the copy is wanted again"


async def test_small_drifts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "SWEEP_S", 0.0)
    clocks = Clocks()
    async with leasing(tmp_path, clocks) as (hub, _):
        before = await lease(hub)
        clocks.date += timekeeping.JUMP_S / 2
        await sweeps(clocks)
        assert await lease(hub) == before


@pytest.mark.parametrize("full", [StorageFull("the disk is full"), OSError(errno.ENOSPC, "no space")])
async def test_work_that_meets_a_full_disk_goes_on_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    monkeypatch.setattr(timekeeping, "AGAIN_S", 0.0)
    tries = []

    async def work() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise full
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        await timekeeping.steadily("the work", work)
    assert len(tries) == 4


@pytest.mark.parametrize(("away", "given"), [(500.0, 500.0), (-500.0, 0.0)])
def test_an_outage_is_given_to_every_open_lease(tmp_path: Path, away: float, given: float) -> None:
    store = Store(fresh(tmp_path))
    world = World(store, 1000.0)
    host = world.join("quiet-otter")
    made = world.step(world.submit("Example"), args=[1, 2], quorum=1)
    world.lease(host, *made)
    world.report(host, made[0], 1)
    assert store.write_now(lambda c: timekeeping.extend_after_outage(c, 1000.0)) == 0.0
    assert store.write_now(lambda c: timekeeping.extend_after_outage(c, 1000.0 + away)) == given
    rows = store.write_now(lambda c: c.execute(select(replica.c.state, replica.c.deadline)).all())
    assert sorted(tuple(row) for row in rows) == [("leased", 1000.0 + HOUR + given), ("valid", 1000.0 + HOUR)]
    assert store.write_now(lambda c: recall(c, "alive")) == repr(1000.0 + away)
    store.close()
