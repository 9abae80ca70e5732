"""Questions to an app go together, and whoever asks hears what became of the box."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from dsage import codec
from dsage.errors import UnitFailed
from dsage.sandbox import Outcome
from dsage_validator.boxes import BoxJudge


class Echo:
    """A box that answers with the first argument, and counts its processes."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.processes: list[int] = []

    async def call(self, function: str, args: tuple[bytes, ...], limits: Any) -> Outcome:
        self.processes.append(1)
        return await self._said(codec.decode(args[0]))

    async def call_each(self, function: str, calls: Sequence[tuple[bytes, ...]], limits: Any) -> Outcome:
        self.processes.append(len(calls))
        return await self._said([[True, codec.decode(args[0])] for args in calls])

    async def _said(self, value: Any) -> Outcome:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Outcome("done", codec.encode(value), "", "", 0.0, 0.0)


async def asked(judge: BoxJudge, count: int) -> list[Any]:
    async with asyncio.timeout(10.0):
        asking = (judge.ask("verify", codec.encode(n)) for n in range(count))
        return await asyncio.gather(*asking, return_exceptions=True)


async def test_what_is_asked_at_once_goes_in_one_process_and_no_turn_is_empty() -> None:
    wrong: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
    box = Echo()
    assert await asked(BoxJudge(box), 5) == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert box.processes == [5]
    assert not wrong


@pytest.mark.parametrize("count", [1, 5])
async def test_a_box_that_is_gone_is_told_to_everybody_who_asked(count: int) -> None:
    said = await asked(BoxJudge(Echo(UnitFailed("the box is gone"))), count)  # type: ignore[arg-type]
    assert [type(error) for error in said] == [UnitFailed] * count
