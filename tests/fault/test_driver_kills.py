"""A driver is killed without warning again and again, while its answers are refused under it: the end is the truth."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from lab import Lab, kill, lab

from dsage.home import Home
from dsage.researcher import Researcher

KILLS = 12
DEPTH = 7
APP = """
import time

from dsage import DistributedFunction, Unit


class Replays(DistributedFunction):
    def __init__(self, **params):
        super().__init__(**params)
        self.seen = []

    def units(self):
        yield Unit("x", quorum=1, deadline_s=60.0)

    @staticmethod
    def compute(path):
        time.sleep(0.25)
        return path

    def process_result(self, unit, value):
        self.seen.append(value)
        for side in "lr" if len(value) <= self.depth else "":
            self.submit(Unit(value + side, quorum=1, key=value + side, deadline_s=60.0))
        self.result = sorted(self.seen)


class TakesBack(Replays):
    def retract(self, unit, value):
        self.seen.remove(value)
        self.result = sorted(self.seen)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["Replays", "TakesBack"])
def test_a_driver_survives_kills_and_refused_answers(kind: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    with lab(2) as running:
        app = Path(running.folder) / "tree.py"
        app.write_text(APP)
        said = running.dsage_json("submit", f"{app}:{kind}", "-p", f"depth={DEPTH}", "--detach")["data"]
        number = int(said["run"])
        refused: set[int] = set()
        for count in range(KILLS):
            driver = running.start("attach", str(number), log="driver")
            time.sleep(draw.uniform(0.3, 1.5))
            assert _state(running, number) == "running", f"finished after {count} kills: take a deeper tree"
            if count % 3 == 2:
                asyncio.run(_refuse(running, number, refused, draw))
            kill(driver)
        assert refused
        _ends_with_every_node(running, number)

        asyncio.run(_refuse(running, number, refused, draw))
        assert _state(running, number) == "running"
        _ends_with_every_node(running, number)


def _ends_with_every_node(running: Lab, number: int) -> None:
    driver = running.start("attach", str(number), log="driver")
    assert driver.wait(300) == 0, (running.folder / "driver.log").read_text()[-2000:]
    expected, level = [], ["x"]
    for _ in range(DEPTH + 1):
        expected += level
        level = [path + side for path in level for side in "lr"]
    assert running.dsage_json("results", str(number))["data"]["result"] == sorted(expected)


async def _refuse(running: Lab, number: int, refused: set[int], draw: random.Random) -> None:
    """Refuse an accepted answer that was not refused before: there are two volunteers only."""
    async with await Researcher.open(Home(running.home)) as researcher:
        page = await researcher.units(number, state="valid")
        left = [each.unit for each in page.units if each.unit not in refused]
        if left:
            chosen = draw.choice(left)
            refused.add(chosen)
            await researcher.reopen(number, [chosen])


def _state(running: Lab, number: int) -> str:
    runs = running.dsage_json("status")["data"]["runs"]
    return str(next(run["state"] for run in runs if run["run"] == number))
