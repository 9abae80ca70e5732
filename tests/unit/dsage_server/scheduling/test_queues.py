"""The queues in memory: ready units, held calls, answers to check."""

from __future__ import annotations

import asyncio

import pytest

from dsage_server.scheduling import policy, ready
from dsage_server.scheduling.checking import CheckQueue
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.waiting import Waiting
from dsage_validator import life

NONE: frozenset[str] = frozenset()


def unit(number: int, quorum: int = 2, *volunteers: int) -> life.Unit:
    made = life.created(number, quorum)
    for volunteer in volunteers:
        copy = life.Replica(id=number * 100 + volunteer, volunteer=volunteer, deadline=9.0, hard_deadline=9.0)
        made = life.lease(made, copy)
    return made


def test_the_queue_holds_what_still_wants_copies_oldest_first() -> None:
    queue = ReadyQueue()
    for number in (3, 1, 2):
        queue.put(unit(number), 1, NONE)
    assert [entry.unit for entry in queue] == [1, 2, 3]
    assert queue.unsent == 6
    queue.put(unit(2, 2, 7), 1, NONE)
    assert (queue.unsent, [e.barred for e in queue]) == (5, [frozenset(), frozenset({7}), frozenset()])
    queue.put(unit(2, 2, 7, 8), 1, NONE)
    assert ([entry.unit for entry in queue], queue.unsent) == ([1, 3], 4)
    queue.put(life.cancel(unit(1), checked=False), 1, NONE)
    assert ([entry.unit for entry in queue], queue.unsent, len(queue)) == ([3], 2, 1)


def test_a_full_queue_says_that_the_tables_hold_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "CAPACITY", 3)
    monkeypatch.setattr(ready, "REFILL_BELOW", 2)
    queue = ReadyQueue()
    for number in range(4):
        queue.put(unit(number), 1, NONE)
    assert (len(queue), queue.overflowed, queue.wants_refill) == (3, True, False)
    for number in range(2):
        queue.put(unit(number, 1, 5), 1, NONE)
    assert queue.wants_refill


@pytest.mark.parametrize(
    ("volunteer", "offers", "want", "units", "reason"),
    [
        (1, {"flint"}, 9, (1, 2, 3), ""),
        (1, {"flint"}, 2, (1, 2), ""),
        (1, set(), 9, (1, 3), ""),
        (7, set(), 9, (1,), ""),
        (9, set(), 9, (), "every waiting unit needs another volunteer: you have a copy of each already"),
        (1, {"flint"}, 0, (), "no work is waiting"),
    ],
)
def test_who_gets_what(volunteer: int, offers: set[str], want: int, units: tuple[int, ...], reason: str) -> None:
    queue = ReadyQueue()
    queue.put(unit(1, 3, 9), 1, NONE)
    queue.put(unit(2), 1, frozenset({"flint"}))
    queue.put(unit(3, 3, 7, 9), 1, NONE)
    choice = policy.choose(queue, volunteer=volunteer, offers=frozenset(offers), want=want)
    assert choice == policy.Choice(units=units, reason=reason)


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
    assert waiting.names() == ["mine"]
    waiting.call_all()
    assert await held
    assert (waiting.names(), len(waiting)) == ([], 0)


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
