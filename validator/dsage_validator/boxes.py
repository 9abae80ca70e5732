"""The boxes in which apps' own checks run: one warm box for each app version, and questions asked many at a time.

A question costs a fork, and an app with checks of its own asks one for every answer: what waits while others are being
asked goes together, in one process. If that ends badly each question is asked alone, so that an answer which breaks a
check harms nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dsage import codec
from dsage.errors import CodecError, DSageError, SandboxRefused, UnitFailed
from dsage.function import Limits
from dsage.sandbox import Box, Level, Outcome
from dsage_validator.checks import SHOWN, NoOpinion

CHECK_LIMITS: Final = Limits(cpu_s=120.0, wall_s=240.0, memory_bytes=1 << 30, disk_bytes=64 << 20, output_bytes=1 << 16)
"""A partial check repeats a single piece of the unit; nothing else here takes longer than milliseconds."""
MAX_BOXES: Final = 4
TOGETHER: Final = 64
"""Questions that are asked in one process."""
TOGETHER_BYTES: Final = 8 << 20
AT_ONCE: Final = 2
"""Processes in which one app's questions are asked at a time."""
ALONE: Final = frozenset({"partial"})
"""Questions that may take seconds each."""

Question = tuple[tuple[bytes, ...], asyncio.Future[Any]]


@dataclass(slots=True)
class BoxJudge:
    """Asks an app inside its sandbox."""

    box: Box
    _waiting: dict[str, list[Question]] = field(default_factory=dict)
    _asking: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(self, function: str, *args: bytes) -> Any:
        """Return the decoded answer. Raises NoOpinion if the app's function failed, ran out of limits or answered no
        data, UnitFailed if the box itself is gone, which is nobody's answer's fault.
        """
        if function in ALONE:
            return await self._ask_alone(function, args)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(function, []).append((args, future))
        self._begin()
        return await future

    async def close(self) -> None:
        """End what is being asked."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _begin(self) -> None:
        if self._waiting and len(self._asking) < AT_ONCE:
            task = asyncio.create_task(self._ask_together())
            self._asking.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            self._begin()

    async def _ask_together(self) -> None:
        if not self._waiting:
            return
        function, questions = self._next()
        try:
            outcome = None
            if len(questions) > 1:
                outcome = await self.box.call_each(function, [args for args, _ in questions], CHECK_LIMITS)
            said = _each(outcome, len(questions)) if outcome is not None else None
            for n, (args, future) in enumerate(questions):
                if future.done():
                    continue
                if said is None:
                    await self._answer_alone(function, args, future)
                elif said[n][0]:
                    future.set_result(said[n][1])
                else:
                    future.set_exception(NoOpinion(f"{function} failed ({said[n][1]})"))
        except (DSageError, OSError) as error:
            for _, future in questions:
                if not future.done():
                    future.set_exception(error)
        finally:
            for _, future in questions:
                if not future.done():
                    future.cancel()

    def _next(self) -> tuple[str, list[Question]]:
        """Take the questions about one function that go together, the function that waits longest first."""
        function = next(iter(self._waiting))
        waiting = self._waiting.pop(function)
        size = most = 0
        for args, _ in waiting[:TOGETHER]:
            size += sum(map(len, args))
            if most and size > TOGETHER_BYTES:
                break
            most += 1
        if waiting[most:]:
            self._waiting[function] = waiting[most:]
        return function, [question for question in waiting[:most] if not question[1].done()]

    async def _answer_alone(self, function: str, args: tuple[bytes, ...], future: asyncio.Future[Any]) -> None:
        try:
            said = await self._ask_alone(function, args)
        except (NoOpinion, UnitFailed) as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(said)

    async def _ask_alone(self, function: str, args: tuple[bytes, ...]) -> Any:
        outcome = await self.box.call(function, args, CHECK_LIMITS)
        if outcome.status in ("broken", "stopped"):
            raise UnitFailed(f"the validator's sandbox ended: {outcome.reason}")
        if outcome.status != "done" or outcome.value is None:
            last = (outcome.detail.strip().splitlines() or [""])[-1][:SHOWN]
            raise NoOpinion(f"{function} failed ({outcome.reason or outcome.status}){last and ': ' + last}")
        try:
            return codec.decode(outcome.value)
        except CodecError as error:
            raise NoOpinion(f"{function} gave what is no value: {error.message}") from None


def _each(outcome: Outcome, count: int) -> Sequence[tuple[bool, Any]] | None:
    """Return what was said to each of many questions, None if it did not go well."""
    if outcome.status != "done" or outcome.value is None:
        return None
    try:
        said = codec.decode(outcome.value)
    except CodecError:
        return None
    fits = isinstance(said, list) and len(said) == count
    if not fits or not all(isinstance(one, list) and len(one) == 2 and isinstance(one[0], bool) for one in said):
        return None
    return [(one[0], one[1]) for one in said]


@dataclass(slots=True)
class _Warm:
    box: Box
    judge: BoxJudge
    users: int = 0
    worn: bool = False

    async def close(self) -> None:
        await self.judge.close()
        await self.box.close()


class Boxes:
    """Warm boxes by app version. Those that nobody uses are closed, the least recently used first.

    An app's box may take a minute to open and its checks minutes to answer: neither holds up another app's, and no
    box is closed under a check that runs in it. Without a `level` there is none: no sandbox works here.
    """

    def __init__(self, level: Level | None, work_dir: Path) -> None:
        self.level = level
        self.work_dir = work_dir
        self._warm: dict[str, _Warm] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def judging(self, app: str, app_dir: Path, entry: str) -> AsyncIterator[BoxJudge]:
        """Give a judge for an app version, opening its box if need be. A box that ends meanwhile is not used again.

        Raises SandboxRefused or UnitFailed if it cannot be opened.
        """
        warm = await self._taken(app, app_dir, entry)
        try:
            yield warm.judge
        except UnitFailed:
            warm.worn = True
            raise
        finally:
            warm.users -= 1
            await self._tidy(app, warm)

    async def close(self) -> None:
        """Close every box."""
        for app in list(self._warm):
            await self._warm.pop(app).close()

    async def _taken(self, app: str, app_dir: Path, entry: str) -> _Warm:
        async with self._opening.setdefault(app, asyncio.Lock()):
            if self.level is None:
                raise SandboxRefused("this server has no sandbox for the checks of apps")
            if app not in self._warm:
                box = await Box.open(self.level, app_dir, entry, self.work_dir)
                self._warm[app] = _Warm(box, BoxJudge(box))
            warm = self._warm[app] = self._warm.pop(app)
            warm.users += 1
            return warm

    async def _tidy(self, app: str, warm: _Warm) -> None:
        if warm.worn and self._warm.get(app) is warm:
            del self._warm[app]
        if warm.worn and not warm.users:
            await warm.close()
        idle = [name for name, other in self._warm.items() if not other.users]
        for name in idle[: max(0, len(self._warm) - MAX_BOXES)]:
            await self._warm.pop(name).close()
