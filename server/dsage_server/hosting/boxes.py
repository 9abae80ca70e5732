"""The boxes that hosted drivers are stepped in: one for a run, warm while it is used, and so many at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dsage.function import MAX_STATE_BYTES, Limits
from dsage.sandbox import Box, Level, Outcome
from dsage.wire import MAX_BODY_BYTES

STEP_LIMITS: Final = Limits(
    cpu_s=60.0,
    wall_s=120.0,
    memory_bytes=1 << 30,
    disk_bytes=64 << 20,
    output_bytes=MAX_BODY_BYTES + MAX_STATE_BYTES,
)
"""A step folds at most 200 answers, in milliseconds as a rule; what takes a minute belongs into units. What comes out
is one request of the machine API and a state."""
STEPS_AT_ONCE: Final = 4
"""Together they may have four times the memory and, being nice, the processor time that nobody else wants."""
MOST_BOXES: Final = 16
"""Warm boxes kept: some 30 MB each. A run that needs a new one waits a quarter of a second for it."""
NICE: Final = 10


@dataclass(slots=True)
class _Warm:
    box: Box | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Boxes:
    """Boxes by run. Those least recently used are closed when there are more than MOST_BOXES."""

    def __init__(self, level: Level, work_dir: Path) -> None:
        self._level = level
        self._work_dir = work_dir
        self._warm: dict[int, _Warm] = {}
        self._turn = asyncio.Semaphore(STEPS_AT_ONCE)

    async def step(self, run: int, app_dir: Path, entry: str, args: tuple[bytes, ...]) -> Outcome:
        """Call the app's `hosted_step` in the run's box.

        Raises UnitFailed if the app cannot be loaded, SandboxRefused if there is no box to be had.
        """
        warm = self._warm[run] = self._warm.pop(run, _Warm())
        async with self._turn, warm.busy:
            await self._tidy()
            if warm.box is None:
                warm.box = await Box.open(
                    self._level, app_dir, entry, self._work_dir, nice=NICE, preload=("dsage.hosted",)
                )
            return await warm.box.call("hosted_step", args, STEP_LIMITS)

    async def drop(self, run: int) -> None:
        """Close the box of a run that is not driven any more."""
        warm = self._warm.pop(run, None)
        if warm is not None and warm.box is not None:
            await warm.box.close()

    async def close(self) -> None:
        """Close every box."""
        for run in list(self._warm):
            await self.drop(run)

    async def _tidy(self) -> None:
        idle = [run for run, warm in self._warm.items() if warm.box is not None and not warm.busy.locked()]
        for run in idle[: max(0, len(idle) - MOST_BOXES)]:
            await self.drop(run)
