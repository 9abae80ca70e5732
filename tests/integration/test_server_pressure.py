"""A real server under pressure: questions are sent away before results, nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsage import codec, wire
from dsage.errors import Busy
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey
from dsage_server.scheduling import pressure
from dsage_server.testing import Host, World, running_server, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def standstill(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Nothing is committed for calls of hosts until the block ends."""
    store, gate = world.running.hub.store, asyncio.Event()
    join = store.join

    async def waits(kind: Any, item: Any) -> Any:
        await gate.wait()
        return await join(kind, item)

    with monkeypatch.context() as patched:
        patched.setattr(store, "join", waits)
        yield
        gate.set()


async def test_questions_are_shed_before_results_and_no_accepted_result_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [await world.host() for _ in range(4)]
    run = await world.run()
    await run.make(*range(4))
    got = [(await host.fetch())[0] for host in hosts]
    await run.make(5)
    hub = world.running.hub
    steady = hub.pressure.ticks
    hub.pressure.ticks = lambda: steady() + late_s
    late_s = 0.0
    async with standstill(world, monkeypatch):
        first = asyncio.create_task(hosts[0].report([got[0]], [0]))
        await until(lambda: _pending(world, 1))
        late_s = pressure.FETCH_WAIT_S + 1.0
        with pytest.raises(Busy, match="work is not handed out") as refused:
            await hosts[1].fetch()
        assert refused.value.retry_s >= 1.0
        second = asyncio.create_task(hosts[1].report([got[1]], [1]))
        await until(lambda: _pending(world, 2))
        late_s = pressure.REPORT_WAIT_S + 1.0
        with pytest.raises(Busy, match="results are not taken") as refused:
            await hosts[2].report([got[2]], [2])
        status, problem, headers = await hosts[3].raw("POST", "/v1/exchange", data=_report(hosts[3], got[3], 3))
        assert (status, problem["code"]) == (503, "busy")
        assert int(headers["Retry-After"]) >= 5
    assert [await first, await second] == [["ok"], ["ok"]]
    hub.pressure.ticks = steady
    assert await hosts[2].report([got[2]], [2]) == ["ok"]
    assert await hosts[3].report([got[3]], [3]) == ["ok"]
    assert (await world.view(run)).units["valid"] == 4
    assert hub.pressure.pending == 0


async def test_calls_beyond_the_grant_are_not_held_but_told_when_to_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.running.hub.pressure, "most_held", 1)
    first, second = await world.host(), await world.host()
    held = asyncio.create_task(first.exchange(want=1, wait_s=25.0))
    await until(lambda: _held(world, 1))
    async with asyncio.timeout(20.0):
        reply = await second.exchange(want=1, wait_s=25.0)
    assert not reply.units
    assert reply.retry_s > 0
    run = await world.run()
    await run.make(1)
    assert len((await held).units) == 1
    await until(lambda: _held(world, 0))


async def test_a_watcher_is_held_under_the_same_grant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host, run = await world.host(), await world.run()
    events = await run.researcher.events(run.run)
    monkeypatch.setattr(world.running.hub.pressure, "most_held", 0)
    async with asyncio.timeout(20.0):
        status, _, _ = await host.raw("GET", f"/v1/runs/{run.run}/events?after={events[-1].id}&wait=25")
    assert status == 200


async def test_a_driver_beyond_the_grant_is_told_when_to_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await world.run()
    await run.make(1)
    monkeypatch.setattr(world.running.hub.pressure, "most_held", 0)
    with pytest.raises(Busy, match="holds as many calls as it can") as refused:
        await run.answers(wait_s=25.0)
    assert refused.value.retry_s >= 1.0
    assert (await run.answers()).open_units == 1


@pytest.mark.asyncio(loop_scope="function")
async def test_a_restart_costs_no_login(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    async with running_server(tmp_path) as running, Host.joined(running, key) as host:
        assert await host.fetch() == []
        token, port = host.token, int(running.url.rsplit(":", 1)[1])
    async with running_server(tmp_path, port=port) as running, AsyncExitStack() as stack:
        other = await stack.enter_async_context(Host.joined(running))
        other.token = token
        run = await World(running, tmp_path, stack).run()
        await run.make(1)
        assert len(await other.fetch()) == 1


async def _pending(world: World, count: int) -> bool:
    return world.running.hub.pressure.pending == count


async def _held(world: World, count: int) -> bool:
    return world.running.hub.pressure.held == count


def _report(host: Host, got: Any, value: int) -> bytes:
    batch, reports = host.signed([got], [codec.encode(value)])
    return msgspec.msgpack.encode(wire.Exchange(reports=reports, proof=seal(batch, host.key)))
