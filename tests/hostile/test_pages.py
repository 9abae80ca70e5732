"""What a researcher may put into a run's parameters, progress and results, and what visitors then see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dsage import codec
from dsage_server.testing import World, running_server

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}{% x %}\u202e\x00\x1b[2J"
HOSTILE: list[Any] = [
    {"phase": SCRIPT, "summary": SCRIPT, "fraction": 1e308, "eta_s": 1e308},
    {"phase": 7, "summary": [SCRIPT], "fraction": "x", "eta_s": float("inf"), SCRIPT: SCRIPT},
    {"fraction": float("nan"), "eta_s": -1.0, "phase": None},
    {"eta_s": 2**4000, "fraction": 2**4000, "n": -(2**200_000)},
    {"n": 15, "factors": [[3, 1], [5, 2**70]], "found_by": [[3, 2**80]], "unfinished": [0, -1]},
    {"n": 0, "factors": [[0, 0]], "found_by": [[0, -1]], "unfinished": False},
    {"rows": [[1, 2]] * 3000, "deep": [[[[[[[[[[1]]]]]]]]]], "": {"": {}}},
    [[]] * 9999,
    SCRIPT,
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_value_breaks_a_page_or_runs_in_it(world: World, value: Any) -> None:
    run, host = await world.run(), await world.host()
    data = codec.encode(value)
    await run.make(value, group=SCRIPT)
    got = await host.fetch()
    await host.report(got, [value])
    await run.commit(progress=data)
    ended = await world.run()
    await ended.commit(progress=data, finished=True, result=data)
    base = world.running.pages_url
    async with aiohttp.ClientSession() as session:

        async def sees_no_script(*paths: str) -> None:
            for path in paths:
                async with session.get(base + path) as answer:
                    body = await answer.text()
                    assert answer.status == 200, (path, body[:500])
                    if "html" in answer.content_type:
                        assert "<script>alert" not in body
                        assert "<img src=x" not in body

        numbered = [f"/run/{run.run}", f"/run/{ended.run}", "/unit/1", "/status"]
        await sees_no_script("/", *numbered, "/index.json", *(f"{path}.json" for path in numbered))
