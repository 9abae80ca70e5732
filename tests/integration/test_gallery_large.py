"""The gallery's larger projects on a real server: a tree that is split, a picture in bands, a sieve that goes stale."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest

from dsage import DistributedFunction, codec, wire
from dsage.bundle import pack
from dsage.driver import Driver
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage.states import RunState
from dsage.trust.envelope import seal
from dsage_projects.factor import work
from dsage_projects.render import PovRay, Render, povray
from dsage_projects.search import Search
from dsage_server.testing import Host, World, document, held, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def started(researcher: Researcher, name: str, **params: Any) -> tuple[int, DistributedFunction]:
    packed = pack(name)
    function = construct(packed.function, params)
    return await researcher.submit(packed, function, params), function


async def stepped(researcher: Researcher, run: int, step: int) -> bool:
    return (await researcher.run(run)).step >= step


async def next_unit(host: Host) -> tuple[wire.Assignment, Any]:
    """Wait for a unit; return it with its arguments."""
    while not (got := await host.fetch(1, wait_s=0.2)):
        pass
    return got[0], codec.decode(document(got[0]).args)


async def pass_the_limit(host: Host, unit: wire.Assignment) -> None:
    """Use up the processor time of a unit."""
    batch, _ = host.signed([unit], [b""], status="failed", reason="cpu", value="")
    report = wire.Report(replica=unit.replica, value=None, cpu_s=600.0)
    reply = await host.exchange(reports=[report], proof=seal(batch, host.key))
    assert [ack.code for ack in reply.acks] == ["ok"]


async def work_on(host: Host, compute: Callable[[Any], Any]) -> None:
    """Compute one unit after the other until cancelled."""
    while True:
        unit, args = await next_unit(host)
        await host.report([unit], [compute(args)])


async def volunteers(world: World, count: int, *more: str) -> list[Host]:
    hosts = [await world.host() for _ in range(count)]
    for host in hosts:
        await host.introduce(offers=["gmpy2", "flint", *more])
    return hosts


async def test_a_search_is_split_where_it_takes_too_long_and_outlives_its_driver(world: World) -> None:
    hosts = await volunteers(world, 3)
    async with await Researcher.open(Home(world.folder)) as researcher, asyncio.timeout(60), asyncio.TaskGroup() as all:
        run, function = await started(researcher, "search", degree=5, bound=40_000)
        first = all.create_task(Driver(function, researcher, run).drive())
        taken = [await next_unit(hosts[0]) for _ in range(2)]
        for unit, _ in taken:
            await pass_the_limit(hosts[0], unit)
        working = [all.create_task(work_on(host, Search.compute)) for host in hosts]
        await until(lambda: stepped(researcher, run, 6))
        first.cancel()
        ended = await Driver(Search(2, 1), researcher, run).drive()
        for task in working:
            task.cancel()
        view = await researcher.run(run)
    assert ended.state is RunState.DONE, ended.reason
    assert [discriminant for discriminant, _ in ended.result["fields"]] == [14641, 24217, 36497, 38569]
    assert {len(args["prefix"]) for _, args in taken} == {2}
    assert view.units["failed"] == 2, "the branches that were split"
    assert sum(view.units.values()) > len(list(Search(5, 40_000).units())) + 2


async def test_bands_of_a_picture_come_from_several_computers(world: World) -> None:
    hosts = await volunteers(world, 2)
    async with await Researcher.open(Home(world.folder)) as researcher, asyncio.timeout(60), asyncio.TaskGroup() as all:
        run, function = await started(researcher, "render", width=32, height=19, samples=1, bands=3)
        driving = all.create_task(Driver(function, researcher, run).drive())
        working = [all.create_task(work_on(host, Render.compute)) for host in hosts]
        ended = await driving
        for task in working:
            task.cancel()
    assert ended.state is RunState.DONE, ended.reason
    whole = Render(32, 19, samples=1, bands=1)
    (unit,) = whole.units()
    whole.process_result(unit, Render.compute(unit.args))
    assert ended.result == whole.result


async def test_povray_is_asked_for_only_where_it_is(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("povray", path=povray.PLACES) is None:
        if os.environ.get("CI"):
            pytest.fail("POV-Ray is missing, and this is CI")
        pytest.skip("POV-Ray is not installed (apt install povray)")
    monkeypatch.chdir(tmp_path)
    (without,), hosts = await volunteers(world, 1), await volunteers(world, 2, "povray")
    async with await Researcher.open(Home(world.folder)) as researcher, asyncio.timeout(60), asyncio.TaskGroup() as all:
        run, function = await started(researcher, "render:PovRay", width=32, height=19, bands=3)
        driving = all.create_task(Driver(function, researcher, run).drive())
        await until(lambda: stepped(researcher, run, 1))
        assert await without.fetch(1) == []
        working = [all.create_task(work_on(host, PovRay.compute)) for host in hosts]
        ended = await driving
        for task in working:
            task.cancel()
    assert ended.state is RunState.DONE, ended.reason
    whole = PovRay(32, 19, bands=1)
    (unit,) = whole.units()
    whole.process_result(unit, PovRay.compute(unit.args))
    assert ended.result == whole.result


def nothing_found(args: Any) -> Any:
    """Return the answer of curves or p-1 without luck; with a quorum of one nobody looks at the residues."""
    size = (args["n"].bit_length() + 7) // 8
    if args["kind"] == "minus":
        return {"residue": bytes(size), "factor": 0}
    return {"residues": [bytes(size)] * args["curves"], "factor": 0, "curve": args["curves"]}


async def test_a_lucky_curve_ends_the_stale_sieve_and_a_smaller_one_begins(world: World) -> None:
    """62 digits: too many to sieve at once, few enough to sieve after some curves, while others go on with curves."""
    primes = [10**20 + 39, 10**20 + 129, 10**21 + 117]
    n = prod(primes)
    sieving, lucky = await volunteers(world, 2)
    async with await Researcher.open(Home(world.folder)) as researcher, asyncio.timeout(60), asyncio.TaskGroup() as all:
        run, function = await started(researcher, "factor", n=n, quorum=1)
        driving = all.create_task(Driver(function, researcher, run).drive())
        unit, args = await next_unit(sieving)
        while args["kind"] != "flint":
            await sieving.report([unit], [nothing_found(args)])
            unit, args = await next_unit(sieving)
        assert args == {"kind": "flint", "n": n}
        curves, other = await next_unit(lucky)
        assert (other["kind"], other["n"]) == ("ecm", n)
        await lucky.report([curves], [{"residues": [], "factor": primes[1], "curve": 0}])
        smaller, rest = await next_unit(lucky)
        while rest["n"] == n:
            await lucky.report([smaller], [nothing_found(rest)])
            smaller, rest = await next_unit(lucky)
        reply = await sieving.exchange(holding=[held(unit, 1.0)])
        assert reply.abort == [unit.replica], "the sieve has become pointless"
        assert rest == {"kind": "flint", "n": n // primes[1]}
        await lucky.report([smaller], [work.compute(rest)])
        ended = await driving
        view = await researcher.run(run)
    assert ended.state is RunState.DONE, ended.reason
    assert ended.result["factors"] == [[p, 1] for p in sorted(primes)]
    assert ended.result["complete"] is True
    assert view.units["cancelled"] >= 1
