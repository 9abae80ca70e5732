"""What tests of drivers need: a server in memory that keeps the promises of a step, and one that fails on cue."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TypeVar

import msgspec

from dsage import codec
from dsage.driver import StepApi
from dsage.errors import Conflict, NotFound, ServerAway
from dsage.function import DistributedFunction
from dsage.running import Hooks
from dsage.states import FINAL_UNITS, RunState, UnitState
from dsage.trust.envelope import Envelope
from dsage.wire import Answer, Answers, Drive, NewUnit, Step, StepReply

T = TypeVar("T")


class MemoryUnit(msgspec.Struct):
    """A unit as the server in memory keeps it."""

    id: int
    new: NewUnit
    state: UnitState = UnitState.READY
    value: bytes | None = None
    failed: str = ""
    folded_in: int = 0


class MemoryServer:
    """One run and its volunteers, in memory, with the server's rules for fences, step numbers and answers.

    A call that would wait lets `pace` units be computed instead. `hungry` volunteers each want one unit.
    Public attributes are there to be looked at: `units` by key, `steps` as committed, `state_of_run`, `result`, and
    `files`, where what was sent lies, by hash.
    """

    def __init__(self, function: DistributedFunction, *, hungry: int = 3, pace: int = 2) -> None:
        self._compute = type(function).compute
        self._hungry = hungry
        self._pace = pace
        self._state = function.dump_state()
        self._fence = 0
        self.units: dict[str, MemoryUnit] = {}
        self.steps: list[Step] = []
        self.files: dict[str, Path] = {}
        self.state_of_run = RunState.RUNNING
        self.result: object = None
        self.reason = ""

    async def drive(self, run: int) -> Drive:
        """Give the run to a new driver; older ones get Conflict from now on."""
        self._fence += 1
        return Drive(
            fence=self._fence,
            step=len(self.steps),
            state=self._state,
            state_of_run=self.state_of_run,
            params=codec.encode({}),
            manifest=Envelope("", b"", []),
            open_units=len(self._open()),
        )

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        """Return the answers that no step has folded; `wait_s` above zero lets volunteers work first."""
        self._guard(fence)
        if wait_s > 0 and not self._unfolded() and not (hungry and self._wanted()):
            self.work(self._pace)
        return Answers(
            answers=[self._answer(unit) for unit in self._unfolded()],
            hungry=self._wanted(),
            open_units=len(self._open()),
            state_of_run=self.state_of_run,
        )

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step, whole or not at all; the same step again is answered again."""
        self._guard(step.fence)
        last = self.steps[-1] if self.steps else None
        if last is not None and step.step == last.step and step.fence == last.fence:
            return StepReply(step=step.step, hungry=self._wanted())
        if step.step != len(self.steps) + 1 or self.state_of_run is not RunState.RUNNING:
            raise Conflict(f"step {step.step} is not the next one")
        by_id = {unit.id: unit for unit in self._unfolded()}
        if not set(step.folded) <= by_id.keys():
            raise Conflict("a folded unit has no answer that waits to be folded")
        if not {each for new in step.units for each in new.inputs.values()} <= self.files.keys():
            raise NotFound("there is no such blob", hint="Send it to the server first.")
        for id in step.folded:
            by_id[id].folded_in = step.step
        for new in step.units:
            self.units.setdefault(new.key, MemoryUnit(len(self.units) + 1, new))
        for unit in self._open():
            if unit.new.group in step.cancel_groups or step.finished or step.failed:
                unit.state = UnitState.CANCELLED
        self._state = step.state
        self.steps.append(step)
        if step.finished or step.failed:
            self.state_of_run = RunState.FAILED if step.failed else RunState.DONE
            self.result = None if step.result is None else codec.decode(step.result)
            self.reason = step.failed
        return StepReply(step=step.step, hungry=self._wanted())

    async def upload(self, path: Path) -> str:
        """Take a file, which stays where it is."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.files[sha256] = path
        return sha256

    def work(self, count: int) -> None:
        """Let volunteers compute up to `count` units, the youngest first: no order is promised."""
        for unit in reversed(self._open()[-count:]):
            Hooks.inputs = {name: str(self.files[sha256]) for name, sha256 in unit.new.inputs.items()}
            try:
                unit.value = codec.encode(self._compute(codec.decode(unit.new.args)))
            finally:
                Hooks.inputs = {}
            unit.state = UnitState.VALID

    def give_up(self, key: str, reason: str) -> None:
        """Let a unit fail for good."""
        self.units[key].state, self.units[key].failed = UnitState.FAILED, reason

    def cancel(self) -> None:
        """Cancel the run, as its owner might from another machine."""
        self.state_of_run = RunState.CANCELLED

    def _guard(self, fence: int) -> None:
        if fence != self._fence:
            raise Conflict("another driver has taken this run over")

    def _open(self) -> list[MemoryUnit]:
        return [unit for unit in self.units.values() if unit.state not in FINAL_UNITS]

    def _unfolded(self) -> list[MemoryUnit]:
        ended = (UnitState.VALID, UnitState.FAILED)
        return [unit for unit in self.units.values() if unit.state in ended and not unit.folded_in]

    def _wanted(self) -> int:
        return max(0, self._hungry - len(self._open()))

    def _answer(self, unit: MemoryUnit) -> Answer:
        return Answer(
            unit=unit.id,
            key=unit.new.key,
            group=unit.new.group,
            args=unit.new.args,
            value=unit.value,
            failed=unit.failed,
        )


class Fault(Enum):
    """What happens to one call."""

    NONE = "it works"
    AWAY = "the server is away: nothing happened"
    LOST_REPLY = "it happened, and the reply was lost"
    DIES_BEFORE = "the driver dies before the call arrives"
    DIES_AFTER = "the driver dies after it happened, before it hears so"


class Died(BaseException):
    """The driver's process was killed; nothing may catch this but the test."""


class FaultyApi:
    """A StepApi whose calls suffer the given faults, one after the other, and then work."""

    def __init__(self, api: StepApi, faults: Iterator[Fault]) -> None:
        self._api = api
        self._faults = faults

    async def drive(self, run: int) -> Drive:
        """Take the run over, if no fault comes between."""
        return await self._suffer(lambda: self._api.drive(run))

    async def answers(self, run: int, *, fence: int, wait_s: float, hungry: bool) -> Answers:
        """Return answers, if no fault comes between."""
        return await self._suffer(lambda: self._api.answers(run, fence=fence, wait_s=wait_s, hungry=hungry))

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step, if no fault comes between."""
        return await self._suffer(lambda: self._api.step(run, step))

    async def upload(self, path: Path) -> str:
        """Send a file, if no fault comes between."""
        return await self._suffer(lambda: self._api.upload(path))

    async def _suffer(self, call: Callable[[], Awaitable[T]]) -> T:
        fault = next(self._faults, Fault.NONE)
        if fault is Fault.AWAY:
            raise ServerAway("nobody is there")
        if fault is Fault.DIES_BEFORE:
            raise Died
        reply = await call()
        if fault is Fault.LOST_REPLY:
            raise ServerAway("the reply was lost")
        if fault is Fault.DIES_AFTER:
            raise Died
        return reply
