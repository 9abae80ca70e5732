"""One step of a run, decided without I/O: answers in, and the step to commit out.

`next_step` is the whole decision, and a `Stepper` takes it: `Here` in this process, the server's own for a hosted run.
An answer that was folded may turn out to be wrong. A function that overrides `retract` takes it back in its next step;
any other has to go back to a state from before that answer was folded, and folds again from there.
"""

from __future__ import annotations

import copy
import functools
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from dsage import codec, typed
from dsage.background import aside
from dsage.errors import DSageError, UsageError
from dsage.function import DistributedFunction, Limits, Unit
from dsage.inputs import named
from dsage.states import TIME_LIMITS
from dsage.wire import MAX_BODY_BYTES, MAX_RETRIES, Answer, Answers, NewUnit, Step

MAX_UNITS_A_STEP: Final = 256
"""Units pulled from `next_job` in one step: one Merkle batch of the server's."""
MAX_PULL_BYTES: Final = MAX_BODY_BYTES // 4
"""Arguments pulled in one step stop growing here, far below what one request may hold."""
MOST_CREDIT: Final = 1_000_000
"""Minutes of the reference core that one unit may be worth: two years of it. The server has the same bound."""
PULL_S: Final = 1.0
"""Units that are slow to make go out as they come."""
OURS: Final = Path(__file__).parent
OUR_KEYS: Final = re.compile(r"\d+\.\d+")
"""The keys that the driver gives to units without one: "step.index"."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a driver stands: the last committed step and its state."""

    fence: int
    step: int
    state: bytes
    dry: bool = False
    """Whether `next_job` had nothing when it was last asked."""


class AuthorError(DSageError):
    """The researcher's own code raised; the run ends with this as its reason."""

    code = "author"
    exit_status = 8
    default_hint = "Mend the code, then submit again."


def next_step(function: DistributedFunction, at: Position, heard: Answers) -> tuple[Step | None, bool]:
    """Fold what was heard into `function` and return the step to commit, if any, and whether it is dry now.

    The step is None when nothing happened, or when answers are to be taken back by a function that cannot: then nothing
    was folded either, and the run has to go back. Inputs of its units may be paths of files that have still to be
    sent. An exception of the author's code becomes a step that fails the run and keeps the state of the last committed
    step.
    """
    number = at.step + 1
    if heard.retracted and not takes_back(function):
        return None, at.dry
    try:
        return _folded(function, at, heard, number)
    except AuthorError as error:
        return Step(fence=at.fence, step=number, state=at.state, failed=error.message), True


def takes_back(function: DistributedFunction) -> bool:
    """Whether the author says how an answer is taken back."""
    return type(function).retract is not DistributedFunction.retract


def _folded(function: DistributedFunction, at: Position, heard: Answers, number: int) -> tuple[Step | None, bool]:
    folded: list[Answer] = []
    _retract(function, heard.retracted)
    for answer in heard.answers:
        if function.done or function.discoveries_wait:
            break
        _fold(function, answer)
        folded.append(answer)
    units, groups = _taken(function, number, 0)
    woken = 0 < function.wake_at <= time.time()
    function.wake_at = 0.0 if woken else function.wake_at
    dry = at.dry and not folded and not heard.retracted and not woken
    if not dry and not function.done:
        idle = heard.open_units <= len(heard.answers) and not units
        pulled, dry = _pulled(function, number, len(units), max(heard.hungry - len(units), int(idle or woken)))
        more, more_groups = _taken(function, number, len(units) + len(pulled))
        units, groups = units + pulled + more, groups + more_groups
    nothing_open = heard.open_units == 0 and not heard.answers and not function.wake_at
    over = function.done or (dry and nothing_open and not units and not groups)
    last = over and not heard.retracted
    if not (last or folded or heard.retracted or units or groups):
        return None, dry
    discoveries = function.take_discoveries()
    progress, state = _author("progress", lambda: (codec.encode(function.progress()), function.dump_state()))
    result = _author("result", lambda: codec.encode(function.result)) if last else None
    return (
        Step(
            fence=at.fence,
            step=number,
            folded=[answer.unit for answer in folded],
            replicas=[answer.replica for answer in folded],
            retracted=[answer.unit for answer in heard.retracted],
            units=units,
            cancel_groups=groups,
            discoveries=discoveries,
            state=state,
            progress=progress,
            finished=last,
            result=result,
        ),
        dry,
    )


def _retract(function: DistributedFunction, retracted: list[Answer]) -> None:
    """Take back answers; what was enough with them may not be without them."""
    if retracted:
        function.done = False
    for answer in retracted:
        unit, value = _unit(function, answer), _value(function, answer)
        _author(f"retract of unit {unit.key}", functools.partial(function.retract, unit, value))


def _fold(function: DistributedFunction, answer: Answer) -> None:
    unit = _unit(function, answer)
    if answer.value is None:
        reason = answer.failed or "no reason was given"
        if not (answer.code in TIME_LIMITS and _split(function, unit)):
            _author("unit_failed", lambda: function.unit_failed(unit, reason))
    else:
        value = _value(function, answer)
        _author(f"process_result of unit {unit.key}", lambda: function.process_result(unit, value))


def _unit(function: DistributedFunction, answer: Answer) -> Unit:
    kind, where = type(function), f"the arguments of unit {answer.key}"
    args = _author(where, lambda: typed.argument(kind, codec.decode(answer.args)))
    return Unit(
        args, key=answer.key, group=answer.group, id=answer.unit, cpu_s=answer.cpu_s, wall_s=answer.wall_s,
    )  # fmt: skip


def _value(function: DistributedFunction, answer: Answer) -> Any:
    data = answer.value or b""
    return _author(f"the answer of unit {answer.key}", lambda: typed.value(type(function), codec.decode(data)))


def splits(function: DistributedFunction) -> bool:
    """Whether the author says how a unit that ran into its time limit is made smaller."""
    return type(function).split is not DistributedFunction.split


def _split(function: DistributedFunction, unit: Unit) -> bool:
    """Submit what the author makes of a unit that ran into its time limit; say whether there was any."""
    if not splits(function):
        return False
    parts = _author(f"split of unit {unit.key}", lambda: [function.as_unit(part) for part in function.split(unit)])
    for part in parts:
        function.submit(part)
    return bool(parts)


def _pulled(function: DistributedFunction, step: int, start: int, want: int) -> tuple[list[NewUnit], bool]:
    pulled: list[NewUnit] = []
    size = 0
    most, ends = min(want, MAX_UNITS_A_STEP), time.monotonic() + PULL_S
    while len(pulled) < most and size < MAX_PULL_BYTES and not function.done:
        if pulled and time.monotonic() > ends:
            break
        unit = _author("next_job", lambda: _next(function, step, start + len(pulled)))
        if unit is None:
            return pulled, True
        pulled.append(unit)
        size += len(unit.args)
    return pulled, False


def _next(function: DistributedFunction, step: int, index: int) -> NewUnit | None:
    job = function.next_job()
    return None if job is None else _new(function, function.as_unit(job), step, index)


def _taken(function: DistributedFunction, step: int, start: int) -> tuple[list[NewUnit], list[str]]:
    units, groups = function.take_outbox()
    made = _author("submit", lambda: [_new(function, u, step, start + i) for i, u in enumerate(units)])
    return made, groups


def _new(function: DistributedFunction, unit: Unit, step: int, index: int) -> NewUnit:
    if OUR_KEYS.fullmatch(unit.key):
        raise UsageError(f"the unit key {unit.key!r} looks like the ones that units without a key get")
    for name in (field.name for field in fields(Limits)):
        asked, allowed = getattr(unit.limits, name), getattr(function.limits, name)
        if not 0 < asked <= allowed:
            raise UsageError(f"a unit asks for {name} = {asked}; {type(function).__name__}.limits allow {allowed}")
    if not (isinstance(unit.credit, int | float) and 0 < unit.credit <= MOST_CREDIT):
        raise UsageError(
            f"a unit asks for credit = {unit.credit!r}; it must be above 0 and at most {MOST_CREDIT:,}",
            hint="Credit is in minutes of the reference core: `dsage estimate` measures what a unit is worth.",
        )
    if unit.retries is not None and not 0 <= unit.retries <= MAX_RETRIES:
        raise UsageError(f"a unit asks for {unit.retries} retries; 0 to {MAX_RETRIES} can be had")
    return NewUnit(
        key=unit.key or f"{step}.{index}",
        args=codec.encode(unit.args, name="args"),
        group=unit.group,
        credit_milli=max(round(unit.credit * 1000), int(unit.credit > 0)),
        quorum=unit.quorum,
        deadline_s=unit.deadline_s,
        cpu_s=unit.limits.cpu_s,
        wall_s=unit.limits.wall_s,
        memory_bytes=unit.limits.memory_bytes,
        disk_bytes=unit.limits.disk_bytes,
        output_bytes=unit.limits.output_bytes,
        inputs=named(unit.inputs),
        splits=splits(function),
        retries=unit.retries,
        adaptive=unit.adaptive and unit.quorum > 1,
    )


def _author(what: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except DSageError as error:
        raise AuthorError(f"{error.message} ({what})") from error
    except (Exception, SystemExit) as error:
        raise AuthorError(f"{what} raised {type(error).__name__}: {error}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """Return the deepest line of the author's own file that the exception passed through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent != OURS]
    own = [f for f in frames if f.filename == frames[0].filename]
    return f" ({Path(own[-1].filename).name} line {own[-1].lineno})" if own else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What came of hearing some answers: the step to commit, if any; whether `next_job` had nothing; when to wake it.

    `wake_at` is in Unix seconds, 0 if the function does not want to be woken.
    """

    step: Step | None
    dry: bool
    wake_at: float = 0.0


class Stepper(Protocol):
    """Runs the author's code of one run: `Here`, or the server's in a sandbox."""

    def stand(self, state: bytes) -> Any:
        """Begin at a committed state; return the answer so far, if that is known here."""

    async def step(self, at: Position, heard: Answers) -> Stepped:
        """Fold what was heard. An exception of the author's code is a step that fails the run."""


class Here:
    """Runs the author's code in this process. `function` is left as it was given: each start works on a copy."""

    def __init__(self, function: DistributedFunction) -> None:
        self._function = function
        self._working = function

    def stand(self, state: bytes) -> Any:
        """Begin at a committed state; return the answer so far."""
        self._working = _author("copying the function", lambda: copy.deepcopy(self._function))
        self._working.load_state(state)
        return self._working.result

    async def step(self, at: Position, heard: Answers) -> Stepped:
        """Fold what was heard, in a thread of its own: the author's code may take long, or wait for another run."""
        working = self._working
        step, dry = await aside(lambda: next_step(working, at, heard))
        return Stepped(step=step, dry=dry, wake_at=working.wake_at)
