"""Many calls, and calls that go wrong, through `local()`: nothing waits for ever, nothing is lost or kept for ever."""

from __future__ import annotations

import itertools
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dsage import DistributedFunction, Unit, bundle, close, image, job, local
from dsage.calls import CallFailed, Feed, Outcomes
from dsage.errors import RunCancelled, RunFailed, ServerAway, UsageError
from dsage.grid import Grid


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    with local(2) as opened:
        yield opened


def square(x: int) -> int:
    return x * x


def leaves(x: int) -> int:
    import os

    if x == 3:
        os._exit(1)
    if x == 4:
        raise SystemExit("four")
    return x


def size(data: bytes) -> int:
    return len(data)


def rest(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


class Leaves(DistributedFunction[int, int]):
    """Its author ends the program where a value should be folded."""

    def units(self) -> Iterator[int]:
        yield 1

    @staticmethod
    def compute(args: int) -> int:
        return args

    def process_result(self, unit: Unit[int], value: int) -> None:
        sys.exit("enough")


class Asks(DistributedFunction[int, int]):
    """Folding a value takes another run of the same place."""

    grid: ClassVar[Any] = None

    def units(self) -> Iterator[int]:
        yield from (1, 2)

    @staticmethod
    def compute(args: int) -> int:
        return args

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.result += self.grid.eval("n + 10", {"n": value}).wait(20)


@pytest.mark.timeout(60)
def test_many_values_are_read_one_by_one() -> None:
    outcomes = Outcomes()
    count = 100_000
    outcomes.put(0, [[n] for n in range(count)])
    outcomes.complete(count)
    assert sum(outcomes[number][0] for number in outcomes.numbers(in_order=True)) == count * (count - 1) // 2


def test_large_arguments_go_in_small_chunks() -> None:
    feed = Feed([((bytes(1 << 20),), {})] * 40, chunk=None, fill_s=10.0)
    feed.learn(1, 0.001)
    feed.largest = 40
    first, sizes = 0, []
    while chunk := feed.take(first):
        first += len(chunk)
        sizes.append(len(chunk))
    assert sum(sizes) == 40
    assert max(sizes) <= 4


def test_the_values_of_one_map_are_the_input_of_another(grid: Grid) -> None:
    first = grid.map(square, range(6))
    assert grid.map(square, first.results()).wait(30) == [n**4 for n in range(6)]
    inner = (value for part in ([1, 2], [3]) for value in grid.map(square, part))
    assert grid.map(square, inner).wait(30) == [1, 16, 81]


def test_folding_may_wait_for_another_run(grid: Grid) -> None:
    Asks.grid = grid
    assert grid.run(Asks(), result=0).wait(30) == 23


def test_an_input_that_never_comes_stops_nobody_else(grid: Grid) -> None:
    gate = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        gate.wait(60)
        yield 2

    job = grid.map(square, slow(), chunk=1)
    assert grid.eval("1 + 1").wait(10) == 2
    gate.set()
    assert job.wait(10) == [1, 4]


def test_an_input_that_raises_is_named_with_its_line(grid: Grid) -> None:
    def ill() -> Iterator[int]:
        yield 1
        raise ValueError("the input is ill")

    with pytest.raises(RunFailed, match=r"ValueError: the input is ill \(test_grid_calls.py line \d+\)"):
        grid.map(square, ill()).wait(10)


def test_an_author_who_exits_ends_the_run_and_nothing_else(grid: Grid) -> None:
    with pytest.raises(RunFailed, match="SystemExit: enough"):
        grid.run(Leaves()).wait(10)
    with pytest.raises(CallFailed, match=r"SystemExit: 3 \(line 1"):
        grid("import sys; sys.exit(3)")
    assert grid("1") == 1


def test_calls_around_one_that_crashed_are_found_again(grid: Grid) -> None:
    job = grid.map(leaves, range(6), chunk=3)
    with pytest.raises(CallFailed):
        job.wait(30)
    assert list(job.errors()) == ["3", "4"]
    found: Any = grid.job(job.id)
    assert found.errors().keys() == {"3", "4"}
    assert list(found.results(partial=True)) == [0, 1, 2, 5]
    with pytest.raises(CallFailed, match="call 3"):
        list(found.results())
    assert [row["key"] for row in sorted(job.rows(), key=lambda row: row["key"])] == [f"calls.{n}" for n in range(6)]


def test_the_same_again_takes_nothing_from_the_first(grid: Grid) -> None:
    pulled = itertools.count()
    job = grid.map(rest, (0.02 + 0 * next(pulled) for _ in range(20)), chunk=1)
    again = job.rerun()
    assert (len(job.wait(30)), len(again.wait(30) or [])) == (20, 20)
    assert next(pulled) == 20


def test_a_map_goes_on_after_it_was_let_go(grid: Grid) -> None:
    job = grid.map(rest, [0.05] * 20, chunk=1)
    assert next(job.results()) == 0.05
    job.detach()
    job.attach()
    assert list(job.results(timeout=30)) == [0.05] * 20


def test_an_executor_goes_on_after_its_run_was_cancelled(grid: Grid) -> None:
    with grid.executor() as pool:
        lost = pool.submit(rest, 30.0)
        while not lost.running():
            time.sleep(0.01)
        newest = max(view.run for view in grid.jobs())
        grid.job(newest).kill()
        assert isinstance(lost.exception(10), RunCancelled)
        assert pool.submit(rest, 0.0).result(10) == 0.0


def test_an_executor_used_and_shut_down_by_many_threads_leaves_no_future_open(grid: Grid) -> None:
    pool = grid.executor()
    made: list[futures.Future[int]] = []

    def submit() -> None:
        for n in itertools.count():
            try:
                made.append(pool.submit(square, n))
            except RuntimeError:
                return

    threads = [threading.Thread(target=submit) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(made) < 100:
        time.sleep(0.001)
    pool.shutdown(cancel_futures=True)
    for thread in threads:
        thread.join()
    assert all(future.done() for future in made)


def test_an_executor_keeps_no_values(grid: Grid) -> None:
    with grid.executor() as pool:
        for _ in range(3):
            assert pool.submit(size, b"x").result(20) == 1
        (line,) = pool._lines.values()
        assert len(line._given) == 0
        assert len(line._feed.outcomes) == 0


def test_input_files_lie_in_the_folder_that_a_text_runs_in(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("1,2,3")
    inputs: dict[str, str | Path] = {"numbers.csv": tmp_path / "there.csv"}
    source = "sum(map(int, open('numbers.csv').read().split(',')))"
    assert grid.eval(source, inputs=inputs).wait(20) == 6
    (tmp_path / "adds.py").write_text(source)
    assert grid.eval_file(tmp_path / "adds.py", inputs=inputs).wait(20) == 6
    again = "from dsage import running\nrunning.input('numbers.csv').samefile('numbers.csv')"
    assert grid.eval(again, inputs=inputs).wait(20) is True
    with pytest.raises(CallFailed, match=r"Read-only|Permission"):
        grid.eval("open('numbers.csv', 'w').write('x')", inputs=inputs).wait(20)
    assert (tmp_path / "there.csv").read_text() == "1,2,3"


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"timeot": 5}, "no option 'timeot'", "Did you mean 'timeout'"),
        ({"timeout": "5"}, "timeout='5'", "seconds"),
        ({"timeout": -1}, "timeout=-1", "seconds"),
        ({"timeout": math.nan}, "timeout=nan", "seconds"),
        ({"quorum": 0}, "quorum=0", "1 or more"),
        ({"quorum": True}, "quorum=True", "1 or more"),
        ({"memory": 0}, "memory=0", "bytes"),
        ({"credit": -1}, "credit=-1", "0 or more"),
        ({"priority": "high"}, "priority='high'", "whole number"),
        ({"platforms": "linux"}, "platforms='linux'", "list of words"),
        ({"needs": [1]}, "needs=", "list of words"),
        ({"agree": 1e-9}, "agree=1e-09", "close(rtol=1e-9)"),
        ({"agree": image()}, "agree=Image", "close(rtol=1e-9)"),
        ({"inputs": {"a": "data.csv"}}, "neither a pathlib.Path", ""),
        ({"inputs": {"../a": Path("data.csv")}}, "cannot be called", "letters"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_runs(
    grid: Grid, options: dict[str, Any], words: str, hint: str
) -> None:
    before = len(grid.jobs())
    for call in (partial(grid.eval, "1"), partial(grid.map, square, [1])):
        with pytest.raises(UsageError, match=words) as caught:
            call(**options)
        assert hint in caught.value.hint
    assert len(grid.jobs()) == before


def test_what_calls_need_is_signed_with_them(grid: Grid) -> None:
    done = grid.eval("1", needs=["json"])
    assert done.wait(20) == 1
    packed = grid.background.call(grid.place.source_of(done.id))
    assert bundle.manifest(packed, "lab").needs == ["json"]


def test_so_is_the_rule_by_which_answers_are_the_same(grid: Grid) -> None:
    cases: list[tuple[Any, Any]] = [({"agree": close(rtol=1e-6)}, close(rtol=1e-6)), ({}, None)]
    for options, rule in cases:
        done = grid.map(square, [1], **options)
        assert done.wait(20) == [1]
        said = bundle.manifest(grid.background.call(grid.place.source_of(done.id)), "lab")
        assert (said.rule, said.has_agree) == (rule, False)


def test_things_that_are_no_function_object_are_named(grid: Grid) -> None:
    wrong: Any
    for wrong in (Leaves, 5, "sum"):
        with pytest.raises(UsageError, match="no DistributedFunction"):
            grid.run(wrong)
    with pytest.raises(UsageError, match="source as text"):
        grid.eval(wrong, [1])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'bogus'"):
        grid.jobs("bogus")


def test_a_file_that_was_never_sent_is_what_the_error_says(grid: Grid) -> None:
    with pytest.raises(CallFailed, match="no file with the SHA-256 000000000000"):
        grid.eval("1", inputs={"a": "0" * 64}).wait(20)


def test_calls_of_a_key_are_made_once(grid: Grid) -> None:
    first = grid.map(square, [1, 2, 3], key="squares once")
    assert first.wait(20) == [1, 4, 9]
    again = grid.map(square, [1, 2, 3], key="squares once")
    assert (again.id, again.wait(20)) == (first.id, [1, 4, 9])
    assert [value for _, value in again.as_completed()] == [1, 4, 9]
    one = grid.eval("20 + 2", key="sum once")
    assert one.wait(20) == 22
    assert grid.eval("20 + 2", key="sum once").wait(20) == 22


def test_whoever_waits_for_a_found_run_waits_for_its_server_too(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = grid.job(grid.map(rest, [0.1] * 4, chunk=1).id)
    asked = itertools.count(1)
    real = grid.place.run

    async def away(run: int) -> Any:
        if next(asked) < 4:
            raise ServerAway("no server answers")
        return await real(run)

    monkeypatch.setattr(job, "AWAY_S", 0.01)
    monkeypatch.setattr(grid.place, "run", away)
    assert found.wait(30) == [0.1] * 4
    asked = itertools.count(-(10**6))
    found._view = None
    with pytest.raises(ServerAway):
        found.wait(0.05)


def test_a_map_is_known_as_one_before_it_has_units(grid: Grid) -> None:
    gate = threading.Event()
    job = grid.map(square, (gate.wait(20) and n for n in (1, 2)))
    found = grid.job(job.id)
    gate.set()
    assert found.wait(20) == [1, 4]
    assert grid.job(grid.run(Leaves()).id).errors() == {}


def test_an_interrupt_ends_what_nobody_else_can_end(grid: Grid) -> None:
    source = "import time; time.sleep(61)"

    def interrupt() -> None:
        while not any(view.title == source and view.replicas.get("leased") for view in grid.jobs()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        grid(source)
    thread.join()
    assert [view.state for view in grid.jobs() if view.title == source] == ["cancelled"]


def test_boxes_of_runs_that_were_killed_while_they_began_are_gone(grid: Grid) -> None:
    place: Any = grid.place
    for number in range(12):
        begun = grid.eval(f"import time; time.sleep(60 + {number})")
        time.sleep(0.01 * number)
        begun.kill()
    assert grid.eval("1 + 1").wait(20) == 2
    ends = time.monotonic() + 10
    while place._doing and time.monotonic() < ends:
        time.sleep(0.01)
    assert place._busy.keys() == place._boxes.keys()
    assert len(place._boxes) <= 5
    assert len(list((place.folder / "boxes").iterdir())) == len(place._boxes)
