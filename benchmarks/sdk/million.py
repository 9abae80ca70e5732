"""A run of very many units: how fast its driver folds, whether its memory stays flat, how fast it comes back.

The server and the driver (`dsage attach`) are processes of their own. The driver makes units while it folds; a fleet of
simulated hosts in this process computes nothing and reports at once. Close to the end the driver is killed without
warning, and another one goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import uvloop
from figures import figure, say
from fleet import prepare
from fleet.audit import audit
from fleet.crowd import fleet
from fleet.habits import Habits
from lab import Lab, kill

from dsage import codec
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.states import OPEN_RUNS
from dsage.trust.invite import Link
from dsage.wire import RunView
from dsage_server.store.place import DATABASE

APP: Final = Path(__file__).with_name("many.py")
HOSTS: Final = 32
BATCH: Final = 50
LOOK_S: Final = 0.1
LOOK_CLOSELY_S: Final = 0.02
EARLY: Final = 0.1
"""From this share of the units on the driver's memory should not grow."""
LEFT: Final = 20_000
"""The driver is killed when so many units are left: late, so that there is much to come back to, and not too late."""
STUCK_S: Final = 60.0
SAMPLED_S: Final = 30
MB: Final = 1e6


@dataclass(slots=True)
class Watch:
    """One driver, as seen from outside. `began` and `ended` are moments with what was folded by then."""

    process: subprocess.Popen[str]
    early: int
    began: tuple[float, int] = (0.0, -1)
    ended: tuple[float, int] = (0.0, -1)
    early_rss: int = 0
    rss: int = 0
    peak_rss: int = 0

    def look(self, folded: int) -> None:
        """Note how things stand now. Raises RuntimeError if the driver is gone, TimeoutError if it is stuck."""
        if self.process.poll() not in (None, 0):
            raise RuntimeError(f"the driver ended with status {self.process.returncode}")
        now = time.perf_counter()
        if folded > self.ended[1]:
            self.ended = now, folded
            self.began = self.ended if self.began[1] < 0 else self.began
        elif now > self.ended[0] + STUCK_S:
            raise TimeoutError(f"nothing was folded for {STUCK_S:.0f} s, after {folded} units")
        if self.process.poll() is None:
            self.rss = psutil.Process(self.process.pid).memory_info().rss
            self.peak_rss = max(self.peak_rss, self.rss)
        if folded >= self.early and not self.early_rss:
            self.early_rss = self.rss

    @property
    def rate(self) -> float:
        """Units folded a second."""
        return (self.ended[1] - self.began[1]) / max(self.ended[0] - self.began[0], 1e-9)


def million(units: int, profile: Path | None = None) -> None:
    """Print the figures of a run of so many units; a sampled profile of its driver goes to a file, if wanted."""
    with tempfile.TemporaryDirectory(prefix="dsage-sdk-", ignore_cleanup_errors=True) as folder:
        running = Lab(Path(folder))
        try:
            running.start_server()
            uvloop.run(_run(running, units, profile))
        finally:
            running.stop()


async def _run(running: Lab, units: int, profile: Path | None) -> None:
    home = Home(running.home)
    tables = home.server / DATABASE
    prepare.enrol(tables, HOSTS)
    made = running.dsage_json("submit", f"{APP}:Many", "-p", f"count={units}", "--detach")
    run = int(made["data"]["run"])
    link = Link.parse(running.described["link"])
    async with await Researcher.open(home) as api, fleet([link], Habits(batch=BATCH), HOSTS) as crowd:
        crowd.begin()
        begin = time.perf_counter()
        first = Watch(running.start("attach", str(run), "--json", log="first"), int(EARLY * units))
        with _sampled(first.process, profile):
            await _watched(api, run, first, lambda view: _folded(view) >= units - LEFT)
        kill(first.process)
        gone = await api.run(run)
        if gone.state not in OPEN_RUNS:
            raise RuntimeError("the whole run was folded before the driver could be killed: it needs more units")
        back = time.perf_counter()
        second = Watch(running.start("attach", str(run), "--json", log="second"), units)
        await _watched(api, run, second, lambda view: view.step > gone.step, LOOK_CLOSELY_S)
        back_s = time.perf_counter() - back
        await _watched(api, run, second, lambda view: False)
        wall_s = time.perf_counter() - begin
        view = await api.run(run)
    _tell(units, first, second, back_s, wall_s)
    right = view.result is not None and codec.decode(view.result) == [units, units * (units - 1) // 2]
    say(f"     folded before the kill: {_folded(gone)}; the sum of all answers is {'right' if right else 'WRONG'}")
    faults = audit(tables, crowd.shared.acknowledged)
    figure(f"{units:,} units: wrong sums, and faults in the tables", len(faults) + (not right), "faults", bar=0)


def _tell(units: int, first: Watch, second: Watch, back_s: float, wall_s: float) -> None:
    run = f"{units:,} units"
    grown = first.rss - first.early_rss
    figure(f"{run}: made, done by simulated hosts and folded, kill and all", units / wall_s, "units/s", better="higher")
    figure(f"{run}: folded by the driver until it is killed", first.rate, "units/s", better="higher")
    figure(f"{run}: the driver's memory, at most", max(first.peak_rss, second.peak_rss) / MB, "MB", bar=200)
    figure(f"{run}: growth of it from {first.early:,} folded to {first.ended[1]:,}", grown / MB, "MB")
    figure(f"{run}: from `dsage attach` after kill -9 to the next committed step", back_s, "s", bar=10)


async def _watched(
    api: Researcher, run: int, watch: Watch, enough: Callable[[RunView], bool], every_s: float = LOOK_S
) -> None:
    """Look at a driver until that is enough or the run has ended."""
    while True:
        view = await api.run(run)
        watch.look(_folded(view))
        if enough(view) or view.state not in OPEN_RUNS:
            return
        await asyncio.sleep(every_s)


def _folded(view: RunView) -> int:
    return int(codec.decode(view.progress)["folded"]) if view.progress else 0


@contextlib.contextmanager
def _sampled(process: subprocess.Popen[str], profile: Path | None) -> Iterator[None]:
    """Sample a process from now on, for half a minute at most, if that is wanted."""
    if profile is None:
        yield
        return
    sampler = [str(Path(sys.executable).with_name("py-spy")), "record", "--format", "raw", "--rate", "100"]
    what = ["--duration", str(SAMPLED_S), "--output", str(profile), "--pid", str(process.pid)]
    with subprocess.Popen([*sampler, *what], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield
