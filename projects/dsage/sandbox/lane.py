"""One warm parent in one sandbox, as the host sees it: it does one call at a time, and dies with what it runs.

A box has as many lanes as calls at the same time. To stop a call is to kill its lane, namespaces and all: that
leaves nothing to chance and nothing behind. A lane that is not as clean after a call as before is not used again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dsage import codec
from dsage.errors import CodecError, InstructionMissing, TooLarge, UnitFailed
from dsage.function import Limits
from dsage.sandbox import awaiting, bubblewrap, explain, frames, gentle, groups, inputs, processes, slots
from dsage.sandbox.frames import Kind
from dsage.sandbox.launch import Plan, Started, launch, tidy
from dsage.sandbox.level import Level, Outcome
from dsage.sandbox.printed import SHARE, Printed
from dsage.sandbox.verdict import NO_INSTRUCTION, Report, Verdict, beyond, canonical, failed, judged
from dsage.threads import to_its_end

POLL_S: Final = 0.25
"""How often a running call is measured from outside; what it may overrun a limit by."""
BEAT_S: Final = 1.0
"""How often a call that only computes counts as progressing, if its processor time has advanced."""
NOTICED_CPU_S: Final = 0.05
"""Less processor time than this is no progress: starting a call takes some, also one that then hangs."""
GRACE_S: Final = 1.0
"""How long a call may take to end after it has answered."""
FRAMES_AT_ONCE: Final = 100
FRAMES_PER_S: Final = 20.0
FRAME_BYTES: Final = 1 << 16
"""A longer frame counts as several: each byte costs the host time to check."""
LEISURE: Final = 10.0
"""A checkpoint that took t seconds to check is the last for ten times that: the host's own processor time is not the
app's to use."""
MAX_DESCRIPTORS: Final = 1024
"""Open files, pipes and sockets of a lane's processes together: what a socket or pipe buffers is memory of the kernel,
up to 0.2 MB each, that no other limit counts."""
OPENING: Final = Limits(cpu_s=60.0, wall_s=60.0)
"""What loading the app may use."""
MAX_CONTROL: Final = 1 << 16
ENDED: Final[dict[str, Any]] = {"ended": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call: a static method's name, its encoded arguments and input files, and who hears how it goes."""

    function: str
    args: tuple[bytes, ...]
    limits: Limits
    restored: bytes | None
    on_checkpoint: Callable[[bytes], None] | None
    on_progress: Callable[[float, dict[str, Any]], None] | None
    on_cpu: Callable[[float], None] | None
    on_output: Callable[[bytes], None] | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)


class Lane:
    """A sandbox with a warm parent in it."""

    def __init__(self, plan: Plan, started: Started, disk_bytes: int) -> None:
        self.plan = plan
        self.disk_bytes = disk_bytes
        self.usable = False
        self.busy = False
        self.pid = started.process.pid
        self._started = started
        self._control = started.control
        self._pidfd = os.pidfd_open(self.pid)
        self._base: list[int] = []
        self._printed = Printed()
        self._clean_disk = (0, 0)
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self._share = 0.0
        self._shows: dict[str, Any] = {}
        self._told_at = 0.0
        self._starvations = 0
        self._recount_due = 0.0
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, plan: Plan, disk_bytes: int) -> Lane:
        """Start a sandbox and load the app in it.

        Raises SandboxRefused if the sandbox does not start and UnitFailed if the app does not load.
        """
        lane = cls(plan, launch(plan, disk_bytes), disk_bytes)
        try:
            with suppress(ConnectionError):  # it may have ended already: then nothing is heard of it either
                lane._control.send(codec.encode(lane._started.settings))
            answer = asyncio.create_task(lane._introduced())
            verdict = await lane._guard(answer, OPENING, processes.Usage(0.0, 0, 0, 0))
            if verdict is not None:
                raise UnitFailed(f"loading the app went beyond its limit ({verdict.reason})")
            if answer.result() == ENDED:
                raise await lane._ended_while_loading()
            lane._loaded(answer.result())
        except BaseException:
            await lane.end()
            raise
        return lane

    async def call(self, request: Request) -> Outcome:
        """Do one call. Cancelling it, or any limit, kills the lane; `usable` says whether it can serve again."""
        if request.inputs and (failed := await self._lay_out(request.inputs)):
            return failed
        before = processes.usage(self._base)
        self._allow(request.limits)
        began = time.monotonic()
        self._paused_s, self._share, self._shows, self._told_at = 0.0, 0.0, {}, began
        channel, inner = socket.socketpair()
        channel.setblocking(False)
        talk = asyncio.create_task(self._talk(channel, request, before.address_bytes))
        self.usable = False
        try:
            with suppress(ConnectionError):
                socket.send_fds(self._control, [b"call"], [inner.fileno()])
            inner.close()
            verdict = await self._guard(talk, request.limits, before, request)
            report = None
            if verdict is None:
                report = None if talk.exception() else await self._report()
                verdict = judged(talk, report, self._printed)
            cpu_s = max(0.0, processes.usage(processes.tree(self.pid)).cpu_s - before.cpu_s)
            output = self._printed.tail()
            if verdict.status != "limit" or verdict.reason == "disk":
                verdict = self._printed_too_much() or verdict
            verdict = self._starved() or verdict if verdict.reason == "crash" else verdict
            if report is None or not self._printed.clear() or not self.is_clean():
                await self.end()
            else:
                cpu_s = report.cpu_s
                self.usable = True
            wall_s = time.monotonic() - began - self._paused_s
            return Outcome(verdict.status, verdict.value, verdict.reason, verdict.detail, cpu_s, wall_s, output)
        finally:
            talk.cancel()
            inner.close()
            channel.close()
            if not self.usable:
                await self.end()
            elif request.inputs:
                await asyncio.to_thread(inputs.clear, self._started.inputs)

    async def _lay_out(self, files: Mapping[str, Path]) -> Outcome | None:
        """Put input files where the call can read them; return how it ended if that fails."""
        self.usable = False
        try:
            await asyncio.to_thread(inputs.lay_out, self.plan.level, self._started.inputs, files)
        except (OSError, UnitFailed) as error:
            return Outcome("broken", None, "sandbox", f"the inputs cannot be laid out: {error}", 0.0, 0.0)
        return None

    def is_clean(self) -> bool:
        """Say whether the lane is as it was after loading: alive, no process or thread more, nothing in its slot."""
        pids = processes.tree(self.pid)
        return (
            sorted(pids) == sorted(self._base)
            and processes.usage(pids).threads == len(pids)
            and self._disk() == self._clean_disk
        )

    def pause(self) -> None:
        """Stop everything in the lane, at once; its wall time stands still."""
        if self._paused_at is None and self._ending is None:
            self._paused_at = time.monotonic()
            if self._freezer is None or not self._freezer.freeze():
                processes.stop(self.pid, keep=[self.pid])

    def resume(self) -> None:
        """Let it go on."""
        if self._paused_at is not None:
            self._paused_s += time.monotonic() - self._paused_at
            self._paused_at = None
            if self._freezer is not None:
                self._freezer.thaw()
            processes.resume(self.pid)

    async def end(self) -> None:
        """Kill everything in the lane, at once; return when it is gone and its slot removed. May be called again."""
        if self._ending is None:
            self.usable = False
            # The outermost process goes last and by itself: it waits for all the others, so its end is theirs.
            if not processes.kill(self.pid, keep=[self.pid]):
                self._started.process.kill()
            if self._freezer is not None:
                self._freezer.thaw()
            self._ending = asyncio.create_task(self._gone())
        await to_its_end(self._ending)  # however often cancelled: nothing of a box outlives its program

    async def _gone(self) -> None:
        started = self._started
        try:
            await asyncio.wait_for(awaiting.readable(self._pidfd), GRACE_S)
        except (TimeoutError, asyncio.CancelledError):
            started.process.kill()
        started.process.wait()
        started.control.close()
        self._printed.close()
        for fd in (self._pidfd, started.printed, started.life, started.held):
            if fd is not None:
                os.close(fd)
        await asyncio.to_thread(tidy, started)

    @property
    def _freezer(self) -> groups.Group | None:
        """The group that the kernel may freeze whole; a guardian has to stay awake, to end its box with the host."""
        return self._started.group if self.plan.level is Level.BUBBLEWRAP else None

    # -- what is heard from inside ---------------------------------------------------------------------------

    async def _heard(self) -> dict[str, Any]:
        """Return the warm parent's next message, empty if it has gone, talks nonsense or is being ended."""
        try:
            message = await asyncio.get_running_loop().sock_recv(self._control, MAX_CONTROL)
            value = codec.decode(message) if message else {}
        except (OSError, CodecError):
            return {}
        return value if isinstance(value, dict) else {}

    async def _introduced(self) -> dict[str, Any]:
        """Return what the warm parent says of the app; with it comes the file that calls print into.

        Empty if it did not get as far as the app, `ENDED` if it ended while loading it.
        """
        if (await self._heard()).get("settled") is not True:
            return {}
        await awaiting.readable(self._control.fileno())
        try:
            message, handed, _, _ = socket.recv_fds(self._control, MAX_CONTROL, 1, socket.MSG_CMSG_CLOEXEC)
            self._printed = Printed(handed)
            value = codec.decode(message) if message else ENDED
        except (OSError, CodecError):
            return {}
        return value if isinstance(value, dict) else {}

    async def _ended_while_loading(self) -> UnitFailed:
        with suppress(TimeoutError):
            await asyncio.wait_for(awaiting.readable(self._pidfd), GRACE_S)
        # bubblewrap ends as a shell does: 128 and the number of the signal that ended what it ran.
        if self._started.process.poll() == 128 + signal.SIGILL:
            return InstructionMissing(f"the app could not be loaded: {NO_INSTRUCTION}")
        return UnitFailed("the app could not be loaded: its process ended")

    def _loaded(self, answer: dict[str, Any]) -> None:
        if "failed" in answer:
            raise UnitFailed(f"the app could not be loaded:\n{str(answer.get('detail'))[-frames.MAX_DETAIL :]}")
        self._base = processes.tree(self.pid)
        if answer.get("ready") is not True or len(self._base) < self.plan.layers:
            printed = os.pread(self._started.printed, frames.MAX_DETAIL, 0).decode("utf-8", "replace").strip(" \0\n")
            raise explain.refusal(self.plan.level, printed)
        if not self._printed.usable:
            raise UnitFailed("the app changes what its calls print into when it is imported")
        if processes.usage(self._base).threads > self.plan.layers:
            raise UnitFailed("the app leaves threads or processes running when it is imported")
        self._clean_disk = self._disk() or (-1, -1)
        self.usable = True

    async def _talk(self, channel: socket.socket, request: Request, mapped: int) -> Verdict | None:
        """Send the request and hear the call out; None if it closed without an answer."""
        loop = asyncio.get_running_loop()
        limits = request.limits
        asked = {
            "function": request.function,
            "args": list(request.args),
            "restored": request.restored,
            "inputs": {name: f"{self._started.settings['inputs']}/{name}" for name in request.inputs},
            "cpu_s": limits.cpu_s,
            "address_bytes": mapped + limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "output_bytes": limits.output_bytes,
        }
        with suppress(ConnectionError):
            await loop.sock_sendall(channel, frames.pack(Kind.REQUEST, codec.encode(asked)))
        allowed = frames.caps(limits.output_bytes)
        began, heard, due = time.monotonic(), 0, 0.0
        while (header := await awaiting.exactly(channel, frames.HEADER.size)) is not None:
            kind, length = frames.opened(header, allowed)
            heard += 1 + (length // FRAME_BYTES if kind is Kind.CHECKPOINT else 0)
            if heard > FRAMES_AT_ONCE + FRAMES_PER_S * (time.monotonic() - began):
                raise TooLarge("a flood of progress reports")
            body = await awaiting.exactly(channel, length)
            if body is None:
                return None
            if kind is Kind.RESULT:
                return Verdict("done", value=canonical(body))
            if kind is Kind.FAILURE:
                return failed(*frames.failure(body))
            if kind is Kind.CHECKPOINT:
                arrived = time.monotonic()
                if arrived < due:
                    continue
                state = canonical(body)
                due = arrived + LEISURE * (time.monotonic() - arrived)
                if request.on_checkpoint is not None:
                    request.on_checkpoint(state)
            else:
                self._hear(body, request.on_progress)
        return None

    async def _report(self) -> Report | None:
        """Return how the warm parent saw the call end, None if it does not say so in time."""
        try:
            return Report.read(await asyncio.wait_for(self._heard(), GRACE_S))
        except TimeoutError:
            return None

    # -- what is seen from outside ---------------------------------------------------------------------------

    async def _guard(
        self,
        task: asyncio.Task[Any],
        limits: Limits,
        before: processes.Usage,
        request: Request | None = None,
    ) -> Verdict | None:
        """Wait for `task`; return a verdict if a limit is passed first. Cancelled, it cancels the task."""
        began, seen_cpu_s = time.monotonic(), 0.0
        beat = began
        try:
            while True:
                await asyncio.wait({task}, timeout=POLL_S)
                if task.done():
                    return None
                if self._paused_at is not None:
                    continue
                pids = processes.tree(self.pid)
                if self.plan.nice >= gentle.NICEST:
                    for pid in pids:
                        gentle.make_last(pid)
                used = processes.usage(pids)
                cpu_s = used.cpu_s - before.cpu_s
                memory = self._memory(pids, used, before.memory_bytes, limits.memory_bytes)
                passed = self._passed(limits, cpu_s, memory, began)
                if passed is None and processes.descriptors(pids) > MAX_DESCRIPTORS:
                    passed = Verdict("limit", "memory", f"more than {MAX_DESCRIPTORS} open files, pipes and sockets")
                if passed is not None:
                    return passed
                if request is not None and request.on_output is not None and (news := self._printed.news()):
                    request.on_output(news)
                now = time.monotonic()
                if request is not None and cpu_s > seen_cpu_s + NOTICED_CPU_S and now - beat >= BEAT_S:
                    seen_cpu_s, beat = cpu_s, now
                    if request.on_cpu is not None:
                        request.on_cpu(cpu_s)
                    if now - self._told_at >= BEAT_S:
                        self._tell(request.on_progress)
        finally:
            if not task.done():
                task.cancel()

    def _allow(self, limits: Limits) -> None:
        """Have the kernel hold all of the lane to the memory of a call and its disk, which is memory too."""
        if self._started.group is not None:
            self._started.group.limit_memory(limits.memory_bytes + limits.disk_bytes)
            self._starvations = self._started.group.out_of_memory()

    def _starved(self) -> Verdict | None:
        group = self._started.group
        if group is None or group.out_of_memory() == self._starvations:
            return None
        return Verdict("limit", "memory", "the kernel ended it: its processes took too much memory together")

    def _memory(self, pids: list[int], used: processes.Usage, before: int, most: int) -> int:
        """Return the memory (bytes) that a call takes; the dear way of counting serves where the plain one is too much.

        Many processes that were forked look large, and share most of it.
        """
        plain = used.memory_bytes - 2 * before
        began = time.monotonic()
        if plain <= most or began < self._recount_due:
            return min(plain, most)
        total = processes.memory_shared_out(pids)
        now = time.monotonic()
        self._recount_due = now + LEISURE * (now - began)
        return plain if total is None else total - before

    def _passed(self, limits: Limits, cpu_s: float, memory: int, began: float) -> Verdict | None:
        wall_s = time.monotonic() - began - self._paused_s
        if verdict := beyond(limits, wall_s=wall_s, cpu_s=cpu_s, memory_bytes=memory):
            return verdict
        if not self._base:
            return None
        if too_much := self._printed_too_much():
            return too_much
        held = self._disk()
        if held is not None and (held[0] > self.disk_bytes or held[1] > slots.MAX_FILES):
            return Verdict("limit", "disk", f"{held[0]} bytes in {held[1]} files")
        return None

    def _printed_too_much(self) -> Verdict | None:
        most = self.disk_bytes // SHARE
        if self._printed.size() <= most:
            return None
        return Verdict("limit", "disk", f"it printed more than {most} bytes; what a call prints fills its disk too")

    def _hear(self, body: bytes, on_progress: Callable[[float, dict[str, Any]], None] | None) -> None:
        share, shows = frames.fraction(body), frames.shown(body)
        self._shows = shows or self._shows
        if share is not None:
            self._share = share
        if share is not None or shows:
            self._tell(on_progress)

    def _tell(self, on_progress: Callable[[float, dict[str, Any]], None] | None) -> None:
        self._told_at = time.monotonic()
        if on_progress is not None:
            on_progress(self._share, self._shows)

    def _disk(self) -> tuple[int, int] | None:
        """Return (bytes, files) that the slot holds, None where it cannot be seen."""
        held = self._started.held
        try:
            if held is None:
                seen = os.statvfs(f"/proc/{self._base[-1]}/root{bubblewrap.SLOT}")
                return (seen.f_blocks - seen.f_bfree) * seen.f_frsize, seen.f_files - seen.f_ffree
            size, files = slots.measure(held)
            return size + slots.unlinked(processes.tree(self.pid)), files
        except OSError:
            return None
