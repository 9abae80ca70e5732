"""Cores shared by servers: how many pass, whose turn it is, and that nothing passes a closed gate."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_client.gate import HALF_LIFE_S, NOTHING, Gate
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.runner import Room

HOLD = Standing(work=Work.HOLD, reason=Reason.IN_USE)
ONE = Standing(work=Work.RUN, reason=Reason.WORKING, cores=1)
FINISH = Standing(work=Work.FINISH, reason=Reason.FINISHING)


class Ticking:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Unit:
    """A unit at the gate, in a task of its own."""

    def __init__(self, gate: Gate, server: str, wanted: Room = NOTHING) -> None:
        self.began = False
        self.over = asyncio.Event()
        self.task = asyncio.create_task(self._pass(gate, server, wanted))

    async def _pass(self, gate: Gate, server: str, wanted: Room) -> None:
        async with gate.core(server, wanted):
            self.began = True
            await self.over.wait()

    async def end(self) -> None:
        self.over.set()
        await self.task


async def test_as_many_pass_as_there_are_cores() -> None:
    gate = Gate(2)
    units = [Unit(gate, "a") for _ in range(3)]
    await settle()
    assert [unit.began for unit in units] == [True, True, False]
    await units[0].end()
    await settle()
    assert units[2].began
    assert gate.running == 2
    for unit in units[1:]:
        await unit.end()
    assert gate.running == 0


async def test_nothing_passes_while_held_and_all_does_afterwards() -> None:
    gate = Gate(2)
    gate.set(HOLD)
    unit = Unit(gate, "a")
    await settle()
    assert not unit.began
    gate.set(FINISH)
    await settle()
    assert unit.began
    await unit.end()


async def test_fewer_cores_let_no_more_pass_until_enough_came_back() -> None:
    gate = Gate(2)
    units = [Unit(gate, "a") for _ in range(3)]
    await settle()
    gate.set(ONE)
    await units[0].end()
    await settle()
    assert not units[2].began
    await units[1].end()
    await settle()
    assert units[2].began
    await units[2].end()


async def test_who_is_cancelled_while_waiting_or_just_let_through_takes_no_core() -> None:
    gate = Gate(1)
    first, second = Unit(gate, "a"), Unit(gate, "a")
    await settle()
    second.task.cancel()
    await settle()
    third = Unit(gate, "a")
    first.over.set()
    await first.task
    third.task.cancel()
    await settle()
    assert gate.running == 0
    last = Unit(gate, "a")
    await settle()
    assert last.began
    await last.end()


async def test_the_server_that_had_least_for_its_share_goes_next() -> None:
    clock = Ticking()
    gate = Gate(1, clock)
    gate.join("small", 100)
    gate.join("large", 300)
    had = {"small": 0, "large": 0}
    waiting = {server: [Unit(gate, server) for _ in range(40)] for server in had}
    await settle()
    for _ in range(40):
        (server,) = [server for server, units in waiting.items() if units[0].began]
        clock.now += 1.0
        await waiting[server].pop(0).end()
        had[server] += 1
        await settle()
    assert had == {"small": 10, "large": 30}
    for units in waiting.values():
        for unit in units:
            unit.task.cancel()
    await settle()


async def test_what_was_used_long_ago_counts_little() -> None:
    clock = Ticking()
    gate = Gate(1, clock)
    unit = Unit(gate, "a")
    await settle()
    clock.now += 1000.0
    await unit.end()
    clock.now += 20 * HALF_LIFE_S
    other = Unit(gate, "b")
    await settle()
    clock.now += 1.0
    waiting = [Unit(gate, "b"), Unit(gate, "a")]
    await settle()
    await other.end()
    await settle()
    assert [unit.began for unit in waiting] == [False, True]
    await waiting[1].end()
    await settle()
    await waiting[0].end()


def test_cores_are_counted_off_by_share_among_those_that_have_work() -> None:
    gate = Gate(8)
    gate.join("a", 100)
    assert gate.slots("a") == 8
    gate.join("b", 300)
    assert (gate.slots("a"), gate.slots("b")) == (2, 6)
    gate.idle("b", True)
    assert gate.slots("a") == 8
    gate.idle("b", False)
    gate.join("c", 0)
    assert (gate.slots("a"), gate.slots("c")) == (2, 0)
    gate.idle("a", True)
    gate.idle("b", True)
    assert gate.slots("c") == 8
    gate.part("b")
    gate.idle("a", False)
    assert (gate.slots("a"), gate.slots("c")) == (8, 0)


@given(st.integers(1, 64), st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1))
def test_every_server_that_has_a_share_and_work_gets_a_core_and_no_core_is_left_over(
    cores: int, shares: dict[str, int]
) -> None:
    gate = Gate(cores)
    for server, share in shares.items():
        gate.join(server, share)
    counted = [gate.slots(server) for server in shares]
    assert min(counted) >= 1
    assert sum(counted) >= cores
    assert max(counted) <= cores


@pytest.mark.parametrize("standing", [HOLD, ONE, FINISH])
def test_a_standing_never_gives_more_cores_than_there_are(standing: Standing) -> None:
    gate = Gate(1)
    gate.set(standing)
    assert gate.cores == 1


async def test_what_runs_takes_no_more_together_than_there_is_room_for() -> None:
    gate = Gate(4)
    gate.room = Room(1024, 256)
    units = [Unit(gate, "a", Room(400, 64)) for _ in range(4)]
    await settle()
    assert [unit.began for unit in units] == [True, True, False, False]
    assert (gate.slots("a"), gate.tight("a")) == (2, True)
    await units[0].end()
    await settle()
    assert [unit.began for unit in units] == [True, True, True, False]
    gate.room = Room(1200, 128)
    await settle()
    assert not units[3].began, "what they keep on their disk lies in memory too"
    gate.room = Room(1200, 256)
    await settle()
    assert units[3].began
    for unit in units[1:]:
        await unit.end()
    assert gate.slots("a") == 3


async def test_one_unit_may_run_however_little_room_there_is() -> None:
    gate = Gate(4)
    gate.room = Room(100, 100)
    first, second = Unit(gate, "a", Room(400, 0)), Unit(gate, "b", Room(1, 0))
    await settle()
    assert (first.began, second.began) == (True, False)
    assert (gate.slots("a"), gate.slots("b")) == (1, 1)
    await first.end()
    await settle()
    assert second.began
    await second.end()


async def test_a_large_unit_is_not_passed_by_small_ones_and_one_that_gives_up_lets_them_by() -> None:
    gate = Gate(4)
    gate.room = Room(1000, 0)
    running, large, small = (Unit(gate, "a", Room(each, 0)) for each in (500, 900, 100))
    await settle()
    assert [unit.began for unit in (running, large, small)] == [True, False, False]
    large.task.cancel()
    await settle()
    assert small.began
    await running.end()
    await small.end()
    assert (gate.running, gate.fits(Room(1000, 0))) == (0, True)


@given(st.lists(st.integers(1, 1000), max_size=12), st.integers(1, 1000), st.integers(1, 8))
async def test_the_room_holds_in_any_order_of_units(sizes: list[int], room: int, cores: int) -> None:
    gate = Gate(cores)
    gate.room = Room(room, 0)
    units = [(size, Unit(gate, "ab"[size % 2], Room(size, 0))) for size in sizes]
    left = list(units)
    while left:
        await settle()
        running = [(size, unit) for size, unit in left if unit.began]
        assert running, "something runs as long as something waits"
        assert len(running) == 1 or sum(size for size, _ in running) <= room
        assert len(running) <= cores
        await running[0][1].end()
        left.remove(running[0])
