"""What the sandbox costs: to start, to each unit, and while a unit computes; beside the very same without a box.

The bare side is the same warm parent with the same limits and channel, started as an ordinary process: what differs is
the box. Box and bare take turns, and medians are compared. `python benchmarks/sandbox_lab.py [--rounds 25]`.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from figures import figure, say

from dsage import codec
from dsage.function import Limits
from dsage.sandbox import Level, slots
from dsage.sandbox.box import _plan
from dsage.sandbox.lane import Lane, Request
from dsage.sandbox.launch import _BOOT, PROCESSES, Plan, Started, _bounded_file, _start

LIMITS = Limits(cpu_s=60.0, wall_s=60.0)
APP = """
import os, time
class App:
    @staticmethod
    def nothing(value):
        return value
    @staticmethod
    def computes(steps):
        began, seed = time.process_time(), 1
        for _ in range(steps):
            seed = (seed * 48271 + 1) % 2147483647
        return time.process_time() - began
    @staticmethod
    def calls(steps):
        began = time.process_time()
        for _ in range(steps):
            os.getppid()
        return time.process_time() - began
"""
STEPS, CALLS = 5_000_000, 1_000_000


class Bare(Plan):
    """A lane without a box: one process."""

    @property
    def layers(self) -> int:
        """How many processes an idle lane has."""
        return 1


def bare(plan: Plan) -> Started:
    """Start the warm parent as an ordinary process, with the limits that it has in a box too."""
    control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)
    slot, inputs = (Path(tempfile.mkdtemp(prefix=name, dir=plan.folder)) for name in ("slot-", "inputs-"))
    printed = _bounded_file("printed", 1 << 16)
    python = [plan.runtime.python, "-P", "-S", "-B", "-s", "-c", _BOOT, ":".join(plan.runtime.import_path)]
    process = _start([*python, str(inner.fileno())], [inner.fileno()], {}, printed)
    inner.close()
    if os.geteuid() == 0:
        os.chown(slot, 60707, 60707)
    settings = {
        "entry": plan.entry, "preload": [], "nice": 0, "processes": 1000 + PROCESSES, "landlock": None, "inner": None,
        "app": plan.app_dir, "slot": str(slot), "inputs": str(inputs),
    }  # fmt: skip
    return Started(
        process=process, control=control, printed=printed, inputs=inputs, slot=slot, held=slots.held(slot), life=None,
        group=None, settings=settings,
    )  # fmt: skip


def request(function: str, value: object) -> Request:
    """Return a call as a lane takes it."""
    args = (codec.encode(value),)
    return Request(
        function=function, args=args, limits=LIMITS, restored=None, on_checkpoint=None, on_progress=None, on_cpu=None
    )


async def started(plan: Plan) -> Lane:
    """Open a lane, boxed or bare as its plan says."""
    if not isinstance(plan, Bare):
        return await Lane.start(plan, LIMITS.disk_bytes)
    lane = Lane(plan, bare(plan), LIMITS.disk_bytes)
    lane._control.send(codec.encode(lane._started.settings))
    lane._loaded(await lane._introduced())
    return lane


async def value(lane: Lane, function: str, argument: object) -> object:
    """Do a call and return what it answers; one that fails ends the benchmark."""
    outcome = await lane.call(request(function, argument))
    if outcome.value is None:
        raise SystemExit(f"{function}: {outcome.status} {outcome.reason}\n{outcome.detail}")
    return codec.decode(outcome.value)


async def timed(action: Awaitable[object]) -> float:
    """Return how long it took (ms)."""
    began = time.perf_counter()
    await action
    return (time.perf_counter() - began) * 1e3


async def in_turn(rounds: int, *actions: Callable[[], Awaitable[float]]) -> list[list[float]]:
    """Return what each action gave, round by round; the first round warms up and does not count."""
    found = [[await action() for action in actions] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*found[1:], strict=True)]


async def starts(plans: list[Plan], rounds: int) -> None:
    """Measure how long it takes until an app is loaded."""

    async def start(plan: Plan) -> float:
        began = time.perf_counter()
        lane = await started(plan)
        took = (time.perf_counter() - began) * 1e3
        await lane.end()
        return took

    columns = await in_turn(rounds, *[lambda plan=plan: start(plan) for plan in plans])
    middle = [statistics.median(column) for column in columns]
    names = "bare", "bubblewrap", "landlock"
    for name, own in list(zip(names, middle, strict=True))[1:]:
        figure(f"{name} box: added to a bare start", own - middle[0], "ms", bar=20, peer=("bare start", middle[0]))


async def units(plans: list[Plan], rounds: int) -> None:
    """Measure a unit that does nothing, from a warm parent, and what is added to one that computes."""
    lanes = [await started(plan) for plan in plans]
    columns = await in_turn(10 * rounds, *[lambda lane=lane: timed(value(lane, "nothing", 1)) for lane in lanes])
    middle = [statistics.median(column) for column in columns]
    forked = statistics.median([_process() for _ in range(10 * rounds)])
    for name, own in (("bubblewrap", middle[1]), ("landlock", middle[2])):
        figure(f"{name} box: added to a unit", own - middle[0], "ms", bar=5, peer=("bare unit", middle[0]))
        figure(f"{name} box: a whole unit", own, "ms", peer=("multiprocessing, fork", forked))
    for what, function, steps, bar in (
        ("computing", "computes", STEPS, 2.0),
        ("calling the kernel", "calls", CALLS, None),
    ):
        columns = await in_turn(rounds, *[lambda lane=lane: _cpu(lane, function, steps) for lane in lanes])  # noqa: B023
        for name, column in (("bubblewrap", columns[1]), ("landlock", columns[2])):
            ratio = statistics.median(own / base for own, base in zip(column, columns[0], strict=True))
            figure(f"{name} box: overhead while {what}", (ratio - 1) * 100, "%", bar=bar)
    await asyncio.gather(*(lane.end() for lane in lanes))


async def _cpu(lane: Lane, function: str, steps: int) -> float:
    spent = await value(lane, function, steps)
    return spent if isinstance(spent, float) else 0.0


def _process() -> float:
    began = time.perf_counter()
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="dsage-lab-") as place:
        base = Path(place)
        base.chmod(0o755)
        (base / "app").mkdir()
        (base / "app" / "lab.py").write_text(APP)
        made = [_plan(level, base / "app", "lab:App", base, 0, {}, "", ()) for level in Level]
        fields = {name: getattr(made[-1], name) for name in Plan.__slots__}
        plans = [Bare(**fields), *made]
        say(f"{rounds} rounds, box and bare in turn, medians")
        asyncio.run(starts(plans, rounds))
        asyncio.run(units(plans, rounds))


if __name__ == "__main__":
    main()
