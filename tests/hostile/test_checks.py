"""Apps whose checks mean harm to those of other projects, in the validator's boxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dsage import codec
from dsage.errors import UnitFailed
from dsage.sandbox import Level
from dsage_validator.boxes import MAX_BOXES, Boxes
from dsage_validator.checks import NoOpinion

APP = """
import os
import time


class App:
    @staticmethod
    def verify(args, value):
        if value == -1:
            os.abort()
        time.sleep(value)
        return True

    @staticmethod
    def agree(args, a, b):
        if a == -1:
            os.abort()
        return abs(a - b) < 1
"""
DEADLY = -1
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
    for number in range(MAX_BOXES + 2):
        async with boxes.judging(f"greedy-{number}", tmp_path / "good", ENTRY):
            pass
    assert await waiting == [True] * 4
    assert len(boxes._warm) <= MAX_BOXES


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


async def test_questions_that_wait_go_together_and_none_suffers_for_another(boxes: Boxes, tmp_path: Path) -> None:
    async def asked(value: float | str) -> object:
        try:
            return await judge.ask("agree", codec.encode(0), codec.encode(value), codec.encode(0))
        except NoOpinion as error:
            return str(error)

    async with boxes.judging("app", tmp_path / "good", ENTRY) as judge:
        calls: list[str] = []
        ask = judge.box.call

        async def counted(function: str, *args: Any, **more: Any) -> Any:
            calls.append(function)
            return await ask(function, *args, **more)

        judge.box.call = counted  # type: ignore[method-assign]
        said = await asyncio.gather(*[asked(value) for value in (0.1, 5, "no number", 0.2)] * 3)
        assert [one if isinstance(one, bool) else str(one)[:13] for one in said] == [
            True, False, "agree failed ", True,
        ] * 3  # fmt: skip
        assert len(calls) < len(said)
        calls.clear()
        said = await asyncio.gather(*[asked(value) for value in [0.1] * 3 + [DEADLY] + [0.3] * 3])
        assert [one for one in said if one is True] == [True] * 6
        assert str(said[3]).startswith("agree failed (crash")
