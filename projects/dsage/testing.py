"""What tests of drivers need: a server in memory that keeps the promises of a step, and one that fails on cue."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TypeVar

import msgspec

from dsage import codec
from dsage.driver import StepApi
from dsage.errors import Conflict, NotFound, Reopened, ServerAway
from dsage.function import DistributedFunction
from dsage.running import Hooks
from dsage.states import FINAL_UNITS, OPEN_RUNS, RunState, UnitState
from dsage.trust.envelope import Envelope
from dsage.wire import Answer, Answers, Drive, NewUnit, Step, StepReply

T = TypeVar("T")


class MemoryUnit(msgspec.Struct):
    """A unit as the server in memory keeps it: `folded_in` is the step that folded or cancelled it, `refused` a value
    that was folded and is to be taken back, `answers` how many it had."""

    id: int
    new: NewUnit
    made_in: int
    state: UnitState = UnitState.READY
    value: bytes | None = None
    failed: str = ""
    code: str = ""
    folded_in: int = 0
    refused: bytes | None = None
    answers: int = 0


class MemoryServer:
    """One run and its volunteers, in memory, with the server's rules for fences, step numbers and answers.

    A call that would wait lets `pace` units be computed instead. `hungry` volunteers each want one unit. The state of
    every `keeps`-th step is kept, to go back to.
    Public attributes are there to be looked at: `units` by key, those put `aside` by a replay, `steps` as committed,
    `state_of_run`, `result`, and `files`, where what was sent lies, by hash.
    """

    def __init__(self, function: DistributedFunction, *, hungry: int = 3, pace: int = 2, keeps: int = 1) -> None:
        self._compute = type(function).compute
        self._hungry = hungry
        self._pace = pace
        self._keeps = keeps
        self._state = function.dump_state()
        self._states = {0: self._state}
        self._fence = 0
        self._ids = itertools.count(1)
        self.units: dict[str, MemoryUnit] = {}
        self.aside: list[MemoryUnit] = []
        self.steps: list[Step] = []
        self.files: dict[str, Path] = {}
        self.state_of_run = RunState.RUNNING
        self.result: object = None
        self.reason = ""

    async def drive(self, run: int) -> Drive:
        """Give the run to a new driver; older ones get Conflict from now on."""
        self._fence += 1
        return await self._standing()

    async def _standing(self) -> Drive:
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
        if wait_s > 0 and not self._unfolded() and not self._refused() and not (hungry and self._wanted()):
            self.work(self._pace)
        return Answers(
            answers=[_answer(unit, unit.value) for unit in self._unfolded()],
            hungry=self._wanted(),
            open_units=len(self._open()),
            state_of_run=self.state_of_run,
            retracted=[_answer(unit, unit.refused) for unit in self._refused()],
        )

    async def step(self, run: int, step: Step) -> StepReply:
        """Commit a step, whole or not at all; the same step again is answered again."""
        self._guard(step.fence)
        last = self.steps[-1] if self.steps else None
        if last is not None and step.step == last.step and step.fence == last.fence:
            return StepReply(step=step.step, hungry=self._wanted())
        if step.step != len(self.steps) + 1 or self.state_of_run not in OPEN_RUNS:
            raise Conflict(f"step {step.step} is not the next one")
        if not {each for new in step.units for each in new.inputs.values()} <= self.files.keys():
            raise NotFound("there is no such blob", hint="Send it to the server first.")
        folded, retracted = self._rests_on(step)
        for unit in retracted:
            unit.folded_in, unit.refused = 0, None
        for unit in folded:
            unit.folded_in = step.step
        for unit in self._open():
            if unit.new.group in step.cancel_groups:
                unit.state, unit.folded_in = UnitState.CANCELLED, step.step
        for new in step.units:
            if new.key not in self.units:
                self.units[new.key] = self._adopted(new, step.step) or MemoryUnit(next(self._ids), new, step.step)
        self._state = step.state
        self.steps.append(step)
        if step.step % self._keeps == 0:
            self._states[step.step] = step.state
        if step.finished or step.failed:
            for unit in self._open():
                unit.state = UnitState.CANCELLED
            self.state_of_run = RunState.FAILED if step.failed else RunState.DONE
            self.result = None if step.result is None else codec.decode(step.result)
            self.reason = step.failed
        return StepReply(step=step.step, hungry=self._wanted())

    def _rests_on(self, step: Step) -> tuple[list[MemoryUnit], list[MemoryUnit]]:
        """Return the units that a step folds, and those that it takes back."""
        by_id = {unit.id: unit for unit in self.units.values()}
        if not set(step.folded) <= {unit.id for unit in by_id.values() if not unit.folded_in}:
            raise Conflict("a folded unit has no answer that waits to be folded")
        folded = [by_id[id] for id in step.folded]
        heard = step.replicas or [_answer(unit, None).replica for unit in folded]
        if heard != [_answer(unit, None).replica for unit in folded] or any(u.state not in FINAL_UNITS for u in folded):
            raise Reopened("an answer that this step folds does not hold any more")
        refused = {unit.id for unit in self._refused()}
        if not set(step.retracted) <= refused:
            raise Conflict("an answer that this step takes back holds")
        if step.finished and refused - set(step.retracted):
            raise Reopened("an answer that the result rests on does not hold any more")
        return folded, [by_id[id] for id in step.retracted]

    async def replay(self, run: int, *, fence: int) -> Drive:
        """Go back to the newest kept state before the first folded answer that does not hold any more."""
        self._guard(fence)
        refused = [unit.folded_in for unit in self._refused()]
        if refused:
            back = max(step for step in self._states if step < min(refused))
            self._go_back(back)
        return await self._standing()

    def _go_back(self, to: int) -> None:
        self._state = self._states[to]
        self._states = {step: state for step, state in self._states.items() if step <= to}
        self._states[len(self.steps)] = self._state
        for key, unit in list(self.units.items()):
            if unit.made_in > to:
                self.aside.append(self.units.pop(key))
                unit.state = unit.state if unit.state in FINAL_UNITS else UnitState.CANCELLED
                unit.folded_in, unit.refused = 0, None
            elif unit.folded_in > to:
                unit.state = UnitState.READY if unit.state is UnitState.CANCELLED else unit.state
                unit.folded_in, unit.refused = 0, None

    def _adopted(self, new: NewUnit, step: int) -> MemoryUnit | None:
        """Return the unit with the same work that a replay put aside, if there is one, as the new one."""
        unit = next((unit for unit in self.aside if _work(unit.new) == _work(new)), None)
        if unit is not None:
            self.aside.remove(unit)
            unit.new, unit.made_in = new, step
            unit.state = UnitState.READY if unit.state is UnitState.CANCELLED else unit.state
        return unit

    def reopen(self, *keys: str) -> None:
        """Refuse the accepted answers of units."""
        if self.state_of_run in (RunState.FAILED, RunState.CANCELLED):
            raise Conflict(f"the run is {self.state_of_run}")
        units = [self.units[key] for key in keys]
        if any(unit.state is not UnitState.VALID for unit in units):
            raise Conflict("only accepted answers are refused")
        for unit in units:
            if unit.folded_in and unit.refused is None:
                unit.refused = unit.value
            unit.state, unit.value = UnitState.READY, None
            if self.state_of_run is RunState.DONE and not unit.folded_in:
                unit.state = UnitState.CANCELLED
        if self.state_of_run is RunState.DONE and self._refused():
            self.state_of_run = RunState.RUNNING
            for unit in self.units.values():
                if unit.state is UnitState.CANCELLED and not unit.folded_in:
                    unit.state = UnitState.READY

    async def upload(self, path: Path) -> str:
        """Take a file, which stays where it is."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.files[sha256] = path
        return sha256

    def work(self, count: int) -> None:
        """Let volunteers compute up to `count` units, the youngest first: no order is promised."""
        if self.state_of_run is RunState.PAUSED:
            return
        for unit in reversed(self._open()[-count:]):
            Hooks.inputs = {name: str(self.files[sha256]) for name, sha256 in unit.new.inputs.items()}
            try:
                unit.value = self.compute(unit)
            finally:
                Hooks.inputs = {}
            unit.state = UnitState.VALID
            unit.answers += 1

    def compute(self, unit: MemoryUnit) -> bytes:
        """Return what the volunteers agree on for a unit."""
        return codec.encode(self._compute(codec.decode(unit.new.args)))

    def give_up(self, key: str, reason: str, code: str = "") -> None:
        """Let a unit fail for good."""
        unit = self.units[key]
        unit.state, unit.failed, unit.code = UnitState.FAILED, reason, code

    def pause(self) -> None:
        """Let volunteers get nothing, until `resume`."""
        self.state_of_run = RunState.PAUSED

    def resume(self) -> None:
        """Let volunteers work again."""
        self.state_of_run = RunState.RUNNING

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
        return 0 if self.state_of_run is RunState.PAUSED else max(0, self._hungry - len(self._open()))

    def _refused(self) -> list[MemoryUnit]:
        return [unit for unit in self.units.values() if unit.refused is not None]


def _answer(unit: MemoryUnit, value: bytes | None) -> Answer:
    return Answer(
        unit=unit.id,
        key=unit.new.key,
        group=unit.new.group,
        args=unit.new.args,
        value=value,
        failed=unit.failed,
        code=unit.code,
        replica=0 if unit.state is UnitState.FAILED else unit.answers,
    )


def _work(new: NewUnit) -> NewUnit:
    return msgspec.structs.replace(new, key="", group="")


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

    async def replay(self, run: int, *, fence: int) -> Drive:
        """Go back, if no fault comes between."""
        return await self._suffer(lambda: self._api.replay(run, fence=fence))

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
