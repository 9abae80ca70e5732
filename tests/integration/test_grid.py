"""`local()` as people use it: real sandboxes, from the main thread and from others."""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dsage import DistributedFunction, Limits, Unit, local
from dsage.calls import CallFailed
from dsage.errors import Conflict, NotFound, RunCancelled, RunFailed, TimedOut, UsageError
from dsage.grid import Grid
from dsage.options import CallOptions
from dsage.shipping import ShipError
from dsage.states import RunState

OFFSET = 7


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    with local(2) as opened:
        yield opened


def helper(x: int) -> int:
    return x + OFFSET


def square(x: int) -> int:
    return x * x


def add(a: Any, b: Any) -> Any:
    return a + b


def picky(x: int) -> int:
    if x == 3:
        raise ValueError("three is not allowed")
    return helper(x)


def rest(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


@dataclass
class Point:
    x: int
    y: int


def across(point: Point) -> Point:
    return Point(point.y, point.x)


class Sum(DistributedFunction[int, int]):
    """The talk's example, corrected."""

    n: int

    def units(self) -> Iterator[int]:
        yield from range(1, self.n + 1)

    @staticmethod
    def compute(args: int) -> int:
        return args

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.result += value


class Tree(DistributedFunction[int, int]):
    """Results that make more units: a binary tree of some depth, counted."""

    depth: int

    def units(self) -> Iterator[int]:
        yield self.depth

    @staticmethod
    def compute(args: int) -> int:
        return args - 1

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.result += 1
        if value >= 0:
            self.submit(value)
            self.submit(value)


class Halving(DistributedFunction[list[int], int]):
    """Sums a range, too slowly for large ones: those are split where they run into the time limit."""

    limits = Limits(wall_s=0.5)

    def units(self) -> Iterator[Unit[list[int]]]:
        yield Unit([0, 64], limits=self.limits)

    @staticmethod
    def compute(args: list[int]) -> int:
        import time

        first, last = args
        if last - first > 20:
            time.sleep(60)
        return sum(range(first, last))

    def split(self, unit: Unit[list[int]]) -> Iterator[Unit[list[int]]]:
        first, last = unit.args
        middle = (first + last) // 2
        yield Unit([first, middle], limits=self.limits)
        yield Unit([middle, last], limits=self.limits)

    def process_result(self, unit: Unit[list[int]], value: int) -> None:
        self.result = (self.result or 0) + value


class Broken(DistributedFunction[int, int]):
    """An author's mistakes, by name."""

    how: str

    def units(self) -> Iterator[int]:
        yield 1

    @staticmethod
    def compute(args: int) -> int:
        return args

    @staticmethod
    def verify(args: int, value: int) -> bool:
        return False

    def process_result(self, unit: Unit[int], value: int) -> None:
        raise ZeroDivisionError("in process_result")

    def unit_failed(self, unit: Unit[int], reason: str) -> None:
        if self.how == "goes on":
            self.result = reason
        else:
            super().unit_failed(unit, reason)


# -- expressions -------------------------------------------------------------------------------------------------


def test_two_and_two_with_what_it_prints(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert grid("print('hello'); 2+2") == 4
    assert capsys.readouterr().out == "hello\n"


def test_eval_with_variables_of_many_kinds(grid: Grid) -> None:
    assert grid.eval("a + b", {"a": 5, "b": 5}).wait() == 10
    assert grid.eval("n * n", {"n": 10**40}).wait() == 10**80
    assert grid.eval("x", {"x": Fraction(1, 3)}).wait() == Fraction(1, 3)
    assert grid.eval("{k: len(v) for k, v in d.items()}", {"d": {1: b"ab", "c": [1, 2, 3]}}).wait() == {1: 2, "c": 3}
    assert grid.eval("DSAGE_RESULT = 'set'\nfor i in range(3):\n    pass").wait() == "set"


def test_what_cannot_travel_is_named_before_anything_is_sent(grid: Grid) -> None:
    with pytest.raises(UsageError, match=r"lock, which is not data that can travel"):
        grid.eval("x", {"x": threading.Lock()})
    with pytest.raises(ShipError, match="never closed"):
        grid.eval("(")
    outer = 3
    with pytest.raises(ShipError, match="lambda"):
        grid.map(lambda x: x + outer, [1])


def test_a_call_that_raises_says_what_and_where(grid: Grid) -> None:
    with pytest.raises(CallFailed, match=r"ZeroDivisionError: division by zero \(line 2"):
        grid("x = 1\nx / 0")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("while True: pass", "more than 1|cpu"),
        ("import os; os._exit(3)", "crash"),
        ("import ctypes; ctypes.string_at(0)", "crash|exception|ctypes"),
        ("bytes(5 << 30)", "memory"),
        ("a = []; a.append(a); a", "cycle|itself|nested|codec"),
        ("object()", "codec|not data|cannot travel"),
        ("import os\nwhile True: os.fork()", "limit|processes|BlockingIOError|more than|memory|wall|cpu"),
        ("open('big', 'wb').write(bytes(1 << 29))", "disk|File too large|No space"),
        ("'x' * (8 << 20)", "output"),
        ("import a_module_that_nobody_has", "a_module_that_nobody_has"),
    ],
)
def test_bad_code_is_a_clear_error_and_the_next_call_works(grid: Grid, source: str, said: str) -> None:
    with pytest.raises((CallFailed, RunFailed), match=said):
        grid.eval(source, timeout=1.0 if "while" in source else 30.0).wait(60)
    assert grid.eval("1 + 1").wait(60) == 2


def test_not_a_number_comes_back(grid: Grid) -> None:
    assert math.isnan(grid("float('nan')"))


def test_a_file_with_a_module_beside_it(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def triple(x):\n    return 3 * x\n")
    (tmp_path / "script.py").write_text("from beside import triple\n\ntriple(n)\n")
    assert grid.eval_file(tmp_path / "script.py", {"n": 14}).wait() == 42


def test_a_file_travels_byte_for_byte(grid: Grid, tmp_path: Path) -> None:
    import hashlib
    import os

    data = os.urandom(20 << 20)
    (tmp_path / "data.bin").write_bytes(data)
    source = "import hashlib\nfrom dsage import running\nhashlib.sha256(running.input('data').read_bytes()).hexdigest()"
    job = grid.eval(source, inputs={"data": tmp_path / "data.bin"})
    assert job.wait() == hashlib.sha256(data).hexdigest()


# -- many calls --------------------------------------------------------------------------------------------------


def test_map_in_the_order_of_its_input(grid: Grid) -> None:
    job = grid.map(square, [25, 12, 25, 32, 12])
    assert list(job) == [625, 144, 625, 1024, 144]
    assert job.wait() == [625, 144, 625, 1024, 144]
    assert grid.map(add, [1, 2], [30, 40]).wait() == [31, 42]
    assert grid.map(math.sqrt, [4.0, 9.0]).wait() == [2.0, 3.0]
    assert grid.map(square, []).wait() == []


def test_structures_arrive_as_what_they_are(grid: Grid) -> None:
    assert grid.map(across, [Point(1, 2)]).wait() == [Point(2, 1)]


def test_a_map_pulls_no_more_of_an_endless_input_than_it_can_use(grid: Grid) -> None:
    pulled = itertools.count()
    job = grid.map(rest, (0.05 + 0 * next(pulled) for _ in itertools.count()), chunk=1)
    assert next(iter(job)) == 0.05
    job.kill()
    assert next(pulled) < 50
    with pytest.raises(RunCancelled):
        job.wait(20)


def test_many_items_go_in_few_units(grid: Grid) -> None:
    job = grid.map(square, range(5000))
    assert job.wait() == [n * n for n in range(5000)]
    assert len(list(job.units())) < 500


def test_parallel_yields_as_calls_finish(grid: Grid) -> None:
    both = grid.parallel(add)
    found = {str(given): value for given, value in both([(1, 2), (5, Fraction(10, 3))])}
    assert found == {"((1, 2), {})": 3, "((5, Fraction(10, 3)), {})": Fraction(25, 3)}
    assert both(1, 2) == 3
    inputs = iter([2, {"x": 3}, ((4,), {}), (5,)])
    mixed = {value: given for given, value in grid.parallel(square)(inputs)}
    assert mixed == {4: ((2,), {}), 9: ((), {"x": 3}), 16: ((4,), {}), 25: ((5,), {})}


def test_one_bad_call_does_not_take_the_others_along(grid: Grid) -> None:
    job = grid.map(picky, range(6))
    with pytest.raises(CallFailed, match=r"call 3 .*ValueError: three is not allowed"):
        job.wait()
    assert list(job.results(partial=True)) == [7, 8, 9, 11, 12]
    assert list(job.errors()) == ["3"]


def test_a_standard_executor(grid: Grid) -> None:
    with grid.executor() as pool:
        first = pool.submit(square, 3)
        assert first.result(20) == 9
        assert list(pool.map(square, range(100))) == [n * n for n in range(100)]
        done, _ = futures.wait([pool.submit(rest, 0.01) for _ in range(4)], timeout=20)
        assert len(done) == 4
        failed = pool.submit(picky, 3)
        assert isinstance(failed.exception(20), CallFailed)
    with pytest.raises(RuntimeError):
        pool.submit(square, 1)


def test_an_executor_shut_down_gives_up_what_has_not_begun(grid: Grid) -> None:
    pool = grid.executor()
    running = [pool.submit(rest, 0.2) for _ in range(40)]
    pool.shutdown(cancel_futures=True)
    assert all(future.done() for future in running)


# -- runs --------------------------------------------------------------------------------------------------------


def test_the_sum_of_the_first_numbers(grid: Grid) -> None:
    job = grid.run(Sum(n=5), result=0)
    assert job.wait() == 15
    assert job.done
    assert job.result == 15
    assert job.state is RunState.DONE
    assert job.end_time is not None
    assert job.start_time <= job.end_time
    assert job.time >= 0
    assert job.rerun().wait(20) == 15


def test_results_make_more_units_to_any_depth(grid: Grid) -> None:
    assert grid.run(Tree(depth=5), result=0).wait(60) == 2**6 - 1


def test_a_unit_that_takes_too_long_is_split(grid: Grid) -> None:
    assert grid.run(Halving()).wait(60) == sum(range(64))


def test_an_answer_that_its_author_refuses_fails_the_unit(grid: Grid) -> None:
    with pytest.raises(RunFailed, match="verify"):
        grid.run(Broken(how="fails")).wait(20)
    assert "verify" in grid.run(Broken(how="goes on")).wait(20)


def test_wait_in_any_thread_and_not_for_ever(grid: Grid) -> None:
    job = grid.eval("import time; time.sleep(60)")
    caught: list[BaseException] = []

    def waiting() -> None:
        try:
            job.wait(0.2)
        except TimedOut as error:
            caught.append(error)

    thread = threading.Thread(target=waiting)
    thread.start()
    thread.join(10)
    assert [type(error) for error in caught] == [TimedOut]
    assert not job.done
    job.kill()
    with pytest.raises(RunCancelled):
        job.wait(10)


def test_output_can_be_read_while_it_runs(grid: Grid) -> None:
    job = grid.eval("import time; print('first line'); time.sleep(60)")
    seen = ""
    ends = time.monotonic() + 20
    while "first line" not in seen and time.monotonic() < ends:
        seen = job.output
    assert seen == "first line\n"
    job.kill()


def test_times_are_of_the_computer_that_worked(grid: Grid) -> None:
    job = grid.eval("import time; time.sleep(0.5)")
    job.wait()
    assert job.wall_time >= 0.5
    assert job.cpu_time < job.wall_time


@pytest.mark.parametrize("retries", [None, 0, 1, 3])
def test_what_fails_is_tried_again_as_often_as_one_wants(grid: Grid, retries: int | None) -> None:
    options: CallOptions = {} if retries is None else {"retries": retries}
    job = grid.eval("print('so far'); import os; os._exit(3)", **options)
    with pytest.raises(CallFailed, match="crash"):
        job.wait(30)
    tried = sorted(job.attempts(), key=lambda attempt: attempt.started)
    assert [(a.state, a.output) for a in tried] == [("error", b"so far\n")] * ((retries or 0) + 1)
    rests = [later.started - (before.ended or 0.0) for before, later in itertools.pairwise(tried)]
    assert all(rest >= 0.2 * 2**number for number, rest in enumerate(rests))


def test_more_tries_than_anybody_learns_from_are_refused(grid: Grid) -> None:
    for retries in (-1, 51):
        with pytest.raises(RunFailed, match=f"{retries} retries; 0 to 50"):
            grid.eval("1", retries=retries).wait(20)


def test_a_paused_run_goes_on_later(grid: Grid) -> None:
    job = grid.map(rest, [0.05] * 20, chunk=1)
    job.pause()
    assert job.state is RunState.PAUSED
    with pytest.raises(TimedOut):
        job.wait(0.5)
    job.resume()
    assert job.wait(20) == [0.05] * 20


def test_a_run_is_found_again_by_its_number(grid: Grid) -> None:
    job = grid.map(square, range(10))
    job.wait()
    again = grid.job(job.id)
    assert again.wait() == [n * n for n in range(10)]
    assert job.id in [view.run for view in grid.jobs("done")]
    with pytest.raises(NotFound):
        grid.job(10**9)


def test_the_same_key_is_the_same_run(grid: Grid) -> None:
    first = grid.run(Sum(n=4), result=0, key="only once")
    assert first.wait() == 10
    assert grid.run(Sum(n=4), result=0, key="only once").id == first.id


def test_a_saved_run_goes_on_at_another_place(grid: Grid, tmp_path: Path) -> None:
    job = grid.run(Sum(n=30), result=0)
    path = job.save(tmp_path / "sum.dsage")
    job.kill()
    with local(1) as other:
        assert other.restore(path).wait(30) == 465
        with pytest.raises(NotFound):
            other.restore(tmp_path / "missing")
    with pytest.raises((RunCancelled, Conflict)):
        job.wait(20)


def test_tables_of_calls(grid: Grid, tmp_path: Path) -> None:
    job = grid.map(square, range(4))
    job.wait()
    lines = [json.loads(line) for line in job.to_jsonl(tmp_path / "a.jsonl").read_text().splitlines()]
    assert sorted(line["value"] for line in lines) == [0, 1, 4, 9]
    assert job.to_csv(tmp_path / "a.csv").read_text().startswith("run,app,unit,key")
    assert json.loads(job.write_result(tmp_path / "answer.json").read_text()) == [0, 1, 4, 9]


def test_a_closed_grid_says_so(tmp_path: Path) -> None:
    closed = local(1)
    assert closed("1") == 1
    closed.close()
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        closed("1")
    with pytest.raises(UsageError, match="workers"):
        local(0)
