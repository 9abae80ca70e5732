"""Values that many visitors share: how often they are made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dsage_server.shared import Shared


async def test_shared_values_are_made_again_when_old_and_more_seldom_when_slow() -> None:
    now = 0.0
    made: list[int] = []

    async def make() -> int:
        nonlocal now
        made.append(1)
        now += cost
        return len(made)

    shared: Shared[int] = Shared(period_s=1.0, clock=lambda: now)
    cost = 0.0
    assert [await shared.get("a", make), await shared.get("a", make)] == [1, 1]
    now = 1.0
    cost = 0.5
    assert await shared.get("a", make) == 2
    now = 5.9
    assert await shared.get("a", make) == 2
    now = 6.0
    assert await shared.get("a", make) == 3


async def test_a_failure_is_shared_and_then_forgotten() -> None:
    now = 0.0
    shared: Shared[int] = Shared(period_s=1.0, clock=lambda: now)

    async def fail() -> int:
        raise ValueError("once")

    async def work() -> int:
        return 7

    with pytest.raises(ValueError, match="once"):
        await shared.get("a", fail)
    with pytest.raises(ValueError, match="once"):
        await shared.get("a", work)
    now = 1.0
    assert await shared.get("a", work) == 7


async def test_shared_values_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsage_server.shared.KEPT", 2)
    shared: Shared[str] = Shared(period_s=1000.0)
    made: list[str] = []

    def maker(name: str) -> Any:
        async def make() -> str:
            made.append(name)
            return name

        return make

    for name in "abca":
        await shared.get(name, maker(name))
    assert made == ["a", "b", "c", "a"]


async def test_all_who_ask_meanwhile_wait_for_the_one_that_is_being_made() -> None:
    shared: Shared[int] = Shared()
    made: list[int] = []
    go = asyncio.Event()

    async def make() -> int:
        made.append(1)
        await go.wait()
        return 7

    waiting = [asyncio.create_task(shared.get("a", make)) for _ in range(1000)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*waiting) == [7] * 1000
    assert made == [1]
