"""The gallery's small projects on a real server, with volunteers of whom one lies wherever it may be believed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dsage import DistributedFunction, codec, perturbing
from dsage.bundle import pack
from dsage.driver import Driver
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage.states import RunState
from dsage.wire import PERTURBED
from dsage_server.testing import Host, World, document

pytestmark = pytest.mark.asyncio(loop_scope="module")

CURVE = "0,-1,1,-10,-20"
RUNS: dict[str, tuple[dict[str, Any], Any]] = {
    "sum": ({"n": 5}, 15),
    "squares": ({"numbers": "25,12,25,32,12"}, [625, 144, 625, 1024, 144]),
    "points": (
        {"curve": CURVE, "below": 32, "block": 10},
        [[2, 5], [3, 5], [5, 5], [7, 10], [13, 10], [17, 20], [19, 20], [23, 25], [29, 30], [31, 25]],
    ),
    "montecarlo": (
        {"d": 2, "error": "0.01", "points": 10_000},
        {"volume": 3.1497, "error": 0.008182789990425156, "points": 40_000},
    ),
    "prp": ({"k": 3, "last": 50}, [2, 5, 6, 8, 12, 18, 30, 36, 41]),
}
LIES: dict[str, Any] = {
    "sum": 99,
    "squares": 626,
    "points": [999],
    "montecarlo": 7,
    "prp": {"prime": True, "residue": 1},
}


async def lie_once(host: Host, lie: Any) -> None:
    """Wait for a unit and answer it with a lie."""
    while not (got := await host.fetch(1, wait_s=0.2)):
        pass
    await host.report(got, [lie])


async def work(host: Host, function: type[DistributedFunction]) -> None:
    """Compute one unit after the other until cancelled, perturbed where the project can."""
    while True:
        got = await host.fetch(1, wait_s=0.2)
        if got:
            copies = [(codec.decode(document(each).args), perturbing.seed_of(each.lease)) for each in got]
            await host.report(got, [function.compute_perturbed(*each) for each in copies])


@pytest.mark.parametrize("name", RUNS)
async def test_a_project_of_the_gallery_ends_right_though_one_lies(name: str, world: World) -> None:
    params, answer = RUNS[name]
    packed = pack(name)
    function = construct(packed.function, params)
    liar, *honest = [await world.host() for _ in range(3)]
    for host in (liar, *honest):
        await host.introduce(offers=["gmpy2"], features=[PERTURBED])
    async with await Researcher.open(Home(world.folder)) as researcher, asyncio.timeout(60), asyncio.TaskGroup() as all:
        run = await researcher.submit(packed, function, params)
        driving = all.create_task(Driver(function, researcher, run).drive())
        await lie_once(liar, LIES[name])
        working = [all.create_task(work(host, packed.function)) for host in honest]
        ended = await driving
        for task in working:
            task.cancel()
        view = await researcher.run(run)
    assert ended.state is RunState.DONE, ended.reason
    assert ended.result == answer
    assert "failed" not in view.units
