"""Folded answers may be taken back: whatever dies, lies or is refused, and whenever, the end is that of the truth."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage import DistributedFunction, Unit, codec
from dsage.driver import Driver, Ended
from dsage.errors import Conflict
from dsage.states import RunState, UnitState
from dsage.stepping import Position, next_step, takes_back
from dsage.testing import Died, Fault, FaultyApi, MemoryServer, MemoryUnit
from dsage.wire import Answer, Answers, Drive, Step, StepReply

DEPTH = 4


def draw(*what: Any) -> int:
    """Return a number that looks random and is the same each time."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4], "big")


class Growing(DistributedFunction):
    """Each answer says which units come next: a lie grows other branches than the truth."""

    seed: int
    width: int

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.seen: list[list[Any]] = []
        self.failed: list[str] = []

    def units(self) -> Iterator[str]:
        for i in range(self.width):
            yield f"{self.seed}/{i}"

    @staticmethod
    def compute(path: str) -> int:
        return draw(path) % 1000

    def process_result(self, unit: Unit, value: int) -> None:
        self.seen.append([unit.args, value])
        for child in children(unit.args, value):
            self.submit(child)
        self.result = sorted(self.seen)

    def unit_failed(self, unit: Unit, reason: str) -> None:
        self.failed.append(unit.args)


def children(path: str, value: int) -> list[str]:
    return [f"{path}.{i}:{value}" for i in range(value % 3 if path.count(".") < DEPTH else 0)]


class TakesBack(Growing):
    """Branches do not depend on the answers, and each has its key: what is taken back can be folded again."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.found: dict[str, int] = {}
        self.taken = 0

    def process_result(self, unit: Unit, value: int) -> None:
        assert unit.args not in self.found, "folded twice"
        self.found[unit.args] = value
        self.grow(unit.args)
        self.result = sorted([path, value] for path, value in self.found.items())

    def unit_failed(self, unit: Unit, reason: str) -> None:
        super().unit_failed(unit, reason)
        self.grow(unit.args)

    def grow(self, path: str) -> None:
        for child in children(path, draw(path)):
            self.submit(Unit(child, key=child))

    def retract(self, unit: Unit, value: int) -> None:
        assert self.found.pop(unit.args) == value, "another value is taken back than was folded"
        self.taken += 1
        self.result = sorted([path, value] for path, value in self.found.items())


class Enough(Growing):
    """It is done as soon as one answer is a multiple of three, and cancels a branch on the way."""

    def process_result(self, unit: Unit, value: int) -> None:
        super().process_result(unit, value)
        if value % 7 == 0:
            self.cancel("")
        self.done = self.done or value % 3 == 0


class Liars(MemoryServer):
    """Volunteers lie about a unit as often as `lies` says of what it computes."""

    def __init__(self, function: DistributedFunction, lies: int, **options: Any) -> None:
        super().__init__(function, **options)
        self.lies = lies

    def compute(self, unit: MemoryUnit) -> bytes:
        path = codec.decode(unit.new.args)
        wrong = self.lies and unit.answers < draw("lies", path) % (self.lies + 1)
        return codec.encode(draw(path) % 1000 + (unit.answers + 1 if wrong else 0))

    def wrong(self) -> list[str]:
        """Return the keys of the units whose accepted answers are lies."""
        return [
            key
            for key, unit in self.units.items()
            if unit.state is UnitState.VALID
            and codec.decode(unit.value or b"") != draw(codec.decode(unit.new.args)) % 1000
        ]


class Meddled(FaultyApi):
    """Before each call something may happen at the server: an answer refused, a unit given up, a driver elsewhere."""

    def __init__(self, server: Liars, faults: Iterator[Fault], events: Iterator[tuple[str, int]]) -> None:
        super().__init__(server, faults)
        self.server = server
        self.events = events

    async def _suffer(self, call: Any) -> Any:
        what, pick = next(self.events, ("", 0))
        server = self.server
        if what == "takeover":
            await server.drive(1)
        valid = [key for key, unit in server.units.items() if unit.state is UnitState.VALID]
        if what == "reopen" and valid:
            server.reopen(valid[pick % len(valid)])
        if what == "work":
            server.work(1)
        unfinished = [key for key, unit in server.units.items() if unit.state is UnitState.READY]
        if what == "give up" and unfinished:
            server.give_up(unfinished[pick % len(unfinished)], "no good")
        return await super()._suffer(call)


async def no_sleep(seconds: float) -> None:
    pass


def to_its_end(
    function: DistributedFunction, server: Liars, faults: list[Fault], events: list[tuple[str, int]]
) -> Ended:
    """Start drivers, one after the other, until the run has ended on no lie."""
    left, more = iter(faults), iter(events)
    for _ in range(1000):
        try:
            ended = asyncio.run(Driver(function, Meddled(server, left, more), 1, sleep=no_sleep).drive())
        except (Died, Conflict):
            continue
        if server.state_of_run is RunState.DONE and server.wrong():
            server.reopen(*server.wrong())
        if server.state_of_run is RunState.DONE:
            return ended
    raise AssertionError("the run does not end")


FAULTS = st.lists(st.sampled_from(list(Fault)), max_size=80)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["", "reopen", "reopen", "work", "takeover", "give up"]), st.integers(0, 50)), max_size=80
)
WORLD = {"hungry": st.integers(0, 5), "pace": st.integers(1, 4), "keeps": st.integers(1, 7), "lies": st.integers(0, 3)}


def truth(function: Growing, server: Liars) -> list[list[Any]]:
    """Return what one computer would have found, without the units that were given up."""
    failed = {codec.decode(u.new.args) for u in server.units.values() if u.state is UnitState.FAILED}
    found = []
    left = [f"{function.seed}/{i}" for i in range(function.width)]
    while left:
        path = left.pop()
        value = draw(path) % 1000
        if path not in failed:
            found.append([path, value])
        if isinstance(function, TakesBack):
            left += children(path, draw(path))
        elif path not in failed:
            left += children(path, value)
    return sorted(found)


@pytest.mark.parametrize("kind", [Growing, TakesBack])
@given(seed=st.integers(0, 10**6), width=st.integers(0, 5), faults=FAULTS, events=EVENTS, **WORLD)
def test_the_end_is_that_of_the_truth(
    kind: type[Growing], seed: int, width: int, faults: list[Fault], events: list[tuple[str, int]], **world: int
) -> None:
    function = kind(seed=seed, width=width)
    server = Liars(function, **world)

    ended = to_its_end(function, server, faults, events)

    expected = truth(function, server)
    assert (ended.state, ended.result or []) == (RunState.DONE, expected)
    final = codec.decode(server.steps[-1].state)
    failed = [codec.decode(u.new.args) for u in server.units.values() if u.state is UnitState.FAILED]
    assert sorted(final["failed"]) == sorted(failed)
    paths = Counter(codec.decode(unit.new.args) for unit in server.units.values())
    assert paths == Counter([path for path, _ in expected] + failed), "a unit is missing, or made twice"
    assert all(unit.folded_in and unit.refused is None for unit in server.units.values())


@given(seed=st.integers(0, 10**6), width=st.integers(1, 5), faults=FAULTS, events=EVENTS, **WORLD)
def test_a_function_that_has_enough_has_it_by_the_truth(
    seed: int, width: int, faults: list[Fault], events: list[tuple[str, int]], **world: int
) -> None:
    """What its end had cancelled is taken up again, if it ended on a lie."""
    function = Enough(seed=seed, width=width)
    server = Liars(function, **world)

    ended = to_its_end(function, server, faults, events)

    seen = codec.decode(server.steps[-1].state)["seen"]
    assert ended.result == (sorted(seen) or None)
    assert all(value == draw(path) % 1000 for path, value in seen)
    assert len({path for path, _ in seen}) == len(seen)
    assert sorted(path for path, _ in seen) == sorted(
        codec.decode(u.new.args) for u in server.units.values() if u.state is UnitState.VALID and u.folded_in
    )
    if not any(value % 3 == 0 for _, value in seen):
        assert all(u.folded_in for u in server.units.values()), "it ended before it had enough"


@pytest.mark.parametrize("kind", [Growing, TakesBack, Enough])
def test_every_single_point_of_a_run_with_a_lie(kind: type[Growing]) -> None:
    """Each fault at each call of a run that has its answers refused, one after the other, and again at its end."""
    function = kind(seed=8, width=3)
    events = [("", 0), ("", 0), ("work", 0), ("", 0), ("reopen", 0), ("", 0), ("reopen", 1)]
    counted = Liars(function, lies=1, keeps=2)
    calls = [0]

    class Counting(Meddled):
        async def _suffer(self, call: Any) -> Any:
            calls[0] += 1
            return await super()._suffer(call)

    while counted.state_of_run is not RunState.DONE or counted.wrong():
        if counted.state_of_run is RunState.DONE:
            counted.reopen(*counted.wrong())
        asyncio.run(Driver(function, Counting(counted, iter(()), iter(events)), 1, sleep=no_sleep).drive())
        events = []
    assert calls[0] > 8

    events = [("", 0), ("", 0), ("work", 0), ("", 0), ("reopen", 0), ("", 0), ("reopen", 1)]
    for fault in [f for f in Fault if f is not Fault.NONE]:
        for point in range(calls[0]):
            server = Liars(function, lies=1, keeps=2)
            ended = to_its_end(function, server, [Fault.NONE] * point + [fault], events)
            if kind is not Enough:
                assert ended.result == truth(function, server), (fault, point)
            assert not server.wrong(), (fault, point)


def test_a_replay_folds_nothing_and_leaves_the_function_alone() -> None:
    function = Growing(seed=1, width=2)
    heard = Answers(retracted=[an_answer(5)], answers=[an_answer(3)], open_units=1, state_of_run="running")
    assert next_step(function, Position(1, 1, b""), heard) == (None, False)
    assert function.seen == []
    assert (takes_back(function), takes_back(TakesBack(seed=1, width=2))) == (False, True)


def test_a_step_that_takes_back_is_never_the_last() -> None:
    """What is enough with an answer may not be without it; and there may be more to take back than was told."""

    class Sure(TakesBack):
        def retract(self, unit: Unit, value: int) -> None:
            super().retract(unit, value)
            self.done = True

    function = Sure(seed=1, width=2)
    function.found["1/0"] = 5
    step, _ = next_step(function, Position(1, 1, b""), Answers(retracted=[an_answer(5)], state_of_run="running"))
    assert step is not None
    assert (step.retracted, step.finished) == ([7], False)


def test_done_does_not_outlive_the_answer_that_it_rested_on() -> None:
    function = TakesBack(seed=1, width=0)
    function.found["1/0"], function.done = 5, True
    heard = Answers(retracted=[an_answer(5)], open_units=1, state_of_run="running")
    step, _ = next_step(function, Position(1, 1, b""), heard)
    assert (function.done, step is not None and step.finished) == (False, False)


def an_answer(value: int) -> Answer:
    return Answer(unit=7, key="k", group="", args=codec.encode("1/0"), value=codec.encode(value), replica=3)


async def test_an_answer_refused_while_a_driver_has_it_in_hand_is_not_folded() -> None:
    function = Growing(seed=3, width=1)
    server = Liars(function, lies=0)
    told: list[str] = []

    class Refused(FaultyApi):
        first = True

        async def step(self, run: int, step: Step) -> StepReply:
            if step.folded and self.first:
                self.first = False
                server.reopen(*[key for key, unit in server.units.items() if unit.id in step.folded])
                server.work(9)
            return await server.step(run, step)

    ended = await Driver(function, Refused(server, iter(())), 1, sleep=no_sleep, say=told.append).drive()
    assert ended.result == truth(function, server)
    assert any("does not hold" in line for line in told)
    assert max(unit.answers for unit in server.units.values()) == 2


async def test_adopted_units_are_not_computed_again() -> None:
    """A replay makes its units again; the answers that are there are theirs."""
    function = Growing(seed=11, width=5)
    server = Liars(function, lies=0, hungry=5, keeps=100)
    await Driver(function, server, 1, sleep=no_sleep).drive()
    before = Counter(unit.answers for unit in server.units.values())
    assert set(before) == {1}
    server.reopen(next(iter(server.units)))

    ended = await Driver(function, server, 1, sleep=no_sleep).drive()

    assert ended.result == truth(function, server)
    assert Counter(unit.answers for unit in server.units.values()) == {1: before[1] - 1, 2: 1}
    assert server.aside == []


async def test_a_lost_reply_to_a_replay_does_not_shut_the_driver_out() -> None:
    function = Growing(seed=11, width=2)
    server = Liars(function, lies=0)
    await Driver(function, server, 1, sleep=no_sleep).drive()
    server.reopen(next(iter(server.units)))
    replays: list[Drive] = []

    class Lost(FaultyApi):
        async def replay(self, run: int, *, fence: int) -> Drive:
            replays.append(await server.replay(run, fence=fence))
            return await super().replay(run, fence=fence)

    faults = iter([Fault.NONE, Fault.NONE, Fault.LOST_REPLY])
    ended = await Driver(function, Lost(server, faults), 1, sleep=no_sleep).drive()
    assert ended.state is RunState.DONE
    assert len(replays) == 2
    assert replays[0] == replays[1]


def test_a_retract_that_raises_fails_the_run_with_its_reason() -> None:
    function = TakesBack(seed=1, width=1)
    step, _ = next_step(function, Position(1, 1, b"old"), Answers(retracted=[an_answer(5)], state_of_run="running"))
    assert step is not None
    assert "retract of unit k raised KeyError" in step.failed
    assert (step.state, step.retracted) == (b"old", [])
