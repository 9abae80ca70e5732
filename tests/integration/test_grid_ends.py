"""Programs that end, one way or another, while work of theirs is going on: nothing is left behind, and nothing said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LONG = "grid.eval('import time; time.sleep(600)')"
BEGINNING = f"""
import os, signal, time
import dsage
grid = dsage.local(2)
assert grid("1 + 1") == 2
job = {LONG}
while not job.view.replicas.get("leased"):
    time.sleep(0.01)
"""


def ended(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGINNING + source],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of living processes that name a folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import threading; threading.Thread(target=grid.close).start()", 0),
        ("pool = grid.executor(); pool.submit(abs, -1)", 0),
        ("grid.close(); grid.close()", 0),
    ],
)
def test_a_program_that_closes_nothing_leaves_nothing(end: str, status: int, tmp_path: Path) -> None:
    done = ended(end, tmp_path)
    assert (done.returncode, done.stderr) == (status, "")
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_a_program_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    done = ended("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", tmp_path)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.strip().endswith("KeyboardInterrupt")
    assert "atexit" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_program_left_is_removed_by_the_next(tmp_path: Path) -> None:
    assert ended("os.kill(os.getpid(), signal.SIGKILL)", tmp_path).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    ends = time.monotonic() + 10
    while processes_in(tmp_path) and time.monotonic() < ends:
        pass
    assert processes_in(tmp_path) == []
    other = ended("assert len(list(grid.place.folder.parent.iterdir())) == 1", tmp_path)
    assert (other.returncode, other.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
