"""What runs on a Dask worker: the fixed function that Dask calls, which runs one unit in a box.

Everything happens in the worker's own event loop; its boxes are kept warm for the next unit of the same app.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final, TypeAlias

from dsage import bundle, codec
from dsage.errors import DSageError, SandboxRefused
from dsage.function import Limits
from dsage.places.folders import Folder
from dsage.sandbox import Box, Level

WARM: Final = 4
"""Boxes kept for apps of which nothing runs: about 20 MB each."""

Told: TypeAlias = tuple[str, bytes | None, str, str, float, float, bytes]
"""The fields of a sandbox's Outcome."""


class _Warm:
    """The boxes of this worker, by app."""

    def __init__(self) -> None:
        self._folder = Folder()
        self.folder = self._folder.path
        self.boxes: dict[str, Box] = {}
        self.busy: dict[str, int] = {}
        self.level: Level | None = None
        self.opening = asyncio.Lock()

    async def box(self, app: str, source: bytes, sha256: str, entry: str) -> Box:
        async with self.opening:
            box = self.boxes.pop(app, None)
            if box is None:
                folder = self.folder / sha256
                await asyncio.to_thread(bundle.unpack, source, folder, expected_sha256=sha256)
                box = await self._open(folder, entry)
            self.boxes[app] = box
            for other in [each for each in self.boxes if not self.busy.get(each)][:-WARM]:
                await self.boxes.pop(other).close()
            return box

    async def _open(self, folder: Path, entry: str) -> Box:
        refused: SandboxRefused | None = None
        for level in list(Level) if self.level is None else [self.level]:
            try:
                box = await Box.open(level, folder, entry, self.folder / "boxes")
            except SandboxRefused as error:
                refused = refused or error
            else:
                self.level = level
                return box
        raise refused or SandboxRefused("no sandbox works here")

    async def close(self) -> None:
        while self.boxes:
            await self.boxes.popitem()[1].close()
        await asyncio.to_thread(self._folder.remove)


_warm: dict[str, _Warm] = {}
_running: dict[str, asyncio.Task[Told]] = {}


async def run_unit(
    number: str,
    source: bytes,
    sha256: str,
    entry: str,
    args: bytes,
    limits: tuple[Any, ...],
    files: dict[str, bytes],
    verify: bool,
) -> Told:
    """Run one unit. `number` names it, and before its dot who sent it; the rest is as in a NewUnit and its bundle.

    `verify` says that the app has a check of its own for answers, which is made too.
    """
    task = asyncio.ensure_future(_run(number, source, sha256, entry, args, limits, files, verify))
    _running[number] = task
    try:
        return await task
    except asyncio.CancelledError:
        return "stopped", None, "closed", "it was not wanted any more", 0.0, 0.0, b""
    except DSageError as error:
        return "failed", None, error.code, error.message, 0.0, 0.0, b""
    finally:
        del _running[number]


def stop(number: str) -> None:
    """End a unit, if this worker runs it. Called on every worker, in a thread or its loop."""
    task = _running.get(number)
    if task is not None:
        task.get_loop().call_soon_threadsafe(task.cancel)


async def close(sender: str) -> None:
    """Forget everything of one sender."""
    for number in [each for each in _running if each.startswith(sender + ".")]:
        _running[number].cancel()
    if sender in _warm:
        await _warm.pop(sender).close()


async def _run(
    number: str,
    source: bytes,
    sha256: str,
    entry: str,
    args: bytes,
    limits: tuple[Any, ...],
    files: dict[str, bytes],
    verify: bool,
) -> Told:
    sender = number.partition(".")[0]
    warm = _warm.setdefault(sender, _Warm())
    app = f"{sha256} {entry}"
    warm.busy[app] = warm.busy.get(app, 0) + 1
    held = Path(tempfile.mkdtemp(dir=warm.folder)) if files else warm.folder
    try:
        box = await warm.box(app, source, sha256, entry)
        inputs = {name: held / name for name in files}
        for name, data in files.items():
            await asyncio.to_thread((held / name).write_bytes, data)
        cpu_s, wall_s, memory, disk, output = limits
        allowed = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_bytes=memory, disk_bytes=disk, output_bytes=output)
        done = await box.call("compute", (args,), allowed, inputs=inputs)
        if done.value is not None and verify:
            said = await box.call("verify", (args, done.value), allowed)
            if said.value is None:
                return said.status, None, said.reason, f"verify: {said.detail}", done.cpu_s, done.wall_s, done.output
            if codec.decode(said.value) is False:
                return "failed", None, "verify", "verify says that it is false", done.cpu_s, done.wall_s, done.output
        return done.status, done.value, done.reason, done.detail, done.cpu_s, done.wall_s, done.output
    finally:
        warm.busy[app] -= 1
        if files:
            await asyncio.to_thread(shutil.rmtree, held, ignore_errors=True)
