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


async def test_what_nobody_waits_for_holds_up_nothing() -> None:
    queue = CheckQueue()
    for number in (1, 2):
        queue.put(number, hurried=False)
    queue.put(3)
    queue.put(4)
    assert len(queue) == 4
    assert [await queue.get(), await queue.get(hurried=False), await queue.get()] == [3, 1, 4]
    waits = asyncio.create_task(queue.get())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waits.done(), "a hurried checker leaves those of cancelled units alone"
    queue.put(2)
    assert await waits == 2
    assert len(queue) == 0
    queue.put(5)
    queue.put(5, hurried=False)
    assert (len(queue), await queue.get(hurried=False)) == (1, 5)


async def test_a_checker_of_cancelled_units_helps_the_others_when_there_are_none() -> None:
    queue = CheckQueue()
    queue.put(1)
    assert await queue.get(hurried=False) == 1


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
