"""The units that a client holds: each is checked, waits for a slot, runs, and ends as a finished result."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from dsage import perturbing
from dsage.errors import (
    Busy,
    DSageError,
    InstructionMissing,
    Revoked,
    SandboxRefused,
    ServerAway,
    StorageFull,
    TrustError,
)
from dsage.sandbox import Outcome
from dsage.sandbox.verdict import NO_INSTRUCTION
from dsage.wire import MAX_OUTPUT, Holding
from dsage_client.events import Event, Tell
from dsage_client.gate import Gate
from dsage_client.held import Checkpoint, Held, Lease
from dsage_client.inputs import InputLost, Inputs
from dsage_client.jobs import Job, claimed
from dsage_client.lacking import Lacking
from dsage_client.library import Library, Proven
from dsage_client.policy import backoff_s, smoothed, tell_s
from dsage_client.runner import Room, Runner, Work, limits
from dsage_client.settings import Settings
from dsage_client.spool import Finished

SHOWN_DETAIL = 2000
"""Characters of an app's own words that go into a report."""
MAX_TOLD = 64 * MAX_OUTPUT
"""What one call tells of what running units have printed (bytes); the rest is told by the next."""
INPUT_TRIES = 3
"""Times that an input is asked for which the server does not have, before its unit is handed back."""


class Slots:
    """Runs held units, as many at a time as the gate lets through. `done` is called with each finished result.

    `fail` is called when this client cannot go on at all, and `wake` when there may be something to say (`speaks`).
    """

    def __init__(
        self,
        settings: Settings,
        library: Library,
        inputs: Inputs,
        runner: Runner,
        gate: Gate,
        held: Held,
        done: Callable[[Finished], None],
        fail: Callable[[BaseException], None],
        tell: Tell,
        wake: Callable[[], None],
    ) -> None:
        self._mean_unit_s: float | None = None
        self._settings = settings
        self._library = library
        self._inputs = inputs
        self._runner = runner
        self._gate = gate
        self._server = library.server_id
        self._held = held
        self._done = done
        self._fail = fail
        self._tell = tell
        self._wake = wake
        self._jobs: dict[int, Job] = {}
        self._lacking = Lacking(settings.lacking_file)

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, replica: int) -> bool:
        return replica in self._jobs

    @property
    def unit_s(self) -> float | None:
        """How long a unit takes here: the running mean, or longer if one that runs has already taken longer."""
        if self._mean_unit_s is None:
            return None
        now = time.monotonic()
        return max([self._mean_unit_s, *(now - j.started for j in self._jobs.values() if j.started is not None)])

    @property
    def deadlines_s(self) -> list[float]:
        """The deadlines of what is held, in seconds from when each was handed out."""
        return [job.lease.deadline_s for job in self._jobs.values()]

    @property
    def speaks(self) -> bool:
        """Whether a unit has printed something that the server should hear of by now."""
        now = time.monotonic()
        return any(job.tell_at is not None and job.tell_at <= now for job in self._jobs.values())

    def holding(self) -> list[Holding]:
        """Return what the server is told about the units held here: the progress of each one's own child, and what it
        has printed if that is news."""
        told: list[Holding] = []
        room = MAX_TOLD
        for replica, job in self._jobs.items():
            said = Holding(replica=replica, lease=job.lease.lease, cpu_s=job.cpu_s, suspended=not self._gate.open)
            if job.output != job.heard and len(job.output) <= room:
                said.output = job.heard = job.output
                job.tell_at = None
                room -= len(job.output)
            told.append(said)
        return told

    def unheard(self) -> None:
        """A call failed: what it told of what units print is told again."""
        for job in self._jobs.values():
            job.heard = b""

    def running(self) -> list[Job]:
        """Return the units that have begun and have not ended, oldest first."""
        return [job for job in self._jobs.values() if job.started is not None and job.task is not None]

    def take(self, lease: Lease, checkpoint: Checkpoint | None = None, *, fresh: bool = True) -> None:
        """Start on a lease: a fresh one is kept on disk first, one from the disk goes on from its checkpoint."""
        if lease.replica in self._jobs:
            return
        unit, app = claimed(lease)
        job = Job(lease=lease, unit=unit, app=app, checkpoint=checkpoint)
        job.cpu_s = checkpoint.cpu_s if checkpoint is not None else 0.0
        self._jobs[lease.replica] = job
        if fresh:
            try:
                self._held.keep(lease)
            except StorageFull as error:
                self._tell(Event(kind="storage", text=f"{error.message}; the unit runs all the same"))
        self._start(job)

    async def put_away(self) -> None:
        """End what runs, for `take_up` to go on with from its last checkpoint; hand back what was not begun."""
        self.give_back(len(self._jobs))
        jobs = [job for job in self._jobs.values() if job.task is not None]
        await self._end(jobs)
        for job in jobs:
            if job.lease.replica in self._jobs:
                job.task = job.started = None
                self._save(job)

    def take_up(self) -> None:
        """Go on with what was put away."""
        for job in self._jobs.values():
            if job.task is None:
                self._start(job)

    def _start(self, job: Job) -> None:
        job.task = asyncio.create_task(self._work(job), name=f"replica-{job.lease.replica}")
        job.task.add_done_callback(self._notice)

    async def abort(self, replicas: list[int], reason: str) -> None:
        """End these units at once and report what they have done so far."""
        jobs = [self._jobs[replica] for replica in replicas if replica in self._jobs]
        try:
            await self._end(jobs)
        finally:
            for job in jobs:
                if job.lease.replica in self._jobs:
                    text = f"unit {job.unit} was called off ({reason})"
                    self._tell(Event(kind="aborted", text=text, data=job.names))
                    value = None if job.checkpoint is None else job.checkpoint.state
                    self._finish(job.finished("aborted", reason=reason, value=value, cpu_s=job.cpu_s))

    def give_back(self, most: int) -> None:
        """Hand back the newest units that were not begun, `most` at most."""
        waiting = [job for job in self._jobs.values() if job.started is None and job.checkpoint is None]
        for job in waiting[len(waiting) - min(most, len(waiting)) :]:
            if job.task is not None:
                job.task.cancel()
            self._finish(job.finished("returned", reason="surplus"))

    def give_up(self) -> None:
        """Hand back all that is held, begun or not; nothing may be running."""
        for job in list(self._jobs.values()):
            self._finish(job.finished("returned", reason="left"))

    async def recheck(self) -> None:
        """Judge every unit by a newer root.json; those that no longer hold end at once."""
        for job in list(self._jobs.values()):
            if job.proven is not None:
                try:
                    self._library.recheck(job.proven)
                except TrustError as error:
                    reason = "revoked" if isinstance(error, Revoked) else error.code
                    self._tell(Event(kind="revoked", text=f"unit {job.unit} is stopped: {error.message}"))
                    await self.abort([job.lease.replica], reason)

    async def stop(self) -> None:
        """End every child. Begun units stay on disk with their checkpoints; the others are handed back."""
        jobs = list(self._jobs.values())
        begun = [job for job in jobs if job.started is not None or job.checkpoint is not None]
        await self._end(jobs)
        for job in jobs:
            if job.lease.replica not in self._jobs:
                continue
            if job not in begun:
                self._finish(job.finished("returned", reason="shutdown"))
            elif job.checkpoint is not None:
                self._save(job)

    async def wait(self) -> None:
        """Return when nothing is held any more."""
        while tasks := [job.task for job in self._jobs.values() if job.task is not None]:
            await asyncio.wait(tasks)

    async def _end(self, jobs: list[Job]) -> None:
        tasks = [job.task for job in jobs if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, job: Job) -> None:
        try:
            if job.app in self._lacking:
                raise InstructionMissing(NO_INSTRUCTION)
            proven = await self._prove(job)
            try:
                async with self._gate.core(self._server, self._wanted(job, proven)):
                    if job.app in self._lacking:
                        raise InstructionMissing(NO_INSTRUCTION)
                    job.started = time.monotonic()
                    await self._run(job, proven)
            finally:
                self._inputs.release(proven.unit.inputs)
        except InstructionMissing as error:
            self._lacks(job)
            self._finish(job.finished("returned", reason=error.code, detail=error.message))
        except InputLost as error:
            text = f"unit {job.unit} is handed back: {error.message}"
            self._tell(Event(kind="lost-input", text=text, data=job.names))
            self._finish(job.finished("returned", reason=error.code, detail=error.message))
        except OSError as error:
            text = f"unit {job.unit} is handed back: {error.strerror or error}"
            self._tell(Event(kind="storage", text=text, data=job.names))
            self._finish(job.finished("returned", reason=StorageFull.code, detail=str(error)))
        except TrustError as error:
            self._tell(
                Event(
                    kind="refused",
                    text=f"REFUSED unit {job.unit}, it was not run: {error.message}",
                    data=job.names | {"code": error.code},
                )
            )
            self._finish(job.finished("failed", reason=error.code, detail=error.message))
        except SandboxRefused as error:
            self._finish(job.finished("returned", reason=error.code, detail=error.message))
            self._fail(error)
        except DSageError as error:
            self._tell(
                Event(
                    kind="failed",
                    text=f"unit {job.unit} cannot run here: {error.message}",
                    data=job.names | {"reason": error.code},
                )
            )
            self._finish(job.finished("failed", reason=error.code, detail=error.message))

    def _lacks(self, job: Job) -> None:
        """Remember that this computer cannot run an app, and say so once."""
        if job.app in self._lacking:
            return
        title = job.app[:12] if job.proven is None else job.proven.manifest.title or job.app[:12]
        text = f"this computer's processor lacks instructions that {title} uses: no unit of it is tried here again"
        self._tell(Event(kind="lacking", text=text, data=job.names | {"app": job.app}))
        try:
            self._lacking.add(job.app)
        except StorageFull as error:
            self._tell(Event(kind="storage", text=f"that cannot be remembered over a restart: {error.message}"))

    def _notice(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    async def _prove(self, job: Job) -> Proven:
        """Check a lease and fetch all that its unit needs; its inputs are to be released afterwards."""
        attempt = lost = 0
        while True:
            try:
                job.proven = await self._library.prove(job.lease)
                job.inputs = await self._inputs.take(job.proven.unit.inputs)
                return job.proven
            except (ServerAway, Busy, StorageFull, InputLost) as error:
                lost += isinstance(error, InputLost)
                if lost == INPUT_TRIES:
                    raise
                low_s, high_s = self._settings.backoff_low_s, self._settings.backoff_high_s
                delay_s = backoff_s(attempt, random.random(), low_s=low_s, high_s=high_s)
                attempt += 1
                text = f"unit {job.unit} waits for its source or inputs: {error.message}; next try in {delay_s:.0f} s"
                self._tell(Event(kind="waiting", text=text, data=job.names | {"retry_s": delay_s}))
                await asyncio.sleep(delay_s)

    def _wanted(self, job: Job, proven: Proven) -> Room:
        """Return what a unit may use, and say so if it must wait for others to leave so much."""
        most = limits(proven, self._gate.room)
        wanted = Room(most.memory_bytes, most.disk_bytes)
        if not self._gate.fits(wanted):
            said = f"it may use {most.memory_bytes >> 20} MiB, and {self._gate.room.memory_bytes >> 20} MiB are for all"
            text = f"unit {job.unit} waits until units that run leave it memory: {said}"
            self._tell(Event(kind="memory", text=text, data=job.names))
        return wanted

    async def _run(self, job: Job, proven: Proven) -> None:
        before = job.cpu_s

        def on_cpu(cpu_s: float) -> None:
            job.cpu_s = max(job.cpu_s, before + cpu_s)

        def on_checkpoint(state: bytes) -> None:
            job.checkpoint = Checkpoint(state, job.cpu_s)
            now = asyncio.get_running_loop().time()
            if now - job.saved_at >= self._settings.checkpoint_every_s:
                job.saved_at = now
                self._save(job)

        def on_progress(fraction: float, shows: dict[str, Any]) -> None:
            job.fraction, job.shows = fraction, shows

        def on_output(tail: bytes) -> None:
            job.output = tail
            if job.tell_at is None:
                loop = asyncio.get_running_loop()
                delay_s = tell_s(time.monotonic() - (job.started or 0.0))
                job.tell_at = time.monotonic() + delay_s
                loop.call_later(delay_s, self._wake)

        again = "" if job.checkpoint is None else " again, from its checkpoint"
        self._tell(
            Event(
                kind="working",
                text=f"working on unit {job.unit} of project {proven.manifest.project}{again}",
                data=job.names | {"project": proven.manifest.project, "title": proven.manifest.title},
            )
        )
        outcome = await self._runner.run(
            Work(
                proven=proven,
                limits=limits(proven, self._gate.room),
                restored=None if job.checkpoint is None else job.checkpoint.state,
                on_checkpoint=on_checkpoint,
                on_cpu=on_cpu,
                on_progress=on_progress,
                on_output=on_output,
                inputs=job.inputs,
                seed=perturbing.seed_of(job.lease.lease) if proven.manifest.perturbs else None,
            )
        )
        self._ended(job, before, outcome)

    def _ended(self, job: Job, before: float, outcome: Outcome) -> None:
        status, text = _STATUS[outcome.status]
        job.output = outcome.output or job.output
        if outcome.reason == InstructionMissing.code:
            self._lacks(job)
            self._finish(job.finished("returned", reason=outcome.reason, detail=outcome.detail[-SHOWN_DETAIL:]))
            return
        if status == "done":
            self._mean_unit_s = smoothed(self._mean_unit_s, outcome.wall_s)
        reason = f" ({outcome.reason})" if outcome.reason else ""
        self._tell(
            Event(
                kind="finished" if status == "done" else status,
                text=f"unit {job.unit} {text}{reason} after {outcome.wall_s:.1f} s",
                data=job.names | {"cpu_s": outcome.cpu_s, "wall_s": outcome.wall_s, "reason": outcome.reason},
            )
        )
        self._finish(
            job.finished(
                status,
                value=outcome.value if status == "done" else None,
                reason=outcome.reason,
                detail=outcome.detail[-SHOWN_DETAIL:],
                cpu_s=before + outcome.cpu_s,
                wall_s=outcome.wall_s,
            )
        )

    def _finish(self, finished: Finished) -> None:
        del self._jobs[finished.replica]
        self._done(finished)
        self._held.drop(finished.replica)

    def _save(self, job: Job) -> None:
        if job.checkpoint is not None:
            try:
                self._held.checkpoint(job.lease.replica, job.checkpoint)
            except StorageFull as error:
                self._tell(Event(kind="storage", text=f"a checkpoint cannot be saved: {error.message}"))


_STATUS = {
    "done": ("done", "is finished"),
    "failed": ("failed", "failed here"),
    "limit": ("failed", "used more than it may"),
    "stopped": ("returned", "was stopped"),
    "broken": ("failed", "could not run: its sandbox broke"),
}
"""Status of a box's outcome -> status of the report, words for people."""
