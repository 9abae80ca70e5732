"""A real server's bad days: a full disk, a restart, a second server, a revoked app."""

from __future__ import annotations

import io
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from dsage import codec, wire
from dsage.errors import Conflict, RolledBack, StorageFull
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.ceremony import sign_root
from dsage.trust.envelope import seal
from dsage_server import timekeeping
from dsage_server.server import Running
from dsage_server.store.engine import Store
from dsage_server.store.meta import remember
from dsage_server.store.place import place_of
from dsage_server.store.schema import replica
from dsage_server.testing import HandDriver, World, running_server, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_full_disk_is_said_survived_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "AGAIN_S", 0.01)
    monkeypatch.setattr(timekeeping, "ALIVE_S", 0.01)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        await fill_the_disk(World(running, tmp_path, stack))


async def fill_the_disk(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, output_bytes=4 << 20)
    got = await host.fetch()
    store = world.running.hub.store
    no_room(store)
    big = b"\x00" * (200 << 10)
    with pytest.raises(StorageFull) as refused:
        await host.report(got, [big])
    assert "no room" in refused.value.message
    batch, reports = host.signed(got, [codec.encode(big)])
    body = msgspec.msgpack.encode(wire.Exchange(reports=reports, proof=seal(batch, host.key)))
    status, problem, headers = await host.raw("POST", "/v1/exchange", data=io.BytesIO(body))
    assert (status, problem["code"], headers["Retry-After"]) == (507, "storage-full", "5")
    assert (await world.view(run)).replicas == {"leased": 1}
    world.running.hub.ledger.set()
    room(store)
    assert await host.report(got, [big]) == ["ok"]
    assert (await world.view(run)).units == {"valid": 1}


def no_room(store: Store) -> None:
    """Let the database find no room for an answer: SQLite by a limit on its file, PostgreSQL by the error that a full
    disk gives."""
    if not store.shared:
        store.write_now(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1").scalar())
        return
    for statement in (
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON answer FOR EACH ROW EXECUTE FUNCTION full_disk()",
    ):
        store.write_now(lambda c, s=statement: c.exec_driver_sql(s))  # type: ignore[misc]


def room(store: Store) -> None:
    """Let there be room again."""
    if store.shared:
        store.write_now(lambda c: c.exec_driver_sql("DROP TRIGGER full_disk ON answer"))
    else:
        store.write_now(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000").scalar())


async def test_two_servers_on_one_folder_and_a_taken_port_are_refused(world: World, tmp_path: Path) -> None:
    if not world.running.hub.store.shared:
        with pytest.raises(Conflict, match="a server runs on"):
            async with running_server(world.folder):
                pass
    port = int(world.running.url.rpartition(":")[2])
    with pytest.raises(Conflict, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"):
        async with running_server(tmp_path, port=port):
            pass


async def test_a_restart_keeps_leases_answers_and_accounts(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_server(tmp_path))
        world = World(running, tmp_path, stack)
        host, run = await world.host(), await world.run()
        await run.make(1, 2, 3)
        got = await host.fetch(want=2)
        await host.report(got[:1], [1])
        before = await leased_deadlines(running)
        number, key = run.run, host.key
        long_ago = running.hub.clock() - 5000.0

    store = Store(place_of(tmp_path / "server"))
    store.write_now(lambda c: remember(c, "alive", repr(long_ago)))
    store.close()
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_server(tmp_path))
        world = World(running, tmp_path, stack)
        after = await leased_deadlines(running)
        assert running.away_s >= 5000.0
        assert after == {n: pytest.approx(d + running.away_s) for n, d in before.items()}
        host = await world.host(key)
        again = await host.introduce(got[1])
        assert again.abort == []
        assert await host.report(got[1:], [2]) == ["ok"]
        assert len(await host.fetch(want=5)) == 1
        researcher = await stack.enter_async_context(await Researcher.open(Home(tmp_path)))
        run = HandDriver(researcher, number, (await researcher.drive(number)).fence, step=1)
        assert [codec.decode(a.value or b"") for a in (await run.answers()).answers] == [1, 2]
        await host.introduce()
        assert (await world.view(run)).units == {"valid": 2, "ready": 1}, "what a host forgot goes out again at once"


async def leased_deadlines(running: Running) -> dict[int, float]:
    query = select(replica.c.id, replica.c.deadline).where(replica.c.state == "leased")
    return {row.id: row.deadline for row in await running.hub.store.read(lambda c: c.execute(query).all())}


@pytest.mark.parametrize("away", [False, True], ids=["while it runs", "while it is down"])
async def test_a_revoked_app_ends_its_run_and_stops_its_copies(
    tmp_path: Path, away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeping, "ROOT_S", 0.01)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_server(tmp_path))
        world = World(running, tmp_path, stack)
        host, run = await world.host(), await world.run()
        await run.make(1, 2)
        got = await host.fetch()
        app = (await world.view(run)).app
        if not away:
            sign_root(Home(tmp_path), revoked_apps=[app])
            await until(lambda: state_is(world, run, "failed"))
        key = host.key
    if away:
        sign_root(Home(tmp_path), revoked_apps=[app])
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_server(tmp_path))
        world = World(running, tmp_path, stack)
        view = await world.view(run)
        assert (view.state, view.reason, view.units) == ("failed", "its app version was revoked", {"cancelled": 2})
        host = await world.host(key)
        reply = await host.introduce(got[0])
        assert reply.abort == [got[0].replica]
        assert await host.fetch(want=5) == []


async def test_an_older_root_json_is_no_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "ROOT_S", 0.01)
    home = Home(tmp_path)
    async with running_server(tmp_path) as running:
        older = home.root_file.read_bytes()
        sign_root(home, revoked_apps=["0" * 64])

        async def taken() -> bool:
            return running.hub.chain.root.version == 2

        await until(taken)
    newer = home.root_file.read_bytes()
    home.root_file.write_bytes(older)
    with pytest.raises(RolledBack, match="has version 1, and this server has had version 2"):
        async with running_server(tmp_path):
            pass
    home.root_file.write_bytes(newer)
    async with running_server(tmp_path) as running:
        assert running.hub.chain.root.version == 2


async def state_is(world: World, run: HandDriver, state: str) -> bool:
    return (await world.view(run)).state == state
