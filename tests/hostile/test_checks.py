"""Apps whose checks mean harm to those of other projects, in the validator's boxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dsage import codec
from dsage.errors import UnitFailed
from dsage.sandbox import Level
from dsage_validator import checks
from dsage_validator.checks import Boxes

APP = """
import time


class App:
    @staticmethod
    def verify(args, value):
        time.sleep(value)
        return True
"""
SLOW = "import time\ntime.sleep(60)\n"
ENTRY = "app:App"


@pytest.fixture
async def boxes(tmp_path: Path) -> AsyncIterator[Boxes]:
    for name, text in (("good", APP), ("slow", SLOW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(text)
    opened = Boxes(Level.BUBBLEWRAP, tmp_path / "work")
    yield opened
    await opened.close()


async def test_many_apps_do_not_close_a_box_that_is_in_use(boxes: Boxes, tmp_path: Path) -> None:
    async def honest() -> list[bool]:
        async with boxes.judging("honest", tmp_path / "good", ENTRY) as judge:
            started.set()
            return [await judge.ask("verify", codec.encode(0), codec.encode(0.3)) for _ in range(4)]

    started = asyncio.Event()
    waiting = asyncio.create_task(honest())
    await started.wait()
    for number in range(checks.MAX_BOXES + 2):
        async with boxes.judging(f"greedy-{number}", tmp_path / "good", ENTRY):
            pass
    assert await waiting == [True] * 4
    assert len(boxes._warm) <= checks.MAX_BOXES


async def test_an_app_that_takes_a_minute_to_load_holds_up_itself(boxes: Boxes, tmp_path: Path) -> None:
    async def load() -> None:
        async with boxes.judging("slow", tmp_path / "slow", ENTRY):
            pass

    slow = asyncio.create_task(load())
    await asyncio.sleep(0)
    async with asyncio.timeout(20.0), boxes.judging("honest", tmp_path / "good", ENTRY) as judge:
        assert await judge.ask("verify", codec.encode(0), codec.encode(0)) is True
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def test_a_box_that_failed_is_not_used_again_nor_closed_under_others(boxes: Boxes, tmp_path: Path) -> None:
    async with boxes.judging("app", tmp_path / "good", ENTRY) as first:
        with pytest.raises(UnitFailed):
            async with boxes.judging("app", tmp_path / "good", ENTRY):
                raise UnitFailed("it broke")
        assert await first.ask("verify", codec.encode(0), codec.encode(0)) is True
        async with boxes.judging("app", tmp_path / "good", ENTRY) as second:
            assert second.box is not first.box
