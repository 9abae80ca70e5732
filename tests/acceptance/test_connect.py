"""`connect()` as people use it: a real server, real volunteers' clients, and a researcher's program beside them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from elsewhere import Sum, add, rest, square

from dsage import connect, local
from dsage.calls import CallFailed
from dsage.errors import RunCancelled, RunFailed, TimedOut
from dsage.family import Family
from dsage.grid import Grid
from dsage.states import RunState

WAIT_S = 60.0


def another(family: Family, source: str) -> Any:
    """Run a program of its own with the same home; return what it prints as JSON."""
    environment = {**os.environ, "DSAGE_HOME": str(family.home)}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_expressions_variables_and_what_they_print(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    assert grid("print('hello'); 2+2") == 4
    assert capsys.readouterr().out == "hello\n"
    assert grid.eval("a + b", {"a": 5, "b": 5}).wait(WAIT_S) == 10
    with pytest.raises(CallFailed, match=r"ZeroDivisionError: division by zero \(line 2"):
        grid.eval("x = 1\nx / 0").wait(WAIT_S)


def test_files_travel_byte_for_byte_and_modules_come_along(grid: Grid, tmp_path: Path) -> None:
    data = os.urandom(2 << 20)
    (tmp_path / "data.bin").write_bytes(data)
    source = "import hashlib\nfrom dsage import running\nhashlib.sha256(running.input('data').read_bytes()).hexdigest()"
    job = grid.eval(source, inputs={"data": tmp_path / "data.bin"}, quorum=1)
    assert job.wait(WAIT_S) == hashlib.sha256(data).hexdigest()
    (tmp_path / "beside.py").write_text("def triple(x):\n    return 3 * x\n")
    (tmp_path / "script.py").write_text("from beside import triple\n\ntriple(n)\n")
    assert grid.eval_file(tmp_path / "script.py", {"n": 14}, quorum=1).wait(WAIT_S) == 42


def test_map_parallel_and_a_standard_executor(grid: Grid) -> None:
    job = grid.map(square, [25, 12, 25, 32, 12], quorum=1)
    assert job.wait(WAIT_S) == [625, 144, 625, 1024, 144]
    assert grid.map(add, [1, 2], [30, 40], quorum=1).wait(WAIT_S) == [31, 42]
    both = grid.parallel(add, quorum=1)
    assert sorted((given, value) for (given, _), value in both([(1, 2), (5, 6)])) == [((1, 2), 3), ((5, 6), 11)]
    with grid.executor(quorum=1) as pool:
        assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_a_sum_with_two_who_must_agree(grid: Grid) -> None:
    assert grid.map(square, [3]).wait(WAIT_S) == [9]
    assert grid.run(Sum(n=5, rest_s=0.0), result=0).wait(WAIT_S) == 15


def test_output_while_it_runs_then_a_kill(grid: Grid) -> None:
    job = grid.eval("import time; print('first line', flush=True); time.sleep(60)", quorum=1)
    ends = time.monotonic() + WAIT_S
    while job.output != "first line\n" and time.monotonic() < ends:
        time.sleep(0.1)
    assert (job.output, job.state) == ("first line\n", RunState.RUNNING)
    job.kill()
    with pytest.raises(RunCancelled):
        job.wait(WAIT_S)
    assert grid.eval("1+1", quorum=1).wait(WAIT_S) == 2
    assert job.state is RunState.CANCELLED


def test_a_loop_inside_c_ends_soon_after_a_kill(family: Family, grid: Grid) -> None:
    mark = 10**9 + 7
    job = grid.eval(f"sum(range(10 ** 12 + {mark}))", quorum=1)
    until(lambda: bool(job.view.replicas.get("leased")))
    until(lambda: busy(family) > 0)
    job.kill()
    until(lambda: busy(family) == 0)
    assert job.state is RunState.CANCELLED


def test_wait_times_out_in_any_thread(grid: Grid) -> None:
    job = grid.map(rest, [30.0], quorum=1)
    caught: list[BaseException] = []

    def waiting() -> None:
        try:
            job.wait(0.2)
        except TimedOut as error:
            caught.append(error)

    thread = threading.Thread(target=waiting)
    thread.start()
    thread.join(WAIT_S)
    job.kill()
    assert [type(error) for error in caught] == [TimedOut]


def test_times_rerun_and_the_answer_in_a_file(grid: Grid, tmp_path: Path) -> None:
    job = grid.map(rest, [0.5], quorum=1)
    assert job.wait(WAIT_S) == [0.5]
    assert job.wall_time >= 0.5
    assert job.cpu_time < job.wall_time
    assert json.loads(job.write_result(tmp_path / "answer.json").read_text()) == [0.5]
    again = job.rerun()
    assert (again.wait(WAIT_S), again.id != job.id) == ([0.5], True)


def test_a_crash_is_tried_again_as_often_as_one_wants(grid: Grid) -> None:
    for retries in (0, 3):
        job = grid.eval("print('so far', flush=True); import os; os._exit(3)", retries=retries, quorum=1)
        with pytest.raises((CallFailed, RunFailed), match="crash"):
            job.wait(WAIT_S)
        assert [attempt.output for attempt in job.attempts()] == [b"so far\n"] * (retries + 1)


def test_another_program_finds_the_job_and_its_answer(family: Family, grid: Grid) -> None:
    job = grid.map(square, range(10), quorum=1)
    job.wait(WAIT_S)
    source = (
        "import json, dsage\n"
        "with dsage.connect() as grid:\n"
        f"    job = grid.job({job.id})\n"
        "    known = [view.run for view in grid.jobs('done')]\n"
        "    print(json.dumps([job.wait(30), job.id in known, job.state]))\n"
    )
    assert another(family, source) == [[n * n for n in range(10)], True, "done"]


def test_a_killed_program_leaves_a_run_that_another_goes_on_with(family: Family, grid: Grid, tmp_path: Path) -> None:
    script = tmp_path / "sum_of.py"
    script.write_text(
        "import sys, dsage\n"
        "from dsage import DistributedFunction, Unit\n\n\n"
        "class Sum(DistributedFunction):\n"
        "    def units(self):\n"
        "        for n in range(1, self.n + 1):\n"
        "            yield Unit(n, quorum=1)\n\n"
        "    @staticmethod\n"
        "    def compute(n):\n"
        "        import time\n"
        "        time.sleep(0.1)\n"
        "        return n\n\n"
        "    def process_result(self, unit, value):\n"
        "        self.result += value\n\n\n"
        "grid = dsage.connect()\n"
        "job = grid.run(Sum(n=40), result=0)\n"
        "print(job.id, flush=True)\n"
        "job.wait()\n"
    )
    environment = {**os.environ, "DSAGE_HOME": str(family.home)}
    with subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        number = int(first.stdout.readline())
        until(lambda: grid.job(number).view.units.get("valid", 0) > 3)
        first.kill()
    job = grid.job(number)
    assert job.state is RunState.RUNNING
    assert job.attach().wait(WAIT_S) == 820


def test_a_saved_run_goes_on_at_another_server(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = grid.run(Sum(n=24, rest_s=0.1), result=0)
    until(lambda: job.view.units.get("valid", 0) > 3)
    path = job.save(tmp_path / "sum.dsage")
    job.kill()
    other = Family(1)
    try:
        monkeypatch.setenv("DSAGE_HOME", str(other.home))
        with connect() as there:
            resumed = there.restore(path)
            assert resumed.wait(WAIT_S) == 300
            assert len(list(resumed.units())) < 24
    finally:
        other.close()
    with local(1) as here:
        assert here.restore(path).wait(WAIT_S) == 300


def busy(family: Family) -> int:
    """Return how many descendants of the family compute: a third of a core or more."""
    found = [child for pid in family.pids for child in psutil.Process(pid).children(recursive=True)]
    before = {process: used(process) for process in found}
    time.sleep(0.3)
    return sum(used(process) - times > 0.1 for process, times in before.items())


def used(process: psutil.Process) -> float:
    """Return the processor seconds of a process; of one that is gone none."""
    with suppress(psutil.NoSuchProcess):
        return float(process.cpu_times().user)
    return 0.0


def until(condition: Any) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.05)
