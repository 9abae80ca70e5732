"""The driver: steps a run, from the researcher's process or from any machine that holds the key.

A step is a transaction. "These answers folded, this state, these new units" is committed on the server at once, so
a driver that dies anywhere is followed by one that goes on from the last committed step: no answer is folded twice
or lost, no unit made twice. What was done in memory since that step is simply done again. What a step is decides
`dsage.stepping`; `Driver` carries the steps to the server, retries one whose reply was lost, and goes back to an
earlier state (a replay) when an answer does not hold any more and its function cannot take it back.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from dsage import codec
from dsage.errors import Busy, Reopened, ServerAway, UsageError
from dsage.function import DistributedFunction
from dsage.inputs import is_hash
from dsage.states import OPEN_RUNS, RunState
from dsage.stepping import MAX_UNITS_A_STEP, Here, Position, Stepper
from dsage.wire import MAX_WAIT_S, Answers, Drive, Step, StepReply

FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 10.0
"""A person waits before a driver, and there are few of them: it may knock often."""
UPLOADS: Final = 4
"""Input files sent at a time."""

T = TypeVar("T")


class StepApi(Protocol):
    """What a driver needs of a server: dsage.researcher.Researcher, or dsage.testing.MemoryServer."""

    async def drive(self, run: int) -> Drive:
        """Take the run over."""

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        """Return what no step has folded, waiting up to `wait_s` seconds for it."""

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step. Raises Reopened if an answer that it rests on does not hold any more."""

    async def replay(self, run: int, *, fence: int) -> Drive:
        """Go back to before the first folded answer that does not hold any more; once more is as good as once."""

    async def upload(self, path: Path) -> str:
        """Send a file, unless the server has it, and return its SHA-256."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: `result` is the answer so far, the whole answer of a finished run; `reason` why it failed."""

    state: RunState
    result: Any = None
    reason: str = ""


class Driver:
    """Steps one run until it ends, by its function or another `Stepper`."""

    def __init__(
        self,
        function: DistributedFunction | Stepper,
        api: StepApi,
        run: int,
        *,
        say: Callable[[str], None] = lambda line: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._stepper = Here(function) if isinstance(function, DistributedFunction) else function
        self._api = api
        self._run = run
        self._say = say
        self._sleep = sleep
        self._sent: dict[tuple[str, int, int], str] = {}
        self._nudges = asyncio.Event()
        self._listening: tuple[int, asyncio.Task[Answers]] | None = None

    def nudge(self) -> None:
        """Have `next_job` asked soon, although nothing has happened. Called in the loop that drives."""
        self._nudges.set()

    async def drive(self) -> Ended:
        """Take the run over at its last committed step and step it to its end.

        While the server is away it waits and tries again, for ever. Raises Conflict when another driver has
        taken over, UsageError when an input file cannot be read; the server's other refusals come as they are.
        """
        while True:
            taken = await self._patiently(lambda: self._api.drive(self._run))
            try:
                return await self._driven(taken)
            except Reopened as error:
                self._say(f"{error.message}; going on from step {taken.step} or later")
            finally:
                if self._listening is not None:
                    self._listening[1].cancel()
                    self._listening = None

    async def _driven(self, taken: Drive) -> Ended:
        result = self._stepper.stand(taken.state)
        if taken.state_of_run not in OPEN_RUNS:
            return Ended(RunState(taken.state_of_run), result=result)
        at = Position(taken.fence, taken.step, taken.state)
        wait_s = 0.0
        while True:
            heard, at = await self._heard(at, wait_s)
            if heard.state_of_run and heard.state_of_run not in OPEN_RUNS:
                return Ended(RunState(heard.state_of_run))
            stepped = await self._stepper.step(at, heard)
            step, dry = stepped.step, stepped.dry
            if step is None and heard.retracted:
                at, wait_s = await self._replay(at), 0.0
                continue
            if step is not None:
                reply = await self._commit(step)
                at = Position(at.fence, reply.step, step.state, dry)
                if step.result is not None:
                    return Ended(RunState.DONE, result=codec.decode(step.result))
                if step.failed:
                    return Ended(RunState.FAILED, reason=step.failed)
            else:
                at = Position(at.fence, at.step, at.state, dry)
            wait_s = 0.0 if _may_be_over(heard, step) else _patience_s(stepped.wake_at)
            if step is None and not heard.open_units and not heard.answers:
                await self._rest(wait_s)
                wait_s = 0.0

    async def _heard(self, at: Position, wait_s: float) -> tuple[Answers, Position]:
        """Return what the server says, or at a nudge that volunteers are hungry, with where that leaves the driver."""
        step, listening = self._listening or (at.step, asyncio.ensure_future(self._answers(at, wait_s)))
        self._listening = None
        nudged = asyncio.ensure_future(self._nudges.wait())
        try:
            await asyncio.wait({listening, nudged}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                heard = listening.result()
            else:
                self._listening = (step, listening)
                heard = Answers(open_units=1)
        finally:
            nudged.cancel()
            if self._listening is None:
                listening.cancel()
        if self._nudges.is_set():
            self._nudges.clear()
            heard.hungry = MAX_UNITS_A_STEP
            at = replace(at, dry=False)
        if step != at.step:
            # It was asked before the last step: what that one made is not counted in it.
            heard.open_units = max(heard.open_units, len(heard.answers) + 1)
        return heard, at

    async def _rest(self, most_s: float) -> None:
        """Wait to be nudged: nothing is open that could end, and yet the run is not over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._nudges.wait()

    async def _answers(self, at: Position, wait_s: float) -> Answers:
        return await self._patiently(
            lambda: self._api.answers(self._run, fence=at.fence, wait_s=wait_s, hungry=not at.dry)
        )

    async def _replay(self, at: Position) -> Position:
        """Go back to before an answer that does not hold any more was folded."""
        self._say("an answer that was folded does not hold any more; going back to before it")
        back = await self._patiently(lambda: self._api.replay(self._run, fence=at.fence))
        self._stepper.stand(back.state)
        return Position(back.fence, back.step, back.state)

    async def _commit(self, step: Step) -> StepReply:
        await self._send_inputs(step)
        return await self._patiently(lambda: self._api.step(self._run, step))

    async def _send_inputs(self, step: Step) -> None:
        """Send the files that new units read, and name them by their hashes."""
        paths = sorted({each for unit in step.units for each in unit.inputs.values() if not is_hash(each)})
        hashes: dict[str, str] = {}
        for start in range(0, len(paths), UPLOADS):
            some = paths[start : start + UPLOADS]
            hashes |= zip(some, await asyncio.gather(*map(self._send, some)), strict=True)
        for unit in step.units:
            unit.inputs = {name: hashes.get(each, each) for name, each in unit.inputs.items()}

    async def _send(self, path: str) -> str:
        """Send a file once for as long as it does not change, and return its hash."""
        try:
            found = await asyncio.to_thread(os.stat, path)
            known = (path, found.st_size, found.st_mtime_ns)
            if known not in self._sent:
                self._sent[known] = await self._patiently(lambda: self._api.upload(Path(path)))
        except OSError as error:
            raise UsageError(
                f"the input file {path} cannot be read: {error.strerror or error}",
                hint="The run waits: put the file there, or attach where it is.",
            ) from error
        return self._sent[known]

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        delay = FIRST_BACKOFF_S
        while True:
            try:
                return await call()
            except (ServerAway, Busy) as error:
                pause = delay * random.uniform(0.5, 1.0)
                if isinstance(error, Busy):
                    pause = max(pause, error.retry_s)
                self._say(f"{error.message}; trying again in {pause:.1f} s")
                await self._sleep(pause)
                delay = min(2 * delay, LAST_BACKOFF_S)


def _patience_s(wake_at: float) -> float:
    """Return how long to wait for answers: not beyond the time at which the function wants to be woken."""
    left_s = wake_at - time.time() if wake_at else MAX_WAIT_S
    return min(max(left_s, 0.0), MAX_WAIT_S)


def _may_be_over(heard: Answers, step: Step | None) -> bool:
    """Say whether a look that does not wait may find that nothing is open any more."""
    if step is None or step.units:
        return False
    return bool(step.cancel_groups) or heard.open_units <= len(heard.answers)
