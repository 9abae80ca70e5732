"""Promises of the parity list (docs/parity.md) that only whole programs can keep: see there for the rows."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from elsewhere import numbered, rest

from dsage import connect, local
from dsage.calls import CallFailed
from dsage.errors import DSageError, RunFailed, UsageError
from dsage.family import Family
from dsage.grid import Grid

DSAGE = (sys.executable, "-P", "-m", "dsage")
JOIN = ("--when", "always", "--own-work", "--slots", "1")
AT_ONCE = 8
UNITS = 30
WAIT_S = 30.0
"""A machine that is busy with other things gets a second chance where time is measured."""


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    made = Family(2)
    monkeypatch.setenv("DSAGE_HOME", str(made.home))
    yield made
    made.close()


def until(condition: Callable[[], Any], within_s: float = WAIT_S) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.05)


def command(home: Path, *words: str) -> subprocess.Popen[str]:
    """Start `dsage`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "dsage", *words],
        env={**os.environ, "DSAGE_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


# -- beginning and ending --------------------------------------------------------------------------------------------


def test_a_first_start_makes_every_key_and_a_second_one_uses_them(tmp_path: Path) -> None:
    login = tmp_path / "home"
    words = ("serve", "--listen", "127.0.0.1:0", "--pages", "localhost:0")
    for more in ((), ("--public", "https://another.example:8470")):
        with command(login, *words, *more) as server:
            assert server.stdout is not None
            try:
                while not server.stdout.readline().startswith("Machine API"):
                    assert server.poll() is None
                if not more:
                    with command(login, "status", "--json") as status:
                        assert status.wait(WAIT_S) == 0
            finally:
                server.terminate()
                server.wait(WAIT_S)
    secrets = [path for path in login.rglob("*") if path.is_file() and path.suffix in (".key", ".pem", ".seed")]
    hidden = [path for path in secrets if b"PRIVATE" in path.read_bytes() or path.suffix != ".pem"]
    assert hidden
    assert {stat.S_IMODE(path.stat().st_mode) for path in hidden} == {0o600}


def test_two_and_two_from_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(2)
    monkeypatch.setenv("DSAGE_HOME", str(family.home))
    try:
        with connect() as grid:
            assert grid.eval("2+2").wait(WAIT_S) == 4
    finally:
        family.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_families_at_once_share_nothing(rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path))
    for _ in range(rounds):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            families = list(pool.map(lambda _: Family(1), range(AT_ONCE)))
        try:
            assert len({family.url for family in families}) == AT_ONCE
            assert len({pid for family in families for pid in family.pids}) == 2 * AT_ONCE
            files = [{path for path in family.folder.rglob("*") if path.is_file()} for family in families]
            assert sum(map(len, files)) == len(set().union(*files))
            for family in families:
                monkeypatch.setenv("DSAGE_HOME", str(family.home))
                status = subprocess.run([*DSAGE, "status", "--json"], capture_output=True, text=True, check=True)
                assert json.loads(status.stdout)["data"]["hosts_live"] == 1, "it is ready when it is there"
            monkeypatch.setenv("DSAGE_HOME", str(tmp_path))
        finally:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(Family.close, families))
        assert not any(family.folder.exists() for family in families)
    assert not list(tmp_path.iterdir()), "the home of whoever starts them is not touched"


def test_a_family_that_cannot_start_says_why_and_leaves_nothing() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DSageError, match="server ended before it was ready"):
            Family(1, port=port)
    with pytest.raises(UsageError, match="0 workers"):
        Family(0)
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_killed_program_leaves_no_descendant(tmp_path: Path) -> None:
    source = (
        "import dsage, os, time\n"
        "from dsage.family import Family\n"
        "family = Family(2)\n"
        "os.environ['DSAGE_HOME'] = str(family.home)\n"
        "grid = dsage.connect()\n"
        "jobs = [grid.eval(f'import time; time.sleep(100 + {n})', quorum=1) for n in range(2)]\n"
        "while sum(job.view.replicas.get('leased', 0) for job in jobs) < 2: time.sleep(0.05)\n"
        "print('ready', flush=True)\n"
        "time.sleep(100)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o711)
    with subprocess.Popen([sys.executable, "-c", source], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "ready\n"
            program = psutil.Process(parent.pid)
            until(lambda: len(program.children(recursive=True)) > 5)  # boxes too
            descendants = program.children(recursive=True)
        finally:
            parent.kill()
    until(lambda: not any(process.is_running() for process in descendants))


# -- volunteers come and go ------------------------------------------------------------------------------------------


def test_volunteers_come_and_go_and_no_call_is_lost(family: Family) -> None:
    with connect() as grid:
        job = grid.map(numbered, range(200), chunk=1, quorum=1)
        until(lambda: len(job) > 10)
        back = late = command(family.folder / "late", "join", invited(), *JOIN, "--home", str(family.folder / "late"))
        try:
            psutil.Process(family.pids[1]).kill()
            back = command(family.home, "join", *JOIN, "--home", str(family.folder / "worker-1"))
            assert job.wait(WAIT_S) == list(range(200))
            assert job.view.replicas["valid"] == 200
        finally:
            for process in (late, back):
                process.terminate()
                process.communicate(timeout=WAIT_S)


def test_a_volunteer_that_is_gone_for_good_and_one_that_comes_late_cost_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = Family(3)
    monkeypatch.setenv("DSAGE_HOME", str(family.home))
    try:
        with connect() as grid:
            job = grid.map(rest, [0.3] * UNITS, chunk=1, quorum=1, deadline_s=5, credit=0.005)
            until(lambda: len(job) > 6)
            late = psutil.Process(family.pids[2])
            stopped = [late, *late.children(recursive=True)]
            for process in stopped:
                process.suspend()
            psutil.Process(family.pids[1]).kill()
            held = sum(each.state == "leased" for each in job.attempts())
            assert held >= 2
            assert job.wait(2 * WAIT_S) == [0.3] * UNITS
            gone = job.view.replicas["expired"]
            assert gone >= 2, "the leases of both ran out"
            for process in reversed(stopped):
                process.resume()
            assert grid.eval("2+2", quorum=2).wait(WAIT_S) == 4, "the late one is back: two must agree"
            view = job.refresh().view
            assert (view.units, job.wait(WAIT_S)) == ({"valid": UNITS}, [0.3] * UNITS)
            assert view.credit_milli == 5 * view.replicas["valid"], "each answer that is right is paid, and paid once"
            assert UNITS <= view.replicas["valid"] <= UNITS + gone
    finally:
        family.close()


def invited() -> str:
    """Return a link to the server of this home."""
    made = subprocess.run([*DSAGE, "invite", "--json"], capture_output=True, text=True, check=True)
    return str(json.loads(made.stdout)["data"]["link"])


def test_a_hole_in_the_network_loses_and_doubles_nothing(family: Family) -> None:
    with connect() as grid:
        job = grid.map(numbered, range(60), chunk=1, quorum=1)
        until(lambda: len(job) > 5)
        server = psutil.Process(family.pids[0])
        server.suspend()
        time.sleep(4)
        server.resume()
        assert job.wait(WAIT_S) == list(range(60))
        view = job.view
        assert (view.replicas["valid"], view.units["valid"]) == (60, 60)
        assert view.credit_milli == 60 * 1000


# -- units at work ---------------------------------------------------------------------------------------------------


def test_slots_work_side_by_side_and_volunteers_give_way(family: Family) -> None:
    with local(4) as grid:
        job = grid.map(rest, [2.0] * 4, chunk=1)
        job.wait(WAIT_S)
        units = job.attempts()
        assert len(units) == 4
        assert max(each.started for each in units) < min(each.ended or 0.0 for each in units)
    with connect() as grid:
        assert grid.eval("import os; os.nice(0)", quorum=1).wait(WAIT_S) == 19
        assert family.workers == 2


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    with local(2) as opened:
        yield opened


def test_the_word_error_is_no_error(grid: Grid) -> None:
    source = "print('Error: Traceback (most recent call last):'); 'Error'"
    job = grid.eval(source)
    assert job.wait(WAIT_S) == "Error"
    assert job.output.startswith("Error: Traceback")


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True: pass",
        "import os, time\nif os.fork() == 0: time.sleep(600)\nos.wait()",
    ],
    ids=["busy", "deaf", "grandchild"],
)
def test_what_passes_its_time_ends_soon_after_and_one_next_call_runs(grid: Grid, source: str) -> None:
    with pytest.raises((CallFailed, RunFailed)):
        grid.eval(source, timeout=1.0).wait(WAIT_S)
    assert grid.map(numbered, [7]).wait(WAIT_S) == [7]


def test_one_call_leaves_nothing_for_the_next(grid: Grid) -> None:
    first = (
        "import os, builtins\nbuiltins.left = 1; os.environ['LEFT'] = '1'; open('left', 'w').close(); os.mkdir('d')\n"
    )
    look = (
        "import os, builtins\n"
        "[hasattr(builtins, 'l'), 'LEFT' in os.environ, os.path.exists('left'), os.path.exists('d'), 'x' in globals()]"
    )
    with local(1) as alone:
        assert alone.eval(f"x = 1\n{first}os.chdir('d'); 1").wait(WAIT_S) == 1
        assert alone.eval(look).wait(WAIT_S) == [False] * 5


def test_two_and_two_comes_back_again_and_again(family: Family) -> None:
    with connect() as grid:
        for _ in range(15):
            assert grid.eval("2+2", quorum=1).wait(WAIT_S) == 4


def test_every_slot_is_refreshed_for_new_source() -> None:
    with local(2) as grid:
        jobs = [grid.eval(f"import os; (os.getpid(), {number})") for number in range(2)]
        assert len({job.wait(WAIT_S)[1] for job in jobs}) == 2


def test_what_a_family_says_is_read_by_lines(family: Family) -> None:
    assert len(family.log("server", 2).splitlines()) == 2
    assert family.log("server", 0) == ""
    assert family.log("server", 10**6)
    for count in ("50; rm -rf /", -1, 2.5, True, None):
        with pytest.raises(UsageError, match="is no number of lines"):
            family.log("server", count)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="there is no"):
        family.log("../../etc/passwd")
    with pytest.raises(UsageError):
        family.log("worker 3")


def test_each_is_ended_in_good_order(family: Family) -> None:
    processes = [psutil.Process(pid) for pid in family.pids]
    family.close()
    assert not any(process.is_running() for process in processes)
    assert not family.folder.exists()
