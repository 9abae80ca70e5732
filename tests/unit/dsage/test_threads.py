"""What a thread has begun is done, and what it opened is closed, whenever its caller is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dsage.threads import made, opened, step


class Work:
    """A call in a thread that says when it has begun and goes on when it is let go."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun, self._gate = asyncio.Event(), threading.Event()
        self.done = self.closed = False
        self._failure = failure

    def __call__(self) -> Work:
        self._loop.call_soon_threadsafe(self.begun.set)
        self._gate.wait(30)
        self.done = True
        if self._failure is not None:
            raise self._failure
        return self

    def go(self) -> None:
        self._gate.set()

    def close(self) -> None:
        self.closed = True


async def open_it(work: Work) -> None:
    async with opened(work):
        raise AssertionError("nobody waits for it any more")


async def make_it(work: Work) -> None:
    await made(Work.close, work)


@pytest.mark.parametrize("failure", [None, OSError("no room")], ids=["opens", "fails"])
@pytest.mark.parametrize("act", [open_it, make_it, step], ids=["opened", "made", "step"])
async def test_a_cancelled_caller_waits_for_its_thread(act: Callable[[Any], Any], failure: Exception | None) -> None:
    work = Work(failure)
    caller = asyncio.ensure_future(act(work))
    await work.begun.wait()
    for _ in range(2):
        caller.cancel()
        await asyncio.wait([caller], timeout=0)
    assert not caller.done()
    work.go()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.done
    assert work.closed is (act is not step and failure is None)


async def test_what_is_opened_is_closed_behind_its_block() -> None:
    work = Work()
    work.go()
    async with opened(work) as held:
        assert held is work
        assert not work.closed
    assert work.closed


async def test_a_failure_in_the_thread_is_raised() -> None:
    def fail(words: str) -> Work:
        raise OSError(words)

    with pytest.raises(OSError, match="no room"):
        await step(fail, words="no room")
    with pytest.raises(OSError, match="no room"):
        async with opened(fail, "no room"):
            pass


def test_an_ended_loop_leaves_nothing_open() -> None:
    kept: list[Work] = []

    async def main() -> None:
        kept.append(work := Work())
        asyncio.ensure_future(open_it(work))  # noqa: RUF006
        await work.begun.wait()
        work.go()

    asyncio.run(main())
    assert kept[0].closed
