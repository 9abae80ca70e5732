"""Running a checked unit: the interface, and the one that uses warm sandboxes.

A box serves one app version and is kept warm between its units, of whatever runs: what is in it before a unit begins is
that app's source, imported, and nothing of any unit. It is replaced after a number of units, or at once when it is
broken, and closed when its app has brought nothing for a while: an idle client is small.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from dsage import perturbing
from dsage.function import Limits
from dsage.sandbox import Box, Level, Outcome, processes
from dsage.sandbox.launch import outermost
from dsage_client.library import Proven
from dsage_client.spool import MAX_CALL_BYTES

SPARE_BOXES: Final = 2
"""Idle boxes kept warm: an app that comes back soon finds its own."""
IDLE_BOX_S: Final = 30.0
"""How long an idle box is kept: about 20 MB each, for a start of a unit that is a tenth of a second quicker."""


@dataclass(frozen=True, slots=True)
class Room:
    """What units may use of a computer's memory (bytes): for themselves, and for what they keep on their disk, which
    lies in memory too."""

    memory_bytes: int = 0
    disk_bytes: int = 0

    @classmethod
    def of_host(cls, memory_percent: int = 50) -> Room:
        """Return what all units of this computer may use together, if so much of the memory is theirs."""
        host = memory_of_host()
        return cls(host * memory_percent // 100, host // 4)

    def __add__(self, other: Room) -> Room:
        return Room(self.memory_bytes + other.memory_bytes, self.disk_bytes + other.disk_bytes)

    def __sub__(self, other: Room) -> Room:
        return Room(self.memory_bytes - other.memory_bytes, self.disk_bytes - other.disk_bytes)

    def holds(self, taken: Room, wanted: Room) -> bool:
        """Whether there is room for `wanted` beside what is taken."""
        both = taken + wanted
        return both.memory_bytes <= self.memory_bytes and both.disk_bytes <= self.disk_bytes

    def more(self, taken: Room, each: Room) -> int:
        """Return how many units that want so much `each` there is room for beside what is taken."""
        memory, disk = self.memory_bytes - taken.memory_bytes, self.disk_bytes - taken.disk_bytes
        return max(0, min(memory // max(1, each.memory_bytes), disk // max(1, each.disk_bytes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A unit ready to run, with its input files by name.

    With a `seed` it is computed as one copy of many that differ (see `dsage.perturbing`).
    `on_checkpoint` gets codec bytes, `on_cpu` the child's CPU seconds so far, `on_progress` the share that is
    done and what a picture is to show, `on_output` the end of what it has printed.
    """

    proven: Proven
    limits: Limits
    restored: bytes | None
    on_checkpoint: Callable[[bytes], None]
    on_cpu: Callable[[float], None]
    on_output: Callable[[bytes], None] | None = None
    on_progress: Callable[[float, dict[str, Any]], None] | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    seed: int | None = None


def limits(proven: Proven, room: Room) -> Limits:
    """Return what a unit may use: never more than its run is authorised for, nor than this computer can spare."""
    unit, run = proven.unit, proven.authorisation
    return Limits(
        cpu_s=min(unit.cpu_s, run.cpu_s),
        wall_s=min(unit.wall_s, run.wall_s),
        memory_bytes=min(unit.memory_bytes, run.memory_bytes, room.memory_bytes),
        disk_bytes=min(unit.disk_bytes, run.disk_bytes, room.disk_bytes),
        output_bytes=min(unit.output_bytes, run.output_bytes, MAX_CALL_BYTES),
    )


@functools.cache
def memory_of_host() -> int:
    """Return the physical memory of this computer (bytes); what a box keeps on its disk lies there too."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Runner(Protocol):
    """Runs units. Cancelling `run` ends what it started before it returns."""

    async def run(self, work: Work) -> Outcome:
        """Run one unit to its end."""
        ...

    def pause(self) -> None:
        """Stop everything where it is, at once, and what is started meanwhile, until `resume`."""
        ...

    def resume(self) -> None:
        """Let everything go on."""
        ...

    async def rest(self) -> None:
        """Give back the memory of what nothing runs in."""
        ...

    async def close(self) -> None:
        """End everything; nothing may be running."""
        ...


@dataclass(slots=True)
class _Warm:
    box: Box
    running: int = 0
    units: int = 0
    worn: bool = False
    expiry: asyncio.TimerHandle | None = None


class SandboxRunner:
    """Runs each unit in a fresh process of a warm box of `level`, below `work_dir`."""

    def __init__(self, level: Level, work_dir: Path, *, niceness: int, units_per_box: int) -> None:
        self._level = level
        self._work_dir = work_dir
        self._niceness = niceness
        self._units_per_box = units_per_box
        self._warm: dict[str, _Warm] = {}
        self._opening = asyncio.Lock()
        self._paused = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Work) -> Outcome:
        """Run one unit; if its box broke it starts once more in a new one, from its checkpoint.

        Raises SandboxRefused if no box can be opened, UnitFailed if the app cannot be loaded in it.
        """
        outcome = await self._once(work)
        return await self._once(work) if outcome.status == "broken" else outcome

    def pause(self) -> None:
        """Stop every process of every box, also of those that are being opened."""
        self._paused = True
        for warm in self._warm.values():
            warm.box.pause()
        for box in outermost():
            processes.stop(box, keep=[box])

    def resume(self) -> None:
        """Let every box go on."""
        self._paused = False
        for warm in self._warm.values():
            warm.box.resume()
        for box in outermost():
            processes.resume(box)

    async def rest(self) -> None:
        """Close the boxes that nothing runs in."""
        async with self._opening:
            for app in [app for app, warm in self._warm.items() if not warm.running]:
                _keep_open(self._warm[app])
                await self._warm.pop(app).box.close()

    async def close(self) -> None:
        """Close the warm boxes."""
        for warm in self._warm.values():
            _keep_open(warm)
        await asyncio.gather(*self._tasks)
        boxes, self._warm = self._warm, {}
        for warm in boxes.values():
            _keep_open(warm)
        await asyncio.gather(*(warm.box.close() for warm in boxes.values()))

    async def _once(self, work: Work) -> Outcome:
        warm = await self._box(work)
        warm.running += 1
        try:
            function, args = perturbing.call(work.proven.unit.args, work.seed)
            outcome = await warm.box.call(
                function,
                args,
                work.limits,
                inputs=work.inputs,
                restored=work.restored,
                on_checkpoint=work.on_checkpoint,
                on_cpu=work.on_cpu,
                on_progress=work.on_progress,
                on_output=work.on_output,
            )
            warm.worn = warm.worn or outcome.status in ("broken", "stopped")
            return outcome
        finally:
            warm.running -= 1
            warm.units += 1
            await self._retire(work.proven.unit.app, warm)

    async def _box(self, work: Work) -> _Warm:
        app = work.proven.unit.app
        async with self._opening:
            warm = self._warm.pop(app, None) or _Warm(await self._open(work.proven))
            self._warm[app] = warm
            if self._paused:
                warm.box.pause()
            _keep_open(warm)
            for other in [k for k, idle in self._warm.items() if not idle.running and idle is not warm][:-SPARE_BOXES]:
                _keep_open(self._warm[other])
                await self._warm.pop(other).box.close()
            return warm

    async def _open(self, proven: Proven) -> Box:
        return await Box.open(self._level, proven.app_dir, proven.manifest.entry, self._work_dir, nice=self._niceness)

    async def _retire(self, app: str, warm: _Warm) -> None:
        """Take a worn box out of use, and close it when nothing runs in it any more."""
        warm.worn = warm.worn or warm.units >= self._units_per_box
        if warm.worn and self._warm.get(app) is warm:
            del self._warm[app]
        if warm.worn and not warm.running:
            await warm.box.close()
        elif not warm.running:
            self._rest(app, warm)

    def _rest(self, app: str, warm: _Warm) -> None:
        """Close a box later unless it is used again."""
        warm.expiry = asyncio.get_running_loop().call_later(IDLE_BOX_S, self._expire, app, warm)

    def _expire(self, app: str, warm: _Warm) -> None:
        if not warm.running and self._warm.get(app) is warm:
            del self._warm[app]
            self._start(warm.box.close())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _keep_open(warm: _Warm) -> None:
    """Call off the closing of a box that was idle."""
    if warm.expiry is not None:
        warm.expiry.cancel()
        warm.expiry = None


class Altered:
    """A runner whose finished values pass through `change` (work, codec bytes) -> codec bytes.

    The demo's cheater is this around the honest runner; so are tests of what a wrong answer meets.
    """

    def __init__(self, runner: Runner, change: Callable[[Work, bytes], bytes]) -> None:
        self._runner = runner
        self._change = change

    async def run(self, work: Work) -> Outcome:
        """Run the unit, then change its value."""
        outcome = await self._runner.run(work)
        if outcome.status != "done" or outcome.value is None:
            return outcome
        return replace(outcome, value=self._change(work, outcome.value))

    def pause(self) -> None:
        """Pause the runner inside."""
        self._runner.pause()

    def resume(self) -> None:
        """Let the runner inside go on."""
        self._runner.resume()

    async def rest(self) -> None:
        """Let the runner inside rest."""
        await self._runner.rest()

    async def close(self) -> None:
        """Close the runner inside."""
        await self._runner.close()
