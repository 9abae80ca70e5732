"""Runs in memory: the promises that a server makes to a driver, for places that have no server.

`Book` is pure: it holds the runs, hands out their units, takes what became of them. Whoever runs the units calls
`take`, `renew` and `ended`; drivers call the rest through a `Place`. What was folded is forgotten but for the last KEPT
units, so a run of any length has a small book.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from dsage import codec
from dsage.bundle import Bundle
from dsage.discoveries import kept_here
from dsage.errors import Conflict, NotFound
from dsage.sandbox.level import Outcome
from dsage.states import FINAL_UNITS, OPEN_RUNS, TIME_LIMITS, RunState, UnitState, move
from dsage.trust.envelope import Envelope
from dsage.wire import (
    Answer,
    Answers,
    Attempt,
    DiscoveryView,
    Drive,
    Event,
    NewUnit,
    Remainder,
    RunView,
    Step,
    StepReply,
    UnitView,
)

KEPT: Final = 10_000
"""Ended units of a run that are kept to be looked at, and events."""
KEPT_RUNS: Final = 1000
MAX_ANSWERS: Final = 1000
"""Answers that a driver folds in one step."""
REST_S: Final = 0.25
"""A unit that failed rests so long before it is tried again, and twice as long each time."""
MAX_REST_S: Final = 300.0


@dataclass(slots=True)
class Entry:
    """One unit. `output` is the end of what it has printed; `value`, `reason` and `detail` as in an Outcome.

    `earlier` are the tries that failed and were followed by another; `failures` how many of them count.
    """

    id: int
    run: Run
    new: NewUnit
    state: UnitState = UnitState.READY
    value: bytes | None = None
    reason: str = ""
    detail: str = ""
    output: bytes = b""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    started: float = 0.0
    ended: float | None = None
    where: str = ""
    earlier: list[Attempt] = field(default_factory=list)
    failures: int = 0

    @property
    def failed(self) -> str:
        """Why it was given up, as a sentence; empty if it was not."""
        if self.state is not UnitState.FAILED:
            return ""
        last = self.detail.strip().splitlines()[-1:] or [""]
        return f"{self.reason}: {last[0]}" if last[0] else self.reason


@dataclass(slots=True)
class Run:
    """One run. `open` are its unfinished units by id, `unfolded` those that ended and wait to be folded."""

    id: int
    packed: Bundle
    title: str
    params: bytes
    state_bytes: bytes
    priority: int = 0
    key: str = ""
    state: RunState = RunState.RUNNING
    fence: int = 0
    step: int = 0
    created: float = 0.0
    finished: float | None = None
    driver_seen: float | None = None
    progress: bytes = b""
    result: bytes | None = None
    reason: str = ""
    ready: deque[Entry] = field(default_factory=deque)
    open: dict[int, Entry] = field(default_factory=dict)
    unfolded: dict[int, Entry] = field(default_factory=dict)
    kept: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))
    keys: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT))
    discoveries: dict[tuple[int, str], DiscoveryView] = field(default_factory=dict)


class Book:
    """The runs of a place. `workers` is how many units run at a time; `stopped` names the ids of units that run and are
    not wanted any more, until whoever runs them has ended them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.stopped: set[int] = set()
        self._runs: dict[int, Run] = {}
        self._running: dict[int, Entry] = {}
        self._turns: dict[int, Run] = {}
        self._units = 0
        self._events = 0

    # -- runs ------------------------------------------------------------------------------------------------

    def submit(self, packed: Bundle, state: bytes, params: dict[str, Any], priority: int) -> Run:
        """Make a run."""
        number = next(reversed(self._runs), 0) + 1
        title = packed.function.title or packed.function.__name__
        run = Run(number, packed, title, codec.encode(params), state, priority=priority, created=time.time())
        self._runs[number] = run
        self._note(run, "submitted", f"run {number} ({title}) was submitted")
        return run

    def find(self, number: int) -> Run:
        """Return a run. Raises NotFound."""
        run = self._runs.get(number)
        if run is None:
            raise NotFound(f"there is no run {number} here", hint="Runs of this place end with the program.")
        return run

    def all(self) -> list[Run]:
        """Return every run, the oldest first."""
        return list(self._runs.values())

    def drive(self, number: int) -> Drive:
        """Give the run to a new driver; older ones get Conflict from now on."""
        run = self.find(number)
        run.fence += 1
        run.driver_seen = time.time()
        return Drive(
            fence=run.fence, step=run.step, state=run.state_bytes, state_of_run=run.state, params=run.params,
            manifest=Envelope("", b"", []), open_units=len(run.open),
        )  # fmt: skip

    def answers(self, number: int, fence: int) -> Answers:
        """Return the oldest answers that no step has folded."""
        run = self._driven(number, fence)
        first = [entry for entry, _ in zip(run.unfolded.values(), range(MAX_ANSWERS), strict=False)]
        return Answers(
            answers=[_answer(entry) for entry in first], hungry=self.hungry(run), open_units=len(run.open),
            state_of_run=run.state,
        )  # fmt: skip

    def step(self, number: int, step: Step) -> StepReply:
        """Commit a step, whole or not at all; the last one again is answered again."""
        run = self._driven(number, step.fence)
        if step.step <= run.step:
            return StepReply(step=step.step, hungry=self.hungry(run))
        if run.state not in OPEN_RUNS or step.step != run.step + 1:
            raise Conflict(f"step {step.step} cannot follow step {run.step} of a run that is {run.state}")
        if not set(step.folded) <= run.unfolded.keys():
            raise Conflict("a folded unit has no answer that waits to be folded")
        for folded in step.folded:
            run.kept.append(run.unfolded.pop(folded))
        kept_here(run.discoveries, step.discoveries, run.id, time.time())
        for new in step.units:
            self._make(run, new)
        if step.cancel_groups:
            groups = set(step.cancel_groups)
            self._cancel(run, [entry for entry in run.open.values() if entry.new.group in groups])
        run.step, run.state_bytes, run.driver_seen = step.step, step.state, time.time()
        run.progress = step.progress or run.progress
        if step.finished or step.failed:
            run.result, run.reason = step.result, step.failed
            self._end(run, RunState.FAILED if step.failed else RunState.DONE)
        return StepReply(step=step.step, hungry=self.hungry(run))

    def pause(self, number: int) -> None:
        """Hand out nothing more of a run."""
        run = self.find(number)
        run.state = move(run.state, RunState.PAUSED)
        self._note(run, "paused", f"run {number} is paused")

    def resume(self, number: int) -> None:
        """Let a paused run go on."""
        run = self.find(number)
        if run.state is RunState.PAUSED:
            run.state = move(run.state, RunState.RUNNING)
            self._turn(run)
            self._note(run, "resumed", f"run {number} goes on")

    def cancel(self, number: int) -> None:
        """Cancel a run and everything of it that is open."""
        run = self.find(number)
        run.reason = "cancelled by its researcher"
        self._end(run, RunState.CANCELLED)

    def retry(self, number: int, units: list[int]) -> None:
        """Try failed units again that no step has folded, and let the run go on. Raises Conflict if it is over."""
        run = self.find(number)
        if run.state in (RunState.DONE, RunState.CANCELLED):
            raise Conflict(f"run {number} is {run.state}", hint="Submit it again.")
        if run.state is RunState.FAILED:
            run.state, run.finished, run.reason = move(run.state, RunState.RUNNING), None, ""
            called_off = [e for e in run.kept if e.state is UnitState.CANCELLED and e.ended is None]
            for entry in called_off:
                run.kept.remove(entry)
        else:
            called_off = []
        again = [e for e in run.unfolded.values() if e.state is UnitState.FAILED and (not units or e.id in units)]
        for entry in again:
            del run.unfolded[entry.id]
        for entry in called_off + again:
            run.counts[f"unit.{entry.state}"] -= 1
            entry.state, entry.reason, entry.detail = move(entry.state, UnitState.READY), "", ""
            entry.failures = 0
            self._offer(entry)
        self._note(run, "retried", f"{len(again)} units of run {number} are tried again")

    # -- units -----------------------------------------------------------------------------------------------

    def take(self, where: str = "") -> Entry | None:
        """Return the next unit to run, now active; None if there is nothing to do."""
        while self._turns:
            run = max(self._turns.values(), key=lambda run: run.priority)
            del self._turns[run.id]
            if run.state is not RunState.RUNNING or not run.ready:
                continue
            entry = run.ready.popleft()
            self._turn(run)
            if entry.state is UnitState.READY:
                self._count(entry, UnitState.ACTIVE)
                entry.started, entry.where = time.time(), where
                self._running[entry.id] = entry
                return entry
        return None

    def ended(self, entry: Entry, outcome: Outcome) -> float | None:
        """Take what became of a unit that was handed out. One that is not wanted any more is only put aside.

        Return after how many seconds it is to be offered `again`; None if it is not.
        """
        self._running.pop(entry.id, None)
        self.stopped.discard(entry.id)
        entry.ended = time.time()
        entry.cpu_s, entry.wall_s, entry.output = outcome.cpu_s, outcome.wall_s, outcome.output or entry.output
        if entry.state is not UnitState.ACTIVE:
            return None
        run = entry.run
        done = outcome.status == "done"
        entry.value, entry.reason, entry.detail = outcome.value if done else None, outcome.reason, outcome.detail
        if not done and entry.failures < (entry.new.retries or 0) and not _splits(entry):
            return self._rests(entry)
        self._count(entry, UnitState.VALID if done else UnitState.FAILED)
        del run.open[entry.id]
        run.unfolded[entry.id] = entry
        if not done:
            self._note(run, "failed", f"unit {entry.new.key} failed: {entry.failed}", entry.id)
        return None

    def again(self, entry: Entry) -> None:
        """Offer a unit that failed and has rested."""
        if entry.state is UnitState.READY:
            entry.run.ready.append(entry)
            self._turn(entry.run)

    def hungry(self, run: Run) -> int:
        """Return how many more units the workers could start on soon."""
        if run.state is not RunState.RUNNING:
            return 0
        waiting = sum(len(other.ready) for other in self._turns.values() if other.priority >= run.priority)
        return max(0, 2 * self.workers - waiting)

    def outputs(self, number: int, unit: int) -> list[Attempt]:
        """Return how units of a run were run: one unit, or (0) the newest ones, those that run first."""
        run = self.find(number)
        entries = [e for e in self._seen(run) if e.id == unit or not unit]
        tries = [attempt for e in entries for attempt in (*e.earlier, *([_attempt(e)] if e.started else []))]
        return sorted(tries, key=lambda attempt: -attempt.started)[:200]

    def views(self, number: int, after: int, state: str, limit: int) -> list[UnitView]:
        """Return units that the book still has, by id above `after`, of one state or all."""
        found = sorted((e for e in self._seen(self.find(number)) if e.id > after), key=lambda e: e.id)
        return [_view(e) for e in found if not state or e.state == state][:limit]

    def remainder(self, number: int, after: int) -> Remainder:
        """Return the units that have not ended, and those whose answer no step has folded: these come again."""
        run = self.find(number)
        left = {**run.open, **run.unfolded}
        return Remainder(units=[left[id].new for id in sorted(left) if id > after], last=max(left, default=after))

    def events(self, number: int, after: int) -> list[Event]:
        """Return what happened to a run after an event."""
        return [event for event in self.find(number).events if event.id > after]

    def view(self, run: Run) -> RunView:
        """Return a run as people see it."""
        units = {state.value: run.counts[f"unit.{state}"] for state in UnitState}
        return RunView(
            run=run.id, project="", title=run.title, app=run.packed.sha256, state=run.state, created=run.created,
            finished=run.finished, driver_seen=run.driver_seen, step=run.step, units=units,
            replicas={"leased": len([e for e in self._running.values() if e.run is run]), "valid": units["valid"]},
            credit_milli=0, volunteers=0, progress=run.progress, result=run.result, reason=run.reason,
            params=run.params, priority=run.priority, discoveries=list(run.discoveries.values()),
        )  # fmt: skip

    # -- within ----------------------------------------------------------------------------------------------

    def _driven(self, number: int, fence: int) -> Run:
        run = self.find(number)
        if fence != run.fence:
            raise Conflict(f"run {number} has another driver now")
        return run

    def _make(self, run: Run, new: NewUnit) -> None:
        if new.key in run.keys:
            return
        run.keys.add(new.key)
        self._units += 1
        self._offer(Entry(self._units, run, new))

    def _offer(self, entry: Entry) -> None:
        run = entry.run
        entry.ended = None
        run.open[entry.id] = entry
        run.ready.append(entry)
        run.counts["unit.ready"] += 1
        self._turn(run)

    def _turn(self, run: Run) -> None:
        """Let a run wait for its turn, behind the others."""
        if run.ready:
            self._turns.setdefault(run.id, run)

    def _count(self, entry: Entry, state: UnitState) -> None:
        entry.run.counts[f"unit.{entry.state}"] -= 1
        entry.state = move(entry.state, state)
        entry.run.counts[f"unit.{state}"] += 1

    def _rests(self, entry: Entry) -> float:
        """Put a try that failed with the earlier ones."""
        attempt = _attempt(entry)
        attempt.state = "error"
        entry.earlier.append(attempt)
        entry.failures += 1
        self._count(entry, UnitState.READY)
        entry.started, entry.ended, entry.reason, entry.detail, entry.output = 0.0, None, "", "", b""
        return min(REST_S * 2.0 ** (entry.failures - 1), MAX_REST_S)

    def _cancel(self, run: Run, entries: list[Entry]) -> None:
        for entry in entries:
            self._count(entry, UnitState.CANCELLED)
            if entry.id in self._running:
                self.stopped.add(entry.id)
            del run.open[entry.id]
            run.kept.append(entry)

    def _end(self, run: Run, state: RunState) -> None:
        run.state = move(run.state, state)
        run.finished = time.time()
        self._cancel(run, list(run.open.values()))
        run.ready.clear()
        over = [other.id for other in self._runs.values() if other.state not in OPEN_RUNS]
        for number in over[: max(0, len(self._runs) - KEPT_RUNS)]:
            del self._runs[number]
        self._note(run, state.value, f"run {run.id} is {state.value}" + (f": {run.reason}" if run.reason else ""))

    def _note(self, run: Run, kind: str, text: str, unit: int | None = None) -> None:
        self._events += 1
        run.events.append(Event(id=self._events, at=time.time(), kind=kind, text=text, run=run.id, unit=unit))

    def _seen(self, run: Run) -> Iterator[Entry]:
        yield from run.kept
        yield from run.unfolded.values()
        yield from run.open.values()


def _answer(entry: Entry) -> Answer:
    return Answer(
        unit=entry.id, key=entry.new.key, group=entry.new.group, args=entry.new.args, value=entry.value,
        failed=entry.failed, code=entry.reason, cpu_s=entry.cpu_s, wall_s=entry.wall_s,
    )  # fmt: skip


def _view(entry: Entry) -> UnitView:
    return UnitView(
        unit=entry.id, key=entry.new.key, group=entry.new.group, state=entry.state, args=entry.new.args,
        value=entry.value, failed=entry.failed, code=entry.reason, cpu_s=entry.cpu_s, wall_s=entry.wall_s,
        attempts=len(entry.earlier) + bool(entry.started),
    )  # fmt: skip


def _splits(entry: Entry) -> bool:
    return entry.new.splits and entry.reason in TIME_LIMITS


def _attempt(e: Entry) -> Attempt:
    return Attempt(
        unit=e.id, replica=e.id, state=_copy_state(e), started=e.started, ended=e.ended, reason=e.reason,
        detail=e.detail, output=e.output, cpu_s=e.cpu_s, wall_s=e.wall_s, platform=e.where,
    )  # fmt: skip


def _copy_state(entry: Entry) -> str:
    """Return the word for a copy of a unit: there is one of each here."""
    if entry.ended is None:
        return "leased"
    if entry.state in FINAL_UNITS:
        return {UnitState.VALID: "valid", UnitState.FAILED: "error", UnitState.CANCELLED: "aborted"}[entry.state]
    return "expired"
