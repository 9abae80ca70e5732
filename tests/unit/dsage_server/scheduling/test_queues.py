"""The queues in memory: held calls, answers to check."""

from __future__ import annotations

import asyncio

from dsage_server.scheduling.checking import CheckQueue
from dsage_server.scheduling.waiting import Waiting


async def test_a_call_between_the_look_and_the_wait_is_not_missed() -> None:
    waiting = Waiting()
    since = waiting.moment()
    waiting.call("other")
    waiting.call("mine")
    assert await waiting.wait("mine", 60.0, since=since)
    since = waiting.moment()
    assert not await waiting.wait("mine", 0.0, since=since)
    assert not await waiting.wait("mine", -5.0, since=since)
    held = asyncio.create_task(waiting.wait("mine", 60.0, since=waiting.moment()))
    await asyncio.sleep(0)
    assert len(waiting) == 1
    waiting.call_all()
    assert await held
    assert len(waiting) == 0


async def test_a_unit_is_with_one_checker_at_a_time() -> None:
    queue = CheckQueue()
    for number in (1, 2, 1):
        queue.put(number)
    assert (len(queue), await queue.get(), await queue.get()) == (2, 1, 2)
    queue.put(1)
    again = asyncio.create_task(queue.get())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not again.done()
    queue.put(3)
    assert await again == 3
    again = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.done(1)
    assert await again == 1
