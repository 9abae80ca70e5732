"""One run played from its first unit to its end, or to now: the app truly computes, and lives of units are those of
`dsage_validator.life`. What chance brings (who is there, who lies, whose computer fails) comes from the seed."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from dsage import codec
from dsage.bundle import Bundle
from dsage.errors import DSageError
from dsage.function import DistributedFunction
from dsage.function import Unit as Job
from dsage.states import HOLDS_PLACE, ReplicaState, RunState, UnitState
from dsage.trust.documents import Manifest
from dsage.wire import Discovered, NewUnit
from dsage_server.seeding import words
from dsage_server.seeding.people import DAY_S, Crowd, Machine
from dsage_validator import issuing, life
from dsage_validator.unit import Replica, Unit

AHEAD: Final = 40
"""Units that a driver has made ahead of what is folded."""
TRIES: Final = 30
"""Computers that are asked, one after the other, before a copy waits."""
LIES: Final = 0.5
FAILS: Final = 0.3
LOST: Final = {"error": 0.010, "returned": 0.010, "expired": 0.014, "late": 0.008}
"""What becomes of copies that are not simply answered; a late answer comes after its lease has run out."""
BY_WISH: Final = frozenset({RunState.PAUSED, RunState.CANCELLED})
HARD: Final = 4.0
"""The hard deadline, in lengths of the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run to be played: `begins` and `lasts` in days (before now), `units` about how many are given out in that time,
    each worth `credit`; the share `broken` of them fails everywhere. `ends` is the state that it is brought to when its
    time is over; one that is to be done, or fails, does so by itself."""

    project: str
    params: dict[str, Any]
    begins: float
    lasts: float
    units: int
    credit: float
    ends: RunState = RunState.DONE
    app: str = ""
    broken: float = 0.0


@dataclass(slots=True)
class Copy:
    """What is told of a copy beside its life."""

    machine: Machine
    leased: float
    length_s: float
    reported: float | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    value: bytes | None = None
    reason: str = ""
    granted: float | None = None


@dataclass(slots=True)
class Played:
    """A unit and its copies as they stand in the end; `answer` is the right one, once it was computed. A `broken` unit
    fails wherever it is tried."""

    new: NewUnit
    job: Job[Any]
    life: Unit
    created: float
    made_step: int
    copies: dict[int, Copy] = field(default_factory=dict)
    finished: float | None = None
    folded_step: int | None = None
    answer: bytes | None = None
    broken: bool = False


@dataclass(slots=True)
class Told:
    """Something that people hear of."""

    at: float
    kind: str
    text: str
    unit: int | None = None


class Play:
    """A run while it is played; `state`, `units`, `told` and `discovered` are what came of it."""

    def __init__(
        self, plan: Plan, app: Bundle, manifest: Manifest, crowd: Crowd, *, now: float, seed: str,
        unit_ids: Iterator[int], copy_ids: Iterator[int],
    ) -> None:  # fmt: skip
        self.plan, self.manifest, self.now = plan, manifest, now
        self.begun = now - plan.begins * DAY_S
        self.over = now if plan.ends not in BY_WISH else min(now, self.begun + plan.lasts * DAY_S)
        self.function: DistributedFunction[Any, Any] = app.function(**plan.params)
        self.state, self.reason = RunState.RUNNING, ""
        self.finished: float | None = None
        self.step = 0
        self.units: dict[int, Played] = {}
        self.told: list[Told] = []
        self.discovered: list[tuple[float, int, Discovered]] = []
        self._crowd, self._rng = crowd, random.Random(seed)
        self._unit_ids, self._copy_ids = unit_ids, copy_ids
        self._pulse = self.begun
        self._interval = plan.lasts * DAY_S / (plan.units * 2.1)
        self._agenda: list[tuple[float, int, str, int, int]] = []
        self._order = count()
        self._exhausted = False

    def play(self) -> None:
        """Play it to its end, or until now."""
        self._make(self.begun)
        while self._agenda and self._agenda[0][0] < self.now and self.finished is None:
            at, _, what, unit, copy = heapq.heappop(self._agenda)
            if at >= self.over and self.state is RunState.RUNNING:
                self._end(self.over, self.plan.ends, "")
            if what != "send":
                self._hear(at, what, unit, copy)
            elif self.state is RunState.RUNNING:
                self._send(at, unit)

    def say(self, at: float, kind: str, text: str) -> None:
        """Tell people something about the run."""
        self.told.append(Told(at, kind, text))

    # -- making units ------------------------------------------------------------------------------------------

    def _make(self, at: float) -> None:
        while not self._exhausted and sum(not u.life.final for u in self.units.values()) < AHEAD:
            job = self.function.next_job()
            if job is None:
                self._exhausted = not self.units or "next_job" not in vars(type(self.function))
                return
            self._add(at, self.function.as_unit(job))

    def _add(self, at: float, job: Job[Any]) -> None:
        number = next(self._unit_ids)
        self.step = self.step or 1
        job = dataclasses.replace(job, id=number, key=job.key or f"{len(self.units) + 1}")
        worth = self.plan.credit * self._rng.uniform(0.8, 1.25)
        seconds = 60 * worth
        new = NewUnit(
            key=job.key, args=codec.encode(job.args), group=job.group, credit_milli=round(1000 * worth),
            quorum=job.quorum, deadline_s=max(6 * 3600.0, 8 * seconds), cpu_s=60 + 10 * seconds,
            wall_s=600 + 40 * seconds,
        )  # fmt: skip
        self.units[number] = Played(new, job, life.created(number, job.quorum), at, self.step)
        self.units[number].broken = self._rng.random() < self.plan.broken
        for _ in range(job.quorum):
            self._push(self._next_pulse(at), "send", number)

    def _next_pulse(self, at: float) -> float:
        self._pulse = max(self._pulse, at) + self._interval * self._rng.uniform(0.4, 1.6)
        return self._pulse

    def _push(self, at: float, what: str, unit: int, copy: int = 0) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), what, unit, copy))

    # -- copies go out and come back ---------------------------------------------------------------------------

    def _send(self, at: float, number: int) -> None:
        played = self.units[number]
        if not played.life.unsent:
            return
        machine = self._taker(at, played.life)
        if machine is None:
            self._push(at + 1800.0, "send", number)
            return
        length = played.new.deadline_s
        copy = next(self._copy_ids)
        played.copies[copy] = Copy(machine, at, length)
        replica = Replica(
            id=copy, volunteer=machine.owner.id, host=machine.id, deadline=at + length,
            hard_deadline=at + HARD * length,
        )  # fmt: skip
        played.life = life.lease(played.life, replica)
        used = self._rng.uniform(1.0, 14.0)  # its owner needs the computer too
        wall = min(played.new.credit_milli * 0.06 * used / max(machine.speed / machine.cores, 0.1), length * 0.6)
        what = "error" if played.broken else self._fate(machine)
        after = {"done": wall * self._rng.uniform(1.0, 1.5), "error": wall * self._rng.random(), "returned": 900.0}
        if what in ("expired", "late"):
            self._push(at + length, "expired", number, copy)
            if what == "late":
                self._push(at + length * self._rng.uniform(1.1, 2.0), "done", number, copy)
            return
        self._push(at + after[what], what, number, copy)

    def _fate(self, machine: Machine) -> str:
        if machine.nature == "flaky" and self._rng.random() < FAILS:
            return "error"
        drawn = self._rng.random()
        for what, share in LOST.items():
            if drawn < share:
                return what
            drawn -= share
        return "done"

    def _taker(self, at: float, unit: Unit) -> Machine | None:
        there = self._crowd.present(int(at // DAY_S))
        for _ in range(TRIES if there.machines else 0):
            machine = self._rng.choices(there.machines, cum_weights=there.cumulated)[0]
            if issuing.may_take(unit, machine.owner.id):
                return machine
        return None

    def _hear(self, at: float, what: str, number: int, copy: int) -> None:
        played = self.units[number]
        was, told = played.life, played.copies[copy]
        state = was.replica(copy).state
        if what == "expired" and state is ReplicaState.LEASED:
            played.life = life.expire(was, at)
        elif what == "done" and (state is ReplicaState.LEASED or _welcome_late(was, copy)):
            self._answer(at, played, copy)
        elif what in ("error", "returned") and state is ReplicaState.LEASED:
            told.reported, told.wall_s = at, at - told.leased
            told.reason = self._rng.choice(words.ERRORS) if what == "error" else ""
            word, _, detail = told.reason.partition(": ")
            played.life = life.give_up(was, copy, ReplicaState(what), word, detail)
        for _ in range(played.life.unsent - was.unsent):
            self._push(self._next_pulse(at), "send", number)
        self._follow(at, played, was)

    def _answer(self, at: float, played: Played, copy: int) -> None:
        told = played.copies[copy]
        if played.answer is None:
            played.answer = codec.encode(self.function.compute(played.job.args))
        value = codec.decode(played.answer)
        if told.machine.nature == "liar" and self._rng.random() < LIES:
            value = spoiled(value)
        told.value = codec.encode(value)
        told.reported, told.wall_s = at, at - told.leased
        told.cpu_s = min(told.wall_s * self._rng.uniform(0.55, 0.98), played.new.cpu_s)
        unit = life.report(played.life, copy)
        proof = self.function.verify(played.job.args, value) if self.manifest.has_verify else None
        camps = life.centres(unit)
        alike = [n for n in sorted(camps) if played.copies[n].value == told.value]
        played.life = life.judge(unit, copy, camp=alike[0] if alike else copy, proof=proof)

    # -- what follows ------------------------------------------------------------------------------------------

    def _follow(self, at: float, played: Played, was: Unit) -> None:
        unit = played.life
        known = {r.id: r.state for r in was.replicas}
        for replica in unit.replicas:
            if replica.state is ReplicaState.VALID and known.get(replica.id) is not ReplicaState.VALID:
                played.copies[replica.id].granted = at
            if replica.state is ReplicaState.INVALID and known.get(replica.id) is not ReplicaState.INVALID:
                owner = played.copies[replica.id].machine.owner
                name = owner.pseudonym if owner.named else "a volunteer"
                text = f"unit {unit.id}: the answer of {name} was found wrong; it is refused and unpaid"
                self.told.append(Told(at, "refused", text, unit.id))
        camps = {r.camp for r in unit.replicas if r.camp is not None}
        if not unit.final and len(camps) > len({r.camp for r in was.replicas if r.camp is not None}) > 0:
            text = f"unit {unit.id}: {len(camps)} answers disagree, so one more volunteer is asked"
            self.told.append(Told(at, "disagreement", text, unit.id))
        if unit.final and not was.final:
            played.finished = at
            self._fold(at, played)

    def _fold(self, at: float, played: Played) -> None:
        self.step += 1
        played.folded_step = self.step
        if played.life.state is UnitState.FAILED:
            text = f"unit {played.life.id} was given up: {played.life.reason}"
            self.told.append(Told(at, "unit-failed", text, played.life.id))
            try:
                self.function.unit_failed(played.job, played.life.reason)
            except DSageError as error:
                self._end(at, RunState.FAILED, error.message)
                return
        else:
            value = played.copies[played.life.canonical or 0].value
            self.function.process_result(played.job, codec.decode(value or b""))
        self.discovered += [(at, self.step, found) for found in self.function.take_discoveries()]
        self._cancel(at, set(self.function.take_outbox()[1]))
        if not self.function.done:
            self._make(at)
        if self.function.done or all(u.life.final for u in self.units.values()):
            self._end(at, RunState.DONE, "")

    def _cancel(self, at: float, groups: set[str] | None) -> None:
        """Cancel the open units of some groups, or all; copies that are out stop at their next contact."""
        for played in self.units.values():
            unit = played.life
            if groups is not None and played.new.group not in groups:
                continue
            if not unit.final:
                unit = life.cancel(unit, checked=False)
                played.finished, played.folded_step = at, self.step
            for replica in unit.replicas:
                if replica.state is ReplicaState.LEASED:
                    unit = life.give_up(unit, replica.id, ReplicaState.ABORTED)
            played.life = unit

    def _end(self, at: float, state: RunState, reason: str) -> None:
        self.state, self.reason = state, reason
        if state is RunState.PAUSED:
            self.say(at, "paused", "its researcher paused the run")
            return
        self.finished = at
        self._cancel(at, None)


def _welcome_late(unit: Unit, number: int) -> bool:
    """Whether an answer is taken though its lease has run out."""
    copy = unit.replica(number)
    again = any(r.volunteer == copy.volunteer and r.state in HOLDS_PLACE for r in unit.replicas)
    return copy.state is ReplicaState.EXPIRED and not again and unit.state is not UnitState.CANCELLED


def spoiled(value: Any) -> Any:
    """Return an answer that looks like this one, and is wrong."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\0"
    if isinstance(value, list):
        return value[:-1] if value else [[11.0, 5.731]]
    if isinstance(value, dict):
        return {name: part + 1 if type(part) is int else part for name, part in value.items()}
    return value + 1 if isinstance(value, int) else None
