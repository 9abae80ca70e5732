"""The interface of 2008: an old script with its import changed, and the parts of it one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from dsage import local
from dsage.calls import CallFailed
from dsage.classic import DistributedFunction, DSage, Job, JobWrapper, dsage
from dsage.errors import RunCancelled, RunFailed, TimedOut, UsageError

SCRIPT = """
from dsage.classic import *


def square(x):
    return x * x


class Sum(DistributedFunction):
    def __init__(self, dsage, n):
        DistributedFunction.__init__(self, dsage)
        self.n = n
        self.result = 0
        self.outstanding_jobs = ["DSAGE_RESULT = %s" % i for i in range(1, n + 1)]

    def process_result(self, job):
        self.result += int(job.result)
        self.done = len(self.waiting_jobs) == 0


dsage.setup()
d = dsage.start_all(workers=2)
job = d('2+2')
d.block_on_jobs([job])
print(job.status, job.result)
print(d.eval('a+b', user_vars={'a': 5, 'b': 5}, job_name='ten', timeout=60, priority=1).wait())
jobs = d.map(square, [25, 12, 25, 32, 12])
d.block_on_jobs(jobs)
print([job.result for job in jobs])
print(sorted(value for _, value in d.parallel_iter(square, [1, 2, 3])))
f = Sum(d, 5)
f.start()
f.wait()
print(f.result)
print('Volunteers' in d.server_log(50), d.web_server_url.startswith('http://localhost:'))
print(' '.join(map(str, d.family.pids)))
dsage.kill_all()
"""


@pytest.fixture(scope="module")
def d() -> Iterator[DSage]:
    with local(2) as grid:
        yield DSage(grid, retries=0)


class Sum(DistributedFunction):
    """1 + ... + n, by jobs that are code."""

    def __init__(self, dsage: DSage, n: int, job: str = "DSAGE_RESULT = %s") -> None:
        super().__init__(dsage)
        self.n = n
        self.result = 0
        self.outstanding_jobs = [job % i for i in range(1, n + 1)]

    def process_result(self, job: JobWrapper) -> None:
        self.result += job.result


class Levels(Sum):
    """Each result sends two more jobs, three levels deep; `next_job` brings some at the end."""

    pulled = 0

    def process_result(self, job: JobWrapper) -> None:
        super().process_result(job)
        if job.result < 3:
            for _ in range(2):
                self.submit_job(f"{job.result + 1}")

    def next_job(self) -> str | None:
        self.pulled += 1
        return "100" if self.pulled <= 2 else None


class Enough(Sum):
    """Ends with its first result."""

    def process_result(self, job: JobWrapper) -> None:
        super().process_result(job)
        self.done = True


class Patient(Sum):
    """Counts what failed and goes on."""

    failed = 0

    def process_failure(self, job: JobWrapper) -> None:
        self.failed += 1


def double(x: int, y: int = 0) -> int:
    return 2 * x + y


def test_an_old_script_runs_with_its_import_changed(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    *said, pids = done.stdout.splitlines()
    assert said == ["completed 4", "10", "[625, 144, 625, 1024, 144]", "[1, 4, 9]", "15", "True True"]
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.split())


def test_what_a_job_says_of_itself(d: DSage, tmp_path: Path) -> None:
    job = d.eval("print('seen'); [x]", user_vars={"x": 3}, job_name="mine", priority=2)
    assert job.wait(30) == [3]
    assert (job.status, job.output, job.result, job.name, job.priority) == ("completed", "seen\n", [3], "mine", 2)
    assert (job.killed, job.failures, job.get_job() is job) == (False, 0, True)
    assert job.finish_time >= job.creation_time
    assert repr(job) == "seen\n"
    assert json.loads(job.write_result(tmp_path / "r.json").read_text()) == [3]
    again = job.rerun()
    assert (again.wait(30), again.job_id != job.job_id) == ([3], True)
    found = JobWrapper.restore(job.save(tmp_path / "job"), d)
    assert (found.job_id, found.result) == (job.job_id, [3])
    assert job.job_id in [mine.job_id for mine in d.get_my_jobs("completed")]


def test_a_job_that_goes_on_a_job_that_fails_and_one_that_is_killed(d: DSage) -> None:
    slow = d("import time; time.sleep(60)")
    assert repr(slow) == "No output yet."
    with pytest.raises(TimedOut):
        slow.wait(0.2)
    bad = d("print('before'); 1/0")
    with pytest.raises(CallFailed, match="ZeroDivisionError"):
        bad.wait(30)
    assert (bad.status, bad.result) == ("failed", None)
    assert bad.output.startswith("before\nZeroDivisionError")
    d.kill(slow.job_id)
    d.block_on_jobs([slow, bad], timeout=20)
    assert (slow.status, slow.killed, slow.result) == ("killed", True, None)
    with pytest.raises(RunCancelled):
        slow.wait(20)


def test_functions_files_and_prepared_jobs(d: DSage, tmp_path: Path) -> None:
    assert d.eval_function(double, ((4,), {"y": 1})).wait(30) == 9
    (tmp_path / "helper.py").write_text("def triple(x):\n    return 3 * x\n")
    (tmp_path / "data.bin").write_bytes(b"\0\1\2")
    (tmp_path / "script.py").write_text("triple(len(open('data.bin', 'rb').read()))\n")
    both = [tmp_path / "helper.py", tmp_path / "data.bin"]
    assert d.eval_file(tmp_path / "script.py", load_files=both).wait(30) == 9
    prepared = Job("open('data.bin', 'rb').read()[k]", timeout=30)
    prepared.attach("k", 2)
    prepared.attach_file(tmp_path / "data.bin")
    assert d.send_job(prepared).wait(30) == 2
    with pytest.raises(UsageError, match="can travel"):
        prepared.attach("k", object())


def test_results_come_as_jobs_end(d: DSage) -> None:
    jobs = d.map(double, [1, 2, 3], [10, 20, 30])
    found: dict[Any, Any] = {input[0]: job.result for input, job in d.job_results_iter(jobs)}
    assert found == {(1, 10): 12, (2, 20): 24, (3, 30): 36}


def test_a_function_of_old_sums(d: DSage) -> None:
    f = Sum(d, 5)
    assert (f.done, f.time) == (False, "Sum has not finished yet.")
    with pytest.raises(UsageError, match="not started"):
        f.wait()
    f.start()
    assert f.wait(30) == 15
    assert (f.done, f.waiting_jobs, f.outstanding_jobs, len(f.processed_jobs)) == (True, [], [], 5)
    assert isinstance(f.time, timedelta)


def test_results_send_more_jobs(d: DSage) -> None:
    f = Levels(d, 1)
    f.start()
    assert f.wait(60) == 1 + 2 * 2 + 4 * 3 + 2 * 100


def test_it_ends_when_it_is_done_or_stopped(d: DSage) -> None:
    f = Enough(d, 1)
    f.outstanding_jobs.append("import time; time.sleep(60)")
    f.start()
    assert f.wait(30) == 1
    assert [job.status for job in f.waiting_jobs] == ["killed"]
    g = Sum(d, 2, "import time; time.sleep(60 + %s)")
    g.start()
    with pytest.raises(TimedOut):
        g.wait(0.1)
    g.stop()
    assert g.wait(30) == 0


def test_a_job_that_fails_ends_it_or_is_counted(d: DSage) -> None:
    f = Sum(d, 3, "1 // (%s - 2)")
    f.start()
    with pytest.raises(RunFailed, match=r"Sum failed: ZeroDivisionError"):
        f.wait(30)
    g = Patient(d, 3, "1 // (%s - 2)")
    g.start()
    assert (g.wait(30), g.failed) == (0, 1)


def test_it_is_saved_and_goes_on_elsewhere(d: DSage, tmp_path: Path) -> None:
    f = Sum(d, 3)
    f.result = 100
    path = f.save(tmp_path / "sum")
    with local(1) as other:
        g = Sum.restore(path, DSage(other))
        assert (g.wait(30), g.n) == (106, 3)


def test_what_has_no_meaning_any_more_is_said(d: DSage) -> None:
    with pytest.warns(UserWarning, match=r"setup\(poll\) has no meaning any more"):
        dsage.setup(poll=1.0)
    with pytest.raises(UsageError, match="priority 6"):
        d.eval("1", priority=6)
    with pytest.raises(UsageError, match="logs are not"):
        d.server_log(5)


def test_without_the_servers_packages_it_is_this_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsage.classic.possible", lambda: False)
    with pytest.warns(UserWarning, match=r"jobs run in dsage\.local"):
        d = dsage.start_all(workers=1)
    try:
        assert d("1+1").wait(30) == 2
    finally:
        dsage.kill_all()
    assert not d.is_connected()
