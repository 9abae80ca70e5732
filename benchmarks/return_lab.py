"""How long work goes on after its owner's key press: through the real session helper, on CPU time of the work itself.

An X server, `xdotool`, `dsage tray` and a program that computes are real; the agent stands in and never stops anything,
so what is measured is the helper alone. The clock starts before xdotool does and stops when the work last ran.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path

import psutil
from figures import figure

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))

from desk_stand import Stand
from idle_lab import display

from dsage.home import Home
from dsage.sandbox import processes
from dsage_client.helper import started

TRAY = (sys.executable, "-c", "from dsage_client.tray.command import tray; tray(prog_name='dsage tray')")
WORK = "import os, subprocess, sys; os.nice(19); subprocess.run([sys.executable, '-c', 'while True: pass'])"
IDLE_AFTER_S = 0.1
BAR_S = 0.1
QUIET_S = 0.3
"""So long without running counts as stopped: many times what a starved process waits for its turn."""


class Work:
    """A program with a child that computes, as a box has one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.child = 0

    async def begin(self) -> None:
        """Wait until the child is there."""
        while not (children := psutil.Process(self.pid).children()):  # noqa: ASYNC110 - a process sends no event
            await asyncio.sleep(0.01)
        self.child = children[0].pid

    def ran_ns(self) -> int:
        """Return how long the child has run on a processor, in nanoseconds (proc/PID/schedstat)."""
        with open(f"/proc/{self.child}/schedstat", "rb") as file:
            return int(file.read().split()[0])

    async def rests_since(self) -> float:
        """Wait until the child has stopped running; return when it last ran (time.perf_counter)."""
        last, ran = time.perf_counter(), self.ran_ns()
        while (now := time.perf_counter()) - last < QUIET_S:
            if (more := self.ran_ns()) != ran:
                last, ran = now, more
            await asyncio.sleep(0.001)
        return last


@asynccontextmanager
async def program(
    *command: str, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program and all it starts until the block ends."""
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        processes.kill(process.pid)
        await process.wait()


async def press(stand: Stand, work: Work, environment: dict[str, str]) -> float:
    """Let the work run while nobody is there, press a key, and return the seconds until it ran no more."""
    while (seen := (await stand.heard("present")).presence) is None or (seen.idle_s or 0) < IDLE_AFTER_S:
        await stand.heard("present", more_than=len([ask for ask in stand.asks if ask.do == "present"]))
    before = work.ran_ns()
    processes.resume(work.pid)
    while work.ran_ns() - before < 20_000_000:  # noqa: ASYNC110 - a process sends no event
        await asyncio.sleep(0.005)
    stand.asks.clear()
    begun = time.perf_counter()
    key = await asyncio.create_subprocess_exec("xdotool", "key", "a", env=environment)
    last = await work.rests_since()
    await key.wait()
    return last - begun


async def measure(presses: int) -> None:
    """Run a session and print its figures."""
    with tempfile.TemporaryDirectory() as folder, display() as shown:
        environment = shown | {
            "HOME": folder,
            "DSAGE_HOME": folder,
            "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent",
        }
        async with (
            program(sys.executable, "-c", WORK) as box,
            Stand(Home(Path(folder)).client, idle_after_s=IDLE_AFTER_S) as stand,
        ):
            work = Work(box)
            await work.begin()
            birth = started(work.pid)
            assert birth is not None
            stand.change(boxes=[(work.pid, birth)])
            async with program(*TRAY, "--icon", "none", environment=environment):
                took = sorted([await press(stand, work, environment) for _ in range(presses)])
    figure("key_to_no_work_p50_s", statistics.median(took), "s")
    figure("key_to_no_work_p99_s", took[ceil(0.99 * len(took)) - 1], "s", bar=BAR_S)
    figure("key_to_no_work_max_s", took[-1], "s")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presses", type=int, default=200, help="how many presses of a key to time")
    options = parser.parse_args()
    os.environ.pop("DISPLAY", None)
    asyncio.run(measure(options.presses))


if __name__ == "__main__":
    main()
