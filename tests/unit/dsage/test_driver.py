"""The step is a transaction: whatever dies, and wherever, each answer is folded once and each unit made once."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage import DistributedFunction, Limits, Unit, codec
from dsage.driver import Driver, Ended
from dsage.errors import Busy, Conflict
from dsage.states import RunState, UnitState
from dsage.stepping import MOST_CREDIT, Position, next_step
from dsage.testing import Died, Fault, FaultyApi, MemoryServer
from dsage.wire import MAX_WAIT_S, Answers, StepReply
from dsage_server.signing import ALLOWED


class Sum(DistributedFunction):
    n: int

    def units(self) -> Iterator[Any]:
        yield from range(1, self.n + 1)

    @staticmethod
    def compute(i: int) -> int:
        return i

    def process_result(self, unit: Unit, value: int) -> None:
        self.result += value


class Tree(DistributedFunction):
    """Unit i has the children 2i and 2i+1 up to n; every answer is remembered, and so is what is not committed."""

    n: int

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.seen: list[int] = []
        self._uncommitted = 0

    def units(self) -> Iterator[Unit]:
        yield Unit(1, key="root")

    @staticmethod
    def compute(i: int) -> int:
        return i

    def process_result(self, unit: Unit, value: int) -> None:
        assert self._uncommitted <= len(self.seen), "memory is ahead of the committed state"
        self._uncommitted += 1
        self.seen.append(value)
        for child in (2 * value, 2 * value + 1):
            if child <= self.n:
                self.submit(child)
        self.result = sum(self.seen)


async def no_sleep(seconds: float) -> None:
    pass


def drive(function: DistributedFunction, api: Any) -> Ended:
    return asyncio.run(Driver(function, api, 1, sleep=no_sleep).drive())


def drive_through(function: DistributedFunction, server: MemoryServer, faults: list[Fault]) -> Ended:
    """Start drivers, one after the other, until one sees the end."""
    left = iter(faults)
    while True:
        try:
            return drive(function, FaultyApi(server, left))
        except Died:
            continue


def test_the_sum_of_the_design_is_fifteen() -> None:
    function = Sum(n=5)
    function.result = 0
    assert drive(function, MemoryServer(function)) == Ended(RunState.DONE, result=15)


FAULTS = st.lists(st.sampled_from(list(Fault)), max_size=60)


@given(FAULTS, st.integers(1, 12), st.integers(0, 5), st.integers(1, 4))
def test_no_death_loses_or_doubles_anything(faults: list[Fault], n: int, hungry: int, pace: int) -> None:
    function = Tree(n=n)
    server = MemoryServer(function, hungry=hungry, pace=pace)

    ended = drive_through(function, server, faults)

    assert ended == Ended(RunState.DONE, result=n * (n + 1) // 2)
    assert server.result == n * (n + 1) // 2
    folded = Counter(unit for step in server.steps for unit in step.folded)
    assert sorted(folded) == list(range(1, n + 1))
    assert set(folded.values()) == {1}
    assert sorted(codec.decode(unit.new.args) for unit in server.units.values()) == list(range(1, n + 1))
    made = [unit.key for step in server.steps for unit in step.units]
    assert len(made) == len(set(made))
    final = codec.decode(server.steps[-1].state)
    assert sorted(final["seen"]) == list(range(1, n + 1))


@given(FAULTS, st.integers(0, 20), st.integers(0, 5), st.integers(1, 4))
def test_pulled_units_survive_any_death_too(faults: list[Fault], n: int, hungry: int, pace: int) -> None:
    function = Sum(n=n)
    function.result = 0
    server = MemoryServer(function, hungry=hungry, pace=pace)
    assert drive_through(function, server, faults).result == n * (n + 1) // 2
    assert sorted(codec.decode(u.new.args) for u in server.units.values()) == list(range(1, n + 1))


@pytest.mark.parametrize("point", range(14))
@pytest.mark.parametrize("fault", [f for f in Fault if f is not Fault.NONE])
def test_each_single_point(point: int, fault: Fault) -> None:
    function = Tree(n=6)
    server = MemoryServer(function)
    assert drive_through(function, server, [Fault.NONE] * point + [fault]).result == 21


def test_an_older_driver_is_shut_out() -> None:
    function = Sum(n=5)
    function.result = 0
    server = MemoryServer(function)

    class TakenOver(FaultyApi):
        async def step(self, run: int, step: Any) -> StepReply:
            await server.drive(run)
            return await server.step(run, step)

    with pytest.raises(Conflict, match="another driver"):
        drive(function, TakenOver(server, iter(())))
    assert drive(function, server).result == 15


def test_a_run_cancelled_elsewhere_ends_the_driver() -> None:
    function = Sum(n=5)
    function.result = 0
    server = MemoryServer(function)

    class Cancelled(FaultyApi):
        async def step(self, run: int, step: Any) -> StepReply:
            reply = await server.step(run, step)
            server.cancel()
            return reply

    assert drive(function, Cancelled(server, iter(()))) == Ended(RunState.CANCELLED)
    assert drive(function, server) == Ended(RunState.CANCELLED, result=0)


class Done(Sum):
    def next_job(self) -> Any:
        self.done, self.result = True, 42
        return None


def test_a_function_that_needs_no_volunteer_still_ends_its_run() -> None:
    server = MemoryServer(Done(n=1), hungry=0)
    assert drive(Done(n=1), server) == Ended(RunState.DONE, result=42)
    assert server.units == {}
    assert server.result == 42


class StopsEarly(Tree):
    def process_result(self, unit: Unit, value: int) -> None:
        super().process_result(unit, value)
        self.done = value >= 3


def test_done_folds_nothing_further_and_leaves_no_unit_open() -> None:
    function = StopsEarly(n=100)
    server = MemoryServer(function, hungry=8, pace=3)
    drive(function, server)
    assert server.state_of_run is RunState.DONE
    folded = [unit for step in server.steps for unit in step.folded]
    assert len(codec.decode(server.steps[-1].state)["seen"]) == len(folded)
    assert not [u for u in server.units.values() if u.state in (UnitState.READY, UnitState.ACTIVE)]


class Cancels(DistributedFunction):
    """The first answer makes all other units needless."""

    n: int

    def units(self) -> Iterator[Unit]:
        for i in range(self.n):
            yield Unit(i, group="all", key=f"u{i}")

    @staticmethod
    def compute(i: int) -> int:
        return i

    def process_result(self, unit: Unit, value: int) -> None:
        self.result = (self.result or 0) + 1
        self.cancel("all")


def test_cancelling_a_group_ends_a_run_without_waiting_for_an_answer() -> None:
    function = Cancels(n=4)
    server = MemoryServer(function, hungry=4, pace=1)
    waits: list[float] = []

    class Watched(FaultyApi):
        async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
            waits.append(wait_s)
            return await server.answers(run, fence=fence, wait_s=wait_s, hungry=hungry)

    assert drive(function, Watched(server, iter(()))).result == 1
    assert server.steps[-2].cancel_groups == ["all"]
    assert waits == [0.0, MAX_WAIT_S, 0.0], "only the wait for the first answer is a wait"
    assert Counter(u.state for u in server.units.values()) == {UnitState.VALID: 1, UnitState.CANCELLED: 3}


class Broken(Sum):
    def process_result(self, unit: Unit, value: int) -> None:
        self.result = "half changed"
        raise ZeroDivisionError("no good")


class BrokenJobs(Sum):
    def next_job(self) -> Any:
        return 3 / 0


class BadArguments(Sum):
    def units(self) -> Iterator[Any]:
        yield object()


class BadState(Sum):
    def process_result(self, unit: Unit, value: int) -> None:
        self.result = [1, lambda: 2]


class TakenKey(Sum):
    def units(self) -> Iterator[Unit]:
        yield Unit(1, key="1.0")


class TooMuch(Sum):
    limits = Limits(cpu_s=10.0)

    def units(self) -> Iterator[Unit]:
        yield Unit(1)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Broken, r"process_result of unit 1\.0 raised ZeroDivisionError: no good \(test_driver\.py line \d+\)"),
        (BrokenJobs, r"next_job raised ZeroDivisionError: .* \(test_driver\.py line \d+\)"),
        (BadArguments, r"args is of type object, which is not data that can travel \(next_job\)"),
        (BadState, r"self\.result\[1\] is a function, which cannot travel"),
        (TooMuch, r"a unit asks for cpu_s = 3600.0; TooMuch.limits allow 10.0 \(next_job\)"),
        (TakenKey, r"the unit key '1\.0' looks like .* \(next_job\)"),
    ],
)
def test_an_authors_bug_fails_the_run_and_says_where(kind: type[Sum], sentence: str) -> None:
    function = kind(n=2)
    function.result = 0
    server = MemoryServer(function, hungry=1)
    ended = drive(function, server)
    assert ended.state is server.state_of_run is RunState.FAILED
    assert ended.reason == server.reason
    assert re.search(sentence, ended.reason), ended.reason
    assert codec.decode(server.steps[-1].state)["result"] == 0, "the state is the last committed one"
    assert server.steps[-1].folded == []


@pytest.mark.parametrize("credit", [0, -1.0, float("nan"), float("inf"), 1_000_000.1, "5", None])
def test_a_unit_that_is_worth_what_cannot_be_fails_the_run(credit: Any) -> None:
    class Worth(Sum):
        def units(self) -> Iterator[Unit]:
            yield Unit(1, credit=credit)

    ended = drive(Worth(n=2), MemoryServer(Worth(n=2), hungry=1))
    assert ended.state is RunState.FAILED
    assert f"credit = {credit!r}; it must be above 0 and at most 1,000,000" in ended.reason


def test_what_a_unit_may_be_worth_is_the_servers_bound_too() -> None:
    assert ALLOWED["credit_milli"] == MOST_CREDIT * 1000
    assert ALLOWED["credit_milli"] * 2**33 < 2**63


def test_a_unit_that_was_given_up_reaches_the_author() -> None:
    class Forgiving(Sum):
        def unit_failed(self, unit: Unit, reason: str) -> None:
            self.result += 1000 if reason == "no memory" else 0

    for kind, expected in ((Forgiving, RunState.DONE), (Sum, RunState.FAILED)):
        function = kind(n=3)
        function.result = 0
        server = MemoryServer(function)

        class Fails(FaultyApi):
            async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
                if "1.1" in server.units and not server.units["1.1"].failed:  # noqa: B023
                    server.give_up("1.1", "no memory")  # noqa: B023
                return await server.answers(run, fence=fence, wait_s=wait_s, hungry=hungry)  # noqa: B023

        ended = drive(function, Fails(server, iter(())))
        assert ended.state is expected
        if expected is RunState.DONE:
            assert ended.result == 1 + 1000 + 3
        else:
            assert "unit 1.1 failed: no memory" in ended.reason


def test_the_given_object_is_never_changed() -> None:
    function = Tree(n=5)
    before = function.dump_state()
    drive(function, MemoryServer(function))
    assert function.dump_state() == before
    assert function._uncommitted == 0


def test_no_more_is_pulled_than_volunteers_want() -> None:
    function = Sum(n=1000)
    function.result = 0
    at = Position(1, 0, function.dump_state())
    step, dry = next_step(function, at, Answers(hungry=300))
    assert step is not None
    assert (len(step.units), dry) == (256, False)
    step, dry = next_step(function, at, Answers(hungry=7, open_units=5))
    assert step is not None
    assert len(step.units) == 7
    assert next_step(function, at, Answers(hungry=0, open_units=5)) == (None, False)


def test_without_a_volunteer_one_unit_lies_ready() -> None:
    function = Sum(n=3)
    step, _ = next_step(function, Position(1, 0, function.dump_state()), Answers())
    assert step is not None
    assert [unit.key for unit in step.units] == ["1.0"]


def test_the_server_away_is_said_and_waited_for() -> None:
    function = Sum(n=5)
    function.result = 0
    lines: list[str] = []
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    api = FaultyApi(MemoryServer(function), iter([Fault.NONE] + [Fault.AWAY] * 9))
    ended = asyncio.run(Driver(function, api, 1, say=lines.append, sleep=sleep).drive())
    assert ended.result == 15
    assert len(lines) == 9
    assert lines[0].startswith("nobody is there; trying again in ")
    assert pauses[0] <= 0.5
    assert pauses[3] > pauses[0]
    assert 5 <= pauses[-1] <= 10


def test_a_busy_server_is_obeyed() -> None:
    function = Sum(n=1)
    function.result = 0
    server = MemoryServer(function)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    class Once(FaultyApi):
        async def step(self, run: int, step: Any) -> StepReply:
            if not pauses:
                raise Busy("too much to do", retry_s=7.0)
            return await server.step(run, step)

    ended = asyncio.run(Driver(function, Once(server, iter(())), 1, sleep=sleep).drive())
    assert ended.result == 1
    assert pauses == [7.0]


class Patient(Sum):
    """Gives one unit, which nobody does, and gives up at its time."""

    ends: float

    def next_job(self) -> Any | None:
        if not self.units_taken:
            self.wake_at = self.ends
        self.done = time.time() >= self.ends
        return None if self.done else super().next_job()


def test_a_function_is_woken_at_its_time_although_nothing_has_happened() -> None:
    waits: list[float] = []

    class Idle(MemoryServer):
        async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
            waits.append(wait_s)
            await asyncio.sleep(wait_s)
            return await super().answers(run, fence=fence, wait_s=wait_s, hungry=hungry)

    function = Patient(n=1, result=0, ends=time.time() + 0.2)
    ended = drive(function, Idle(function, hungry=1, pace=0))
    assert ended.state == RunState.DONE
    assert time.time() >= function.ends
    assert 0 < max(waits) <= 0.2


def test_the_smallest_credit_is_not_none() -> None:
    function = Sum(n=1, result=0)
    function.submit(Unit(1, credit=0.0001))
    server = MemoryServer(function)
    drive(function, server)
    assert {unit.credit_milli for step in server.steps for unit in step.units} >= {1}


class Parts(DistributedFunction):
    """The length of a range, asked in parts that fit a time limit."""

    def units(self) -> Iterator[Any]:
        yield [0, 8]

    @staticmethod
    def compute(part: list[int]) -> int:
        return part[1] - part[0]

    def process_result(self, unit: Unit, value: int) -> None:
        self.result = (self.result or 0) + value

    def split(self, unit: Unit) -> Iterator[Any]:
        low, high = unit.args
        middle = (low + high) // 2
        if low < middle:
            yield [low, middle]
            yield Unit([middle, high], group="upper")


class SlowServer(MemoryServer):
    """Volunteers on whose computers a range of more than `fits` runs into a limit, named `code`."""

    fits, code = 2, "wall"

    def work(self, count: int) -> None:
        for key, unit in self.units.items():
            low, high = codec.decode(unit.new.args)
            if unit.state is UnitState.READY and high - low > self.fits:
                self.give_up(key, "it ran too long", self.code)
        super().work(count)


def test_a_unit_that_runs_into_its_time_limit_is_split_until_it_fits() -> None:
    server = SlowServer(Parts(), hungry=1, pace=2)
    assert drive(Parts(), server) == Ended(RunState.DONE, result=8)
    made = sorted(codec.decode(unit.new.args) for unit in server.units.values())
    assert made == [[0, 2], [0, 4], [0, 8], [2, 4], [4, 6], [4, 8], [6, 8]]
    assert {unit.new.group for unit in server.units.values()} == {"", "upper"}
    assert all(unit.new.splits for unit in server.units.values())


@pytest.mark.parametrize(("fits", "code"), [(2, "memory"), (2, ""), (0, "cpu")])
def test_what_is_no_time_limit_or_cannot_be_split_is_a_failed_unit(fits: int, code: str) -> None:
    server = SlowServer(Parts(), hungry=1, pace=2)
    server.fits, server.code = fits, code
    ended = drive(Parts(), server)
    assert ended.state is RunState.FAILED
    assert "it ran too long" in ended.reason


def test_only_classes_that_split_have_units_that_do() -> None:
    function = Sum(n=2)
    function.result = 0
    server = MemoryServer(function)
    drive(function, server)
    assert [unit.new.splits for unit in server.units.values()] == [False, False]


class Paused:
    """A server whose run is paused from the start, and goes on after some calls."""

    def __init__(self, server: MemoryServer, calls: int) -> None:
        self.server, self.calls = server, calls
        server.pause()

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        self.calls -= 1
        if not self.calls:
            self.server.resume()
        return await self.server.answers(run, fence=fence, wait_s=wait_s, hungry=hungry)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


def test_a_paused_run_has_not_ended() -> None:
    function = Sum(n=5)
    function.result = 0
    api = Paused(MemoryServer(function), 6)
    assert drive(function, api) == Ended(RunState.DONE, result=15)
    assert api.calls < 0


def test_a_run_may_be_cancelled_while_it_is_paused() -> None:
    function = Sum(n=5)
    function.result = 0
    server = MemoryServer(function)
    server.pause()
    server.resume = server.cancel  # type: ignore[method-assign]
    assert drive(function, Paused(server, 4)).state is RunState.CANCELLED
