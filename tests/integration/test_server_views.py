"""What anybody may ask a real server about: runs, volunteers, the server at a glance."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from dsage import wire
from dsage.bundle import pack
from dsage.home import Home
from dsage.researcher import Researcher
from dsage_server.testing import APP, HandDriver, Host, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKERS = 100
ASKS = """
    platforms = ("linux-x86_64",)
    tags = ("gpu",)
"""


@pytest.mark.parametrize("path", ["/v1/status", "/v1/runs", "/v1/leaderboard"])
async def test_many_who_look_cost_one_look_a_second(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = await world.host()
    looks = 0
    read = world.running.hub.store.read

    async def counted(query: Any) -> Any:
        nonlocal looks
        looks += 1
        return await read(query)

    monkeypatch.setattr(world.running.hub.store, "read", counted)
    begin = time.monotonic()
    answers = await asyncio.gather(*[host.conn.call("GET", path, None, bytes) for _ in range(ASKERS)])
    assert looks <= 2 + time.monotonic() - begin
    assert looks < ASKERS
    assert len(set(answers)) <= max(1, looks)


async def test_who_knows_it_already_is_told_so(world: World) -> None:
    host, run = await world.host(), await world.run()
    path = f"/v1/runs/{run.run}/credit"
    status, _, headers = await host.raw("GET", path)
    (etag,) = [value for name, value in headers.items() if name.lower() == "etag"]
    assert status == 200
    assert (await host.raw("GET", path, headers={"If-None-Match": etag}))[0] == 304
    assert (await host.raw("GET", path, headers={"If-None-Match": '"older"'}))[0] == 200


async def test_credit_is_listed_by_name_in_a_run_and_in_all(world: World) -> None:
    run, one, two = await world.run(), await world.host(), await world.host()
    await run.make(1, 2, quorum=2)
    for host in (one, two):
        assert await host.report(await host.fetch(2), [1, 2]) == ["ok", "ok"]

    async def folded() -> bool:
        return list((await run.researcher.credit(run.run)).values()) == [2000, 2000]

    await until(folded)
    names = set(await run.researcher.credit(run.run))

    async def listed() -> bool:
        return {line.pseudonym for line in await run.researcher.leaderboard() if line.credit_milli == 2000} >= names

    await until(listed)
    assert (await run.researcher.run(run.run)).volunteers == 2


async def test_a_run_goes_to_the_computers_that_it_asks_for(world: World) -> None:
    source = world.folder / "app.py"
    source.write_text(APP.replace("class Plain(DistributedFunction):", f"class Plain(DistributedFunction):{ASKS}"))
    researcher = await world.stack.enter_async_context(await Researcher.open(Home(world.folder)))
    packed = pack(f"{source}:Plain")
    number = await researcher.submit(packed, packed.function(), {}, priority=7, tags=["LAB-2", "gpu"])
    run = HandDriver(researcher, number, (await researcher.drive(number)).fence)
    world.runs.append(run)
    await run.make(1)
    plain, marked, elsewhere = [await world.host() for _ in range(3)]
    await _introduce(plain, "linux-x86_64")
    await _introduce(elsewhere, "darwin-arm64", "gpu", "lab-2")
    await _introduce(marked, "linux-x86_64", "gpu", "lab-2", "more")
    reply = await plain.exchange(want=1)
    assert not reply.units
    assert reply.reason == "the waiting units need computers marked gpu, lab-2, and this one is not"
    assert reply.reasons == {"lab": "needs computers marked gpu, lab-2, and this one is not"}
    assert "linux-x86_64" in (await elsewhere.exchange(want=1)).reason
    assert len(await marked.fetch()) == 1
    view = await researcher.run(number)
    assert (view.priority, view.platforms, view.tags) == (7, ["linux-x86_64"], ["gpu", "lab-2"])


async def _introduce(host: Host, platform: str, *tags: str) -> None:
    info = wire.HostInfo(
        client="test", platform=platform, cores=1, memory_bytes=1 << 34, disk_bytes=1 << 34, sandbox="none",
        tags=list(tags),
    )  # fmt: skip
    await host.exchange(host=info)
