"""A server whose PostgreSQL goes away under it: nothing acknowledged is lost, and it goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import func, select

from dsage.connection import Connection, login
from dsage.errors import Busy, ServerAway
from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage_server import roles, timekeeping
from dsage_server.server import Running, serving
from dsage_server.settings import Settings
from dsage_server.store.schema import credit_entry, credit_sum, process, replica
from dsage_server.store.testing import Cluster, postgres_cluster, shared_cluster
from dsage_server.testing import Host, World, local_settings, until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of its own, to be stopped."""
    shared_cluster()
    with postgres_cluster() as made:
        yield made


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGAIN_S", "ALIVE_S", "FOLD_S", "SWEEP_S", "ROOT_S"):
        monkeypatch.setattr(timekeeping, name, 0.02)
    monkeypatch.setattr(roles, "REFRESH_S", 0.02)


def settings(home: Home, store: str, **more: Any) -> Settings:
    return replace(local_settings(home), store=store, **more)


async def test_it_refuses_while_the_database_is_away_and_goes_on_when_it_is_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    async with serving(home, settings(home, cluster.migrated())) as running, AsyncExitStack() as stack:
        Login(link=str(running.link()), key=LAB).save(home)
        world = World(running, tmp_path, stack)
        hosts, run = [await world.host() for _ in range(4)], await world.run()
        await run.make(*range(400), quorum=1)
        load = [asyncio.create_task(work(host)) for host in hosts]
        await until(lambda: reported(running, 40))
        await asyncio.to_thread(cluster.stop, "immediate")
        assert not any(task.done() for task in load), "it stopped under load"
        await refused(hosts[0])
        async with (
            aiohttp.ClientSession() as session,
            session.get(running.pages_url + "/leaderboard") as page,
        ):
            assert page.status == 503
        await asyncio.to_thread(cluster.start)
        acknowledged = [n for task in load for n in await task]
        kept = await running.hub.store.read(
            lambda c: set(c.execute(select(replica.c.id).where(replica.c.value_hash.is_not(None))).scalars())
        )
        assert set(acknowledged) <= kept
        await until(lambda: all_done(world, run))
        await until(lambda: folded(running))
        place = (await running.hub.store.read(lambda c: c.execute(select(process)).one())).seen
        await until(lambda: seen_later(running, place))


async def work(host: Host) -> list[int]:
    """Fetch and report until there is nothing left; return the copies that were acknowledged."""
    acknowledged: list[int] = []
    got: list[Any] = []
    while True:
        try:
            got = got or await host.fetch(5)
            if not got:
                return acknowledged
            codes = await host.report(got, [1] * len(got))
        except (Busy, ServerAway):
            await asyncio.sleep(0.01)
            continue
        assert set(codes) <= {"ok"}, codes
        acknowledged += [each.replica for each in got]
        got = []


async def refused(host: Host) -> None:
    """Wait until the server says that it must wait; never anything else but success."""
    async with asyncio.timeout(10.0):
        while True:
            try:
                await login(host.conn, host.key, "host", host.running.hub.server_id)
            except Busy:
                return


async def reported(running: Running, count: int) -> bool:
    query = select(func.count()).where(replica.c.value_hash.is_not(None))
    return await running.hub.store.read(lambda c: c.execute(query).scalar_one()) >= count


async def all_done(world: World, run: Any) -> bool:
    host = await world.host()
    await work(host)
    return (await world.view(run)).units.get("valid", 0) + (await leased(world)) == 400


async def leased(world: World) -> int:
    """Copies of which the database's end kept the answer from their host: they expire in time."""
    query = select(func.count()).where(replica.c.state == "leased")
    return await world.running.hub.store.read(lambda c: c.execute(query).scalar_one())


async def folded(running: Running) -> bool:
    paid = select(func.coalesce(func.sum(credit_entry.c.amount_milli), 0))
    sums = select(func.coalesce(func.sum(credit_sum.c.amount_milli), 0))
    return await running.hub.store.read(lambda c: c.execute(paid).scalar_one() == c.execute(sums).scalar_one())


async def seen_later(running: Running, before: float) -> bool:
    return (await running.hub.store.read(lambda c: c.execute(select(process)).one())).seen > before


async def test_two_servers_of_one_home_share_work_and_accounts(tmp_path: Path) -> None:
    home, url = Home(tmp_path), shared_cluster().migrated()
    async with (
        serving(home, settings(home, url)) as one,
        serving(home, settings(home, "")) as two,
        AsyncExitStack() as stack,
    ):
        Login(link=str(one.link()), key=LAB).save(home)
        assert {one.hub.store.slot, two.hub.store.slot} == {1, 2}
        here, there = World(one, tmp_path, stack), World(two, tmp_path, stack)
        host, run = await here.host(), await here.run()
        other = await there.host()
        await run.make(1, quorum=2)
        (mine,) = await host.fetch()
        await until(lambda: gets(other, [1]))
        moved = await stack.enter_async_context(await Connection.open(two.link()))
        again = Host(two, moved, host.key)
        again.token = host.token
        assert await again.report([mine], [1]) == ["ok"], "its token and its lease are good at the other one too"
        assert (await here.view(run)).units == {"valid": 1}


async def gets(host: Host, values: list[int]) -> bool:
    """Whether a host gets units, and reports these values for them."""
    got = await host.fetch(len(values), wait_s=0.1)
    return bool(got) and await host.report(got, values) == ["ok"] * len(values)


async def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    home = Home(tmp_path)
    url = "postgresql://dsage:hidden@127.0.0.1:1/dsage"
    with pytest.raises(ServerAway, match="does not answer") as refused:
        async with serving(home, settings(home, url)):
            pass
    assert "hidden" not in f"{refused.value.message} {refused.value.hint}"
