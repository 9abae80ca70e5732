"""Held calls of a real server: who waits is woken at once, and only for something."""

from __future__ import annotations

import asyncio
import os

import pytest

from dsage.errors import (
    Conflict,
)
from dsage_server.store.engine import Store
from dsage_server.testing import Host, World, held, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_new_work_wakes_a_held_call_at_once(world: World) -> None:
    host, run = await world.host(), await world.run()
    call = asyncio.create_task(host.fetch(wait_s=25.0))
    await until(lambda: held_calls(world, host))
    await run.make(1)
    async with asyncio.timeout(20.0):
        assert len(await call) == 1


async def test_who_waits_shares_what_is_not_enough_for_all(world: World) -> None:
    hosts, run = [await world.host() for _ in range(3)], await world.run()
    calls = [asyncio.create_task(host.fetch(want=5, wait_s=25.0)) for host in hosts]
    for host in hosts:
        await until(lambda host=host: held_calls(world, host))  # type: ignore[misc]
    await run.make(1, 2, 3)
    async with asyncio.timeout(20.0):
        assert [len(got) for got in await asyncio.gather(*calls)] == [1, 1, 1]


async def test_an_end_wakes_a_host_that_is_still_computing(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    call = asyncio.create_task(host.exchange(holding=[held(got[0])], wait_s=25.0))
    await until(lambda: held_calls(world, host))
    await run.researcher.cancel(run.run)
    async with asyncio.timeout(20.0):
        assert (await call).abort == [got[0].replica]
    assert await host.report(got, [1], status="aborted") == ["ok"]
    assert (await world.view(run)).replicas == {"redundant": 1}


async def test_a_newer_call_ends_an_older_one(world: World) -> None:
    host = await world.host()
    older = asyncio.create_task(host.exchange(want=1, wait_s=25.0))
    await until(lambda: held_calls(world, host))
    newer = asyncio.create_task(host.exchange(want=1, wait_s=25.0))
    async with asyncio.timeout(20.0):
        assert (await older).units == []
    assert not newer.done()
    newer.cancel()


async def test_nothing_is_leased_to_a_host_that_hung_up(world: World) -> None:
    host, run = await world.host(), await world.run()
    call = asyncio.create_task(host.exchange(want=1, wait_s=25.0))
    await until(lambda: held_calls(world, host))
    call.cancel()
    await until(lambda: nobody_waits(world, host))
    await run.make(1)
    assert (await world.view(run)).units == {"ready": 1}
    assert len(await host.fetch()) == 1


async def test_a_held_call_that_is_woken_for_nothing_writes_nothing(world: World) -> None:
    host, other, run = await world.host(), await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    call = asyncio.create_task(host.exchange(holding=[held(got[0], cpu_s=1.0)], want=0, wait_s=25.0))
    await until(lambda: held_calls(world, host))
    hub = world.running.hub
    before = written(hub.store)
    for _ in range(5):
        hub.waiting.call(("host", host_number(world, host)))
        await asyncio.sleep(0.01)
    assert not call.done()
    assert written(hub.store) == before
    call.cancel()
    await other.exchange()


def written(store: Store) -> object:
    """Return what a write would change: the log of SQLite, where PostgreSQL has each copy and host."""
    if store.shared:
        query = "SELECT ctid, xmin::text FROM replica UNION ALL SELECT ctid, xmin::text FROM host ORDER BY 1, 2"
        return store.read_now(lambda c: c.exec_driver_sql(query).all())
    wal = os.stat(f"{store.url.database}-wal")
    return wal.st_size, wal.st_mtime_ns


async def test_answers_and_hunger_wake_the_driver(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    call = asyncio.create_task(run.answers(25.0))
    await until(lambda: waits(world, ("run", run.run)))
    await host.report(got, [1])
    async with asyncio.timeout(20.0):
        heard = await call
    await run.make(2)
    second = await host.fetch()
    await run.commit(folded=[heard.answers[0].unit])
    hungry = asyncio.create_task(run.answers(25.0, hungry=True))
    sated = asyncio.create_task(run.answers(0.0))
    await host.exchange(want=4, holding=[held(second[0])])
    async with asyncio.timeout(20.0):
        assert (await hungry).hungry > 0
        assert (await sated).answers == []


async def test_an_older_driver_is_shut_out_at_once(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    await host.fetch()
    call = asyncio.create_task(run.answers(25.0))
    await until(lambda: waits(world, ("run", run.run)))
    taken = await run.researcher.drive(run.run)
    async with asyncio.timeout(20.0):
        with pytest.raises(Conflict, match="another driver"):
            await call
    with pytest.raises(Conflict, match="another driver"):
        await run.make(2)
    run.fence = taken.fence
    await run.make(2)


async def test_watchers_hear_of_events(world: World) -> None:
    host, run = await world.host(), await world.run()
    seen = await run.researcher.events(run.run)
    assert [event.kind for event in seen] == ["submitted"]
    call = asyncio.create_task(run.researcher.events(run.run, after=seen[-1].id, wait_s=25.0))
    await until(lambda: waits(world, ("events", run.run)))
    await run.researcher.cancel(run.run)
    async with asyncio.timeout(20.0):
        assert [event.kind for event in await call] == ["cancelled"]
    await host.exchange()


async def waits(world: World, name: tuple[str, int]) -> bool:
    return name in world.running.hub.waiting.names()


def host_number(world: World, host: Host) -> int:
    hub = world.running.hub
    return hub.sessions.find(f"Bearer {host.token}", "host", hub.clock()).host


async def held_calls(world: World, host: Host) -> bool:
    return await waits(world, ("host", host_number(world, host)))


async def nobody_waits(world: World, host: Host) -> bool:
    return not await held_calls(world, host)
