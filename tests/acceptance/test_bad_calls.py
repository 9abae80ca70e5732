"""Code that goes wrong on real volunteers' computers: a clear error with a code, and everybody else goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elsewhere import rest, square

from dsage import DistributedFunction, Unit, connect
from dsage.calls import CallFailed
from dsage.errors import DSageError, RunFailed, TimedOut
from dsage.family import Family
from dsage.grid import Grid
from dsage.states import RunState

WAIT_S = 60.0
SEGFAULT = "import ctypes; ctypes.string_at(0)"
FORKS = "import os\nwhile True: os.fork()"
FILLS = "with open('big', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"
PRINTS = "while True: print('x' * 10 ** 6)"
CYCLE = "a = []; a.append(a); a"
ARRAY = "import numpy; numpy.zeros(1 << 28)"
HANGS = "while True: pass"


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("import os; os._exit(3)", {}, r"crash: ended without an answer \(exit status 3\)"),
        ("raise SystemExit(3)", {}, "SystemExit: 3"),
        (SEGFAULT, {}, "crash: .*killed by SIGSEGV"),
        (FORKS, {}, "BlockingIOError|processes"),
        (FILLS, {}, "disk|No space left|File too large"),
        (PRINTS, {}, "disk: it printed more than 134217728 bytes"),
        (HANGS, {"timeout": 1.0}, r"\(?(cpu|wall)"),
        (CYCLE, {}, r"CodecError: value\[0\] contains itself"),
        (ARRAY, {"memory": 1 << 30}, "memory|MemoryError|ArrayMemoryError"),
        ("open", {}, "CodecError: value is a builtin_function_or_method, which cannot travel"),
    ],
    ids=["exit", "leaves", "segfault", "forks", "fills", "prints", "hangs", "cycle", "array", "type"],
)
def test_it_says_what_was_wrong_and_others_go_on(grid: Grid, source: str, options: dict[str, Any], said: str) -> None:
    job = grid.eval(source, quorum=1, retries=0, **options)
    with pytest.raises((CallFailed, RunFailed), match=said) as caught:
        job.wait(WAIT_S)
    assert caught.value.code in ("call-failed", "run-failed")
    assert job.state in (RunState.DONE, RunState.FAILED)
    assert grid.map(square, [3], quorum=1).wait(WAIT_S) == [9]


def test_what_needs_a_package_that_nobody_has_waits_and_says_so(grid: Grid) -> None:
    job = grid.eval("import no_such_package_of_anybody", quorum=1)
    with pytest.raises(TimedOut, match="no computer that is connected offers no_such_package_of_anybody"):
        job.wait(3)
    job.kill()
    assert grid.map(square, [3], quorum=1).wait(WAIT_S) == [9]


def test_not_a_number_is_a_number_to_agree_on(grid: Grid) -> None:
    value = grid.eval("float('nan')").wait(WAIT_S)
    assert value != value


class Falls(DistributedFunction[int, int]):
    """Its driver falls over the second answer."""

    def units(self) -> Iterator[Unit[int]]:
        for number in range(3):
            yield Unit(number, quorum=1)

    @staticmethod
    def compute(args: int) -> int:
        return args

    def process_result(self, unit: Unit[int], value: int) -> None:
        if value == 1:
            raise ValueError("no second answer is wanted")
        self.result += 1


class Doubts(DistributedFunction[int, int]):
    """No answer is good enough for it."""

    retries: int | None

    def units(self) -> Iterator[Unit[int]]:
        yield Unit(1, quorum=1, retries=self.retries)

    @staticmethod
    def compute(args: int) -> int:
        return args

    @staticmethod
    def verify(args: int, value: int) -> bool:
        return False

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.result = value


def test_a_driver_that_raises_fails_its_run_with_the_reason_and_keeps_its_state(grid: Grid) -> None:
    job = grid.run(Falls(), result=0)
    with pytest.raises(RunFailed, match=r"process_result of unit .* raised ValueError: no second answer is wanted"):
        job.wait(WAIT_S)
    assert job.state is RunState.FAILED
    assert job.view.units.get("valid", 0) >= 1
    assert grid.map(square, [4], quorum=1).wait(WAIT_S) == [16]


def test_an_answer_that_its_author_refuses_is_told(grid: Grid) -> None:
    with pytest.raises(RunFailed, match="2 answers were found wrong"):
        grid.run(Doubts(retries=1)).wait(WAIT_S)
    job = grid.run(Doubts(retries=None))
    until(lambda: "2 answers were found wrong, of every computer that is here" in job.view.reason)
    job.kill()


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.05)


def test_what_is_another_researchers_is_out_of_reach(
    family: Family, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = grid.map(rest, [0.5] * 4, chunk=1, quorum=1)
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path / "other"))
    link = next(line for line in family.log("server").split("'") if line.startswith("https://"))
    subprocess.run([sys.executable, "-P", "-m", "dsage", "login", link], check=True, capture_output=True)
    with connect() as theirs:
        for reach in (lambda: theirs.job(mine.id).kill(), lambda: theirs.job(mine.id).attach().wait(5)):
            with pytest.raises(DSageError) as caught:
                reach()
            assert caught.value.code == "not-allowed"
        with pytest.raises(DSageError) as caught:
            theirs.eval("2+2", project="of-somebody-else", quorum=1).wait(5)
        assert caught.value.code == "not-allowed"
    assert mine.wait(WAIT_S) == [0.5] * 4
