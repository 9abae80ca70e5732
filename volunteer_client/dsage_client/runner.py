"""Running a checked unit: the interface, and the one that uses warm sandboxes.

A box serves one run of one app version and is kept warm between its units. It is replaced after a number of units,
or at once when it is broken.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from dsage.function import Limits
from dsage.sandbox import Box, Level, Outcome
from dsage_client.library import Proven

SPARE_BOXES: Final = 2
"""Warm boxes kept beyond the slots: a run that comes back soon finds its own."""

RunKey: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A unit ready to run. `on_checkpoint` gets codec bytes, `on_progress` the child's CPU seconds so far."""

    proven: Proven
    restored: bytes | None
    on_checkpoint: Callable[[bytes], None]
    on_progress: Callable[[float], None]

    @property
    def limits(self) -> Limits:
        """What the unit may use: never more than its run is authorised for."""
        unit, run = self.proven.unit, self.proven.authorisation
        return Limits(
            cpu_s=min(unit.cpu_s, run.cpu_s),
            wall_s=min(unit.wall_s, run.wall_s),
            memory_bytes=min(unit.memory_bytes, run.memory_bytes),
            disk_bytes=min(unit.disk_bytes, run.disk_bytes),
            output_bytes=min(unit.output_bytes, run.output_bytes),
        )


class Runner(Protocol):
    """Runs units. Cancelling `run` ends what it started before it returns."""

    async def run(self, work: Work) -> Outcome:
        """Run one unit to its end."""
        ...

    async def close(self) -> None:
        """End everything; nothing may be running."""
        ...


@dataclass(slots=True)
class _Warm:
    box: Box
    folder: tempfile.TemporaryDirectory[str]
    units: int = 0


class SandboxRunner:
    """Runs each unit in a fresh process of a warm box of `level`, below `work_dir`."""

    def __init__(self, level: Level, work_dir: Path, *, slots: int, niceness: int, units_per_box: int) -> None:
        self._level = level
        self._work_dir = work_dir
        self._most_idle = slots + SPARE_BOXES
        self._niceness = niceness
        self._units_per_box = units_per_box
        self._idle: list[tuple[RunKey, _Warm]] = []

    async def run(self, work: Work) -> Outcome:
        """Run one unit; a box that broke is replaced and the unit started once more, from its checkpoint."""
        outcome = await self._once(work)
        return await self._once(work) if outcome.status == "broken" else outcome

    async def close(self) -> None:
        """Close the warm boxes."""
        boxes, self._idle = self._idle, []
        await asyncio.gather(*(self._discard(warm) for _, warm in boxes))

    async def _once(self, work: Work) -> Outcome:
        key = (work.proven.unit.app, work.proven.unit.run)
        warm = await self._take(key, work)
        sound = False
        try:
            outcome = await warm.box.call(
                "compute",
                (work.proven.unit.args,),
                work.limits,
                restored=work.restored,
                on_checkpoint=work.on_checkpoint,
                on_progress=work.on_progress,
            )
            sound = outcome.status in ("done", "failed", "limit")
        finally:
            warm.units += 1
            if sound and warm.units < self._units_per_box:
                self._idle.append((key, warm))
            else:
                await self._discard(warm)
        while len(self._idle) > self._most_idle:
            await self._discard(self._idle.pop(0)[1])
        return outcome

    async def _take(self, key: RunKey, work: Work) -> _Warm:
        for position in range(len(self._idle) - 1, -1, -1):
            if self._idle[position][0] == key:
                return self._idle.pop(position)[1]
        self._work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=self._work_dir, prefix="box-")
        try:
            box = Box.open(
                self._level,
                work.proven.app_dir,
                work.proven.manifest.entry,
                Path(folder.name),
                nice=self._niceness,
            )
        except BaseException:
            folder.cleanup()
            raise
        return _Warm(box, folder)

    async def _discard(self, warm: _Warm) -> None:
        try:
            await warm.box.close()
        finally:
            warm.folder.cleanup()


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

    async def close(self) -> None:
        """Close the runner inside."""
        await self._runner.close()
