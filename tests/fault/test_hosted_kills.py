"""A run whose researcher has gone: server and hosting process are killed at random, and its answer is right."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab import Lab, kill, lab, wait_for

KILLS = 12
DEPTH = 10
APP = """
from dsage import DistributedFunction, Unit


class Tree(DistributedFunction):
    result = 0

    def __init__(self, **params):
        super().__init__(**params)
        self.result = 0

    def units(self):
        yield Unit(self.depth, quorum=1, deadline_s=30.0)

    @staticmethod
    def compute(depth):
        return depth

    def process_result(self, unit, value):
        self.result += 1
        for side in "lr" if value else "":
            self.submit(Unit(value - 1, quorum=1, key=f"{unit.key}{side}x", deadline_s=30.0))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hosted_run_survives_kills_of_server_and_hosting_process() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    with lab(1) as running:
        app = Path(running.folder) / "tree.py"
        app.write_text(APP)
        said = running.dsage_json("submit", f"{app}:Tree", "-p", f"depth={DEPTH}", "--hosted")["data"]
        number = str(said["run"])
        for _ in range(KILLS):
            step = _step(running, number)
            wait_for(lambda seen=step: _step(running, number) > seen)
            time.sleep(draw.uniform(0.0, 0.5))
            _kill_one(running, draw)
        done = running.dsage("watch", number, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout) == 2 ** (DEPTH + 1) - 1


def _step(running: Lab, number: str) -> int:
    view = wait_for(lambda: _view(running, number))
    assert view["state"] == "running", "it ended before the kills did: take a deeper tree"
    return int(view["step"])


def _view(running: Lab, number: str) -> dict[str, Any] | None:
    """Return what the server says of a run; nothing while its list of runs, made a moment ago, is of before it."""
    runs = running.dsage_json("status")["data"]["runs"]
    return next((each for each in runs if each["run"] == int(number)), None)


def _kill_one(running: Lab, draw: random.Random) -> None:
    assert running.server is not None
    children = psutil.Process(running.server.pid).children()
    hosting = [each for each in children if "dsage_server.hosting" in " ".join(each.cmdline())]
    if hosting and draw.random() < 0.5:
        hosting[0].kill()
        return
    kill(running.server)
    assert psutil.wait_procs(hosting, timeout=10.0)[1] == []
    running.start_server()
