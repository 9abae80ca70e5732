"""This computer: units run in the sandbox of the volunteers' client, as many at a time as there are cores."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from dsage import codec
from dsage.errors import SandboxRefused, UsageError
from dsage.function import DistributedFunction, Limits
from dsage.places.book import Entry, Run
from dsage.places.memory import MemoryPlace
from dsage.sandbox import Box, Level, Outcome

WARM: Final = 4
"""Boxes kept open for apps that nothing runs of: about 20 MB each, for a start that is 50 ms quicker."""


class LocalPlace(MemoryPlace):
    """This computer. `level` is the sandbox that its units run in, known once the first has begun."""

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"{workers} workers cannot do anything", hint="Give 1 or more, or none for one a core.")
        super().__init__("this computer", workers or os.cpu_count() or 1)
        self.level: Level | None = None
        self._boxes: dict[str, Box] = {}
        self._busy: dict[str, int] = {}
        self._opening = asyncio.Lock()

    async def about(self) -> dict[str, str]:
        """Return how many units run at a time and in what sandbox, which the first unit finds out."""
        return {"workers": str(self.book.workers), "sandbox": self.level or "not opened yet"}

    async def execute(self, entry: Entry, inputs: dict[str, Path], on_output: Callable[[bytes], None]) -> Outcome:
        """Run one unit in a fresh process of its app's box; if the box broke, once more in a new one."""
        outcome = await self._once(entry, inputs, on_output)
        return await self._once(entry, inputs, on_output) if outcome.status == "broken" else outcome

    async def close(self) -> None:
        """Stop everything, close every box."""
        await super().close()
        while self._boxes:
            await self._boxes.popitem()[1].close()

    async def _once(self, entry: Entry, inputs: dict[str, Path], on_output: Callable[[bytes], None]) -> Outcome:
        app, new = entry.run.packed.sha256 + entry.run.packed.entry, entry.new
        self._busy[app] = self._busy.get(app, 0) + 1
        try:
            box = await self._box(app, entry.run)
            limits = Limits(
                cpu_s=new.cpu_s, wall_s=new.wall_s, memory_bytes=new.memory_bytes, disk_bytes=new.disk_bytes,
                output_bytes=new.output_bytes,
            )  # fmt: skip
            outcome = await box.call("compute", (new.args,), limits, inputs=inputs, on_output=on_output)
            if outcome.value is not None and entry.run.packed.function.verify is not DistributedFunction.verify:
                return await self._verified(box, new.args, outcome, limits)
            return outcome
        finally:
            self._busy[app] -= 1
            if not self._busy[app] and app not in self._boxes:
                del self._busy[app]

    async def _verified(self, box: Box, args: bytes, outcome: Outcome, limits: Limits) -> Outcome:
        """Return the outcome if the app's own `verify` does not find it false."""
        said = await box.call("verify", (args, outcome.value or b""), limits)
        if said.value is None:
            return replace(said, detail=f"verify: {said.detail}")
        if codec.decode(said.value) is False:
            return replace(outcome, status="failed", value=None, reason="verify", detail="verify says that it is false")
        return outcome

    async def _box(self, app: str, run: Run) -> Box:
        async with self._opening:
            box = self._boxes.pop(app, None) or await self._open(run)
            self._boxes[app] = box
            idle = [other for other in self._boxes if not self._busy[other]]
            for other in idle[:-WARM]:
                del self._busy[other]
                await self._boxes.pop(other).close()
            return box

    async def _open(self, run: Run) -> Box:
        """Open a box at the strongest level that works here: what runs in it is the user's own or was looked at."""
        folder = await asyncio.to_thread(self.app_of, run)
        levels = list(Level) if self.level is None else [self.level]
        refused: SandboxRefused | None = None
        for level in levels:
            try:
                box = await Box.open(level, folder, run.packed.entry, self.folder / "boxes")
            except SandboxRefused as error:
                refused = refused or error
            else:
                self.level = level
                return box
        raise refused or SandboxRefused("no sandbox works here")
