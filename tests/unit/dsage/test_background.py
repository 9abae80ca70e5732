from __future__ import annotations

import asyncio
import threading

import pytest

from dsage.background import Background
from dsage.errors import TimedOut, UsageError


async def answer() -> int:
    return 42


def test_work_is_done_in_another_thread() -> None:
    background = Background("test")

    async def who() -> str:
        return threading.current_thread().name

    assert background.call(who()) == "test"
    with pytest.raises(TimedOut):
        background.call(asyncio.sleep(60), timeout=0.01)
    background.close()


def test_whoever_waits_is_told_that_it_was_closed() -> None:
    background = Background("test")
    began = threading.Event()
    told: list[BaseException] = []

    async def long() -> None:
        began.set()
        await asyncio.sleep(60)

    def wait() -> None:
        try:
            background.call(long())
        except UsageError as error:
            told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert began.wait(10)
    background.close()
    waiting.join(10)
    assert [type(error) for error in told] == [UsageError]


def test_nothing_is_taken_that_would_never_be_done() -> None:
    """Work that comes while the loop ends is either done, ended, or refused: nobody waits for ever."""
    for _ in range(20):
        background = Background("test")
        ready = threading.Barrier(9)
        ends: list[str] = []

        def work(background: Background = background, ready: threading.Barrier = ready, ends: list[str] = ends) -> None:
            ready.wait()
            for _ in range(20):
                try:
                    background.call(answer(), timeout=20)
                except UsageError:
                    ends.append("refused")
                    return
                except TimedOut:
                    ends.append("lost")
                    return

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        ready.wait()
        background.close()
        for thread in threads:
            thread.join()
        assert "lost" not in ends


def test_it_may_be_closed_by_several_at_once() -> None:
    background = Background("test")
    threads = [threading.Thread(target=background.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    with pytest.raises(UsageError, match="closed"):
        background.call(answer())
