"""`Box`: one app version of one run, ready to be called in a sandbox."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsage import codec
from dsage.errors import SandboxRefused, UnitFailed
from dsage.function import Limits
from dsage.sandbox import frames, reach, runtime, seccomp, slots
from dsage.sandbox.lane import Lane, Request
from dsage.sandbox.launch import Plan, box_folder, dropped_user
from dsage.sandbox.level import Level, Outcome
from dsage.threads import made


class Box:
    """A set of warm sandboxes that have loaded one app; each call runs in a fresh process forked in one of them.

    Must be opened and closed on the same thread: the kernel ends the box when that thread ends.
    """

    def __init__(self, plan: Plan, first: Lane) -> None:
        self._plan = plan
        self._lanes = [first]
        self._closed = False
        self._paused = False

    @classmethod
    async def open(
        cls,
        level: Level,
        app_dir: Path,
        entry: str,
        work_dir: Path,
        *,
        nice: int = 0,
        environment: Mapping[str, str] | None = None,
        start: str = "",
        preload: tuple[str, ...] = (),
    ) -> Box:
        """Start a sandbox and import `entry` ("module.path:Class") from `app_dir`, which is read-only there.

        `work_dir` holds what a box needs on disk while it is open. A `nice` of 19 also takes the idle scheduling
        class. `environment` changes what calls find in theirs and `start` the folder that they begin in, for those who
        look whether an app cares. Modules to `preload` are imported before the app, once for all calls. Raises
        SandboxRefused if the sandbox cannot start and UnitFailed if the app cannot be loaded.
        """
        plan = await made(
            lambda it: slots.remove(it.folder),
            _plan, level, app_dir, entry, work_dir, nice, environment or {}, start, preload,
        )  # fmt: skip
        try:
            return cls(plan, await Lane.start(plan, Limits().disk_bytes))
        except BaseException:
            slots.remove(plan.folder)
            raise

    @property
    def pid(self) -> int:
        """The outermost process of the first sandbox."""
        return self._lanes[0].pid if self._lanes else 0

    async def call(
        self,
        function: str,
        args: tuple[bytes, ...],
        limits: Limits,
        *,
        inputs: Mapping[str, Path] | None = None,
        restored: bytes | None = None,
        on_checkpoint: Callable[[bytes], None] | None = None,
        on_progress: Callable[[float, dict[str, Any]], None] | None = None,
        on_cpu: Callable[[float], None] | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Outcome:
        """Run `Class.function(*decoded args)` in a fresh process and return how it ended.

        Several calls may run at a time, each in a sandbox of its own. Cancelling kills the process and everything
        it started. `inputs` are files of the host that it may read, by name. `on_progress` hears the share done (0..1)
        when the app tells it, and at most each second while processor time advances, each time with what the app last
        told for a picture (`frames.shown`); `on_cpu` hears, as often, how much of it (s) the call has used.
        `on_output` hears the end of what the call has printed when that has grown.
        """
        request = Request(
            function=function,
            args=args,
            limits=limits,
            inputs=inputs or {},
            restored=restored,
            on_checkpoint=on_checkpoint,
            on_progress=on_progress,
            on_cpu=on_cpu,
            on_output=on_output,
        )
        try:
            lane = await self._free_lane(limits.disk_bytes)
        except (SandboxRefused, UnitFailed) as error:
            return Outcome("broken", None, "sandbox", error.message, 0.0, 0.0)
        try:
            outcome = await lane.call(request)
        finally:
            lane.busy = False
            if not lane.usable or self._closed:
                self._lanes.remove(lane)
                await lane.end()
        if self._closed and outcome.status != "done":
            return replace(outcome, status="stopped", value=None, reason="closed", detail="the box was closed")
        return outcome

    async def call_each(self, function: str, calls: Sequence[tuple[bytes, ...]], limits: Limits) -> Outcome:
        """Call a function many times in one fresh process, which costs as much as one `call`; the limits are for all.

        The value is a list with [True, answer] or [False, reason] for each call. What kills the process takes all of
        them along, and one call may spoil the next one's: for short questions to one app, which are asked again alone
        if that happens.
        """
        return await self.call(function + frames.EACH, tuple([codec.encode(list(call)) for call in calls]), limits)

    def pause(self) -> None:
        """Stop every process in the box within a millisecond or so, until `resume`; wall limits stand still."""
        self._paused = True
        for lane in self._lanes:
            lane.pause()

    def resume(self) -> None:
        """Let every process in the box go on."""
        self._paused = False
        for lane in self._lanes:
            lane.resume()

    async def close(self) -> None:
        """Kill everything that runs in the box and remove what it kept; nothing survives."""
        self._closed = True
        try:
            await asyncio.gather(*(lane.end() for lane in self._lanes))
        finally:
            slots.remove(self._plan.folder)

    async def _free_lane(self, disk_bytes: int) -> Lane:
        free = [lane for lane in self._lanes if not lane.busy]
        for lane in free:
            if lane.disk_bytes == disk_bytes and lane.is_clean():
                lane.busy = True
                return lane
        for lane in free:
            self._lanes.remove(lane)
            await lane.end()
        lane = await Lane.start(self._plan, disk_bytes)
        lane.busy = True
        self._lanes.append(lane)
        if self._closed:
            await lane.end()
        if self._paused:
            lane.pause()
        return lane


def _plan(
    level: Level,
    app_dir: Path,
    entry: str,
    work_dir: Path,
    nice: int,
    environment: Mapping[str, str],
    start: str,
    preload: tuple[str, ...],
) -> Plan:
    """Decide what a box is made of; as root, lay out where an unprivileged user can read it."""
    app = str(app_dir.resolve())
    needed = runtime.current()
    sources: dict[str, str] = {}
    slots = work_dir.resolve()
    slots.mkdir(parents=True, exist_ok=True)
    if dropped_user() is not None:
        slots = reach.place_for_slots(slots)
        sources = {folder: reach.laid_out(folder) for folder in needed.folders}
    folder = box_folder(slots)
    if dropped_user() is not None and not reach.reachable(app):
        sources[app] = str(folder / "app")
        reach.copy(app, sources[app])
    return Plan(
        level=level,
        app_dir=app,
        entry=entry,
        folder=folder,
        nice=nice,
        runtime=needed if level is Level.BUBBLEWRAP else needed.moved(sources),
        sources=sources,
        filter=seccomp.program(platform.machine(), attributes=level is Level.LANDLOCK),
        environment=environment,
        start=start,
        preload=preload,
    )
