"""The event loop: hosts call, report, and take units from the real ready queue; leases run out; hosts come and go.

Every change of a unit goes through `World.change`, whoever decides it: the queue, the records of hosts and the counts
follow from there, as they do in the server after a commit. There is no database, and no clock but `World.now`.
"""

from __future__ import annotations

import copy
import heapq
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from dsage.errors import Conflict
from dsage.states import ReplicaState, UnitState
from dsage_server.scheduling import policy
from dsage_server.scheduling.blame import Blame
from dsage_server.scheduling.deadlines import deadline_s
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.shares import FairShare
from dsage_server.scheduling.terms import REFERENCE_S_PER_MILLI, Needs, ReadyUnit, RunTerms
from dsage_validator import contest, issuing, life
from dsage_validator.unit import Replica, Unit
from simulator.adversaries import RIGHT, Behaviour
from simulator.hosts import HOUR, Held, Host, host
from simulator.rules import Rule
from simulator.tally import Tally

RUN: Final = 1
NEEDS: Final = Needs()
MEDIAN_MILLI: Final = 30_000
"""Half an hour of the reference computer."""
SIZE_SIGMA: Final = 0.5
UNIT_DEADLINE_S: Final = 86_400.0
AHEAD: Final = 200
"""Units made at a time, when fewer copies than that wait."""
JOIN_S: Final = 86_400.0
"""Within which time the first hosts join."""
RETRY_S: Final = 1800.0
"""How soon a host asks again that got nothing; twice as long each further time, up to MAX_RETRIES times."""
MAX_RETRIES: Final = 3
REBIRTH_S: Final = 86_400.0
"""A person who was convicted gets one new invite in this time."""
ENDLESS_S: Final = 5 * 365 * 86_400.0
_LOST: Final = frozenset({ReplicaState.INVALID, ReplicaState.ERROR, ReplicaState.EXPIRED})
_OUT: Final = frozenset({ReplicaState.LEASED, ReplicaState.EXPIRED, ReplicaState.REPORTED})


@dataclass(frozen=True)
class Setting:
    """Who is there: `hosts` at a time, of whom the given shares behave differently; `units` for each host on average.
    `life_days`: how long a host takes part (the scale of it; 0: for ever); others come for those who leave."""

    name: str
    hosts: int
    units: int
    others: Sequence[tuple[Callable[[], Behaviour], float]] = ()
    life_days: float = 0.0


class World:
    """One setting under one rule, with one seed."""

    def __init__(self, setting: Setting, rule: Rule, seed: int) -> None:
        self.setting, self.rule, self.rng, self.now = setting, rule, Random(seed), 0.0
        self.key = seed.to_bytes(8, "big")
        self.ready, self.shares, self.blame = ReadyQueue(Random(seed)), FairShare(), Blame()
        self.ready.open_run(RunTerms(run=RUN, project="simulated", researcher=b"r"))
        self.units: list[Unit] = [life.created(0, 1)]
        self.size_milli = array("l", [0])
        self.begun = array("d", [0.0])
        self.hosts: list[Host] = []
        self.kin: dict[int, list[Host]] = {}
        self.lies: dict[int, int] = {}
        """Wrong answers by replica; all others are right."""
        self.leased: dict[int, float] = {}
        """When each copy was leased."""
        self.total = setting.hosts * setting.units
        self.settled = 0
        self.contested: set[int] = set()
        """Accepted units whose answer somebody contests: the end of a run waits for what becomes of them."""
        self.tally = Tally(setting.hosts)
        self._replicas = 0
        self._calls: list[tuple[float, int, Host]] = []
        self._orders = 0
        self._leases: list[tuple[float, int, list[Held]]] = []
        rule.begin(self)
        self._people(seed)

    # -- the course of time ------------------------------------------------------------------------------------------

    def run(self) -> Tally:
        """Let the world go until every unit has ended and nothing is asked any more; return what was counted."""
        while self._calls and self.now < ENDLESS_S:
            if self.settled >= self.total and not self.contested and not self.rule.closes():
                break
            self.now, _, who = heapq.heappop(self._calls)
            while self._leases and self._leases[0][0] <= self.now:
                self._run_out(heapq.heappop(self._leases)[2])
            calls = [at for each in (who, *who.followers) if (at := self._call(each)) is not None]
            if calls:
                self._call_at(max(calls), who)
        self.tally.close(self)
        return self.tally

    def _people(self, seed: int) -> None:
        number = 0
        for make, share in self.setting.others:
            for _ in range(max(1, round(share * self.setting.hosts))):
                behaviour = make()
                if number % behaviour.crew:
                    self._follow(self.hosts[-(number % behaviour.crew)])
                else:
                    self.join(behaviour, JOIN_S * self.rng.random())
                number += 1
        for _ in range(self.setting.hosts - number):
            self.join(Behaviour(), JOIN_S * self.rng.random())

    def join(self, behaviour: Behaviour, at: float, kin: int | None = None) -> Host:
        """Let a new host take part from a time on."""
        made = self._host(behaviour, at, kin)
        self._call_at(at, made)
        return made

    def _follow(self, leader: Host) -> None:
        """Add a host of the same mind as another, which calls right after it, each time."""
        follower = self._host(leader.behaviour, leader.on_until, None)
        follower.batch, follower.place = leader.batch, len(leader.followers) + 1
        leader.followers.append(follower)

    def _host(self, behaviour: Behaviour, at: float, kin: int | None) -> Host:
        number = len(self.hosts) + 1
        kin = kin if kin is not None else 0 if behaviour.clan else number
        made = host(number, kin, behaviour, at, self.rng, life_days=self.setting.life_days)
        self.hosts.append(made)
        self.kin.setdefault(made.kin, []).append(made)
        return made

    def _call_at(self, at: float, who: Host) -> None:
        self._orders += 1
        heapq.heappush(self._calls, (at, self._orders, who))

    def _call(self, who: Host) -> float | None:
        """Let a host report and ask; return when it calls again, None if it never does."""
        if self.now >= who.leaves:
            self.join(copy.copy(who.behaviour), self.now + HOUR)
            return None
        who.view.record.seen(self.now)
        for held in who.held:
            self._report(who, held)
        who.held = []
        if who.behaviour.reborn and who.standing.lies:
            self.join(copy.copy(who.behaviour), self.now + REBIRTH_S, who.kin)
            return None
        if self.ready.unsent < AHEAD:
            self._make()
        choice = policy.choose(self.ready, self.shares, who.view, self.rule.may_have(who), self.now)
        if not choice.copies:
            again = self.now + RETRY_S * (1 << who.refused) * (0.5 + self.rng.random())
            who.refused = min(MAX_RETRIES, who.refused + 1)
            return again
        who.refused = 0
        work_s = sum([self._lease(who, each) for each in choice.copies])
        who.view.record.sent(len(choice.copies), self.now)
        at, lost = who.works(work_s, len(choice.copies), self.now, self.rng)
        if lost:
            who.held = []
        return at

    # -- units -------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        numbers = range(len(self.units), min(len(self.units) + AHEAD, self.total + 1))
        for number in numbers:
            self.units.append(self.rule.created(number))
            self.size_milli.append(int(MEDIAN_MILLI * self.rng.lognormvariate(0.0, SIZE_SIGMA)))
            self.begun.append(-1.0)
            self._queue(self.units[number])
        self.rule.made(numbers)

    def _queue(self, unit: Unit) -> None:
        if not unit.unsent:
            self.ready.drop(unit.id)
            return
        barred = frozenset([r.volunteer for r in unit.replicas if not issuing.may_take(unit, r.volunteer)])
        if unit.replicas:
            barred |= self.rule.barred(unit)
        ready = ReadyUnit(
            unit=unit.id, run=RUN, unsent=unit.unsent, needs=NEEDS, barred=barred, deadline_s=UNIT_DEADLINE_S,
            credit_milli=self.size_milli[unit.id], freed=len(unit.replicas) + unit.unsent > unit.quorum,
        )  # fmt: skip
        self.ready.put(ready)

    def _lease(self, who: Host, copy: ReadyUnit) -> float:
        unit = self.units[copy.unit]
        if self.begun[unit.id] < 0:
            self.begun[unit.id] = self.now
        self._replicas += 1
        deadline = self.now + deadline_s(copy.deadline_s, copy.credit_milli, who.view.record)
        replica = Replica(
            id=self._replicas, volunteer=who.number, host=who.number, deadline=deadline, hard_deadline=math.inf
        )
        self.tally.leases += 1
        who.behaviour.took(-unit.id if unit.final else unit.id, who.place)
        who.open.add(unit.id)
        held = Held(unit.id, replica.id, copy.credit_milli, self.now)
        self.leased[replica.id] = self.now
        who.held.append(held)
        heapq.heappush(self._leases, (deadline, replica.id, [held]))
        self.change(self.rule.lease(unit, who, replica))
        return copy.credit_milli * REFERENCE_S_PER_MILLI

    def _run_out(self, lost: Sequence[Held]) -> None:
        for held in lost:
            unit = self.units[held.unit]
            if any(r.id == held.replica and r.state is ReplicaState.LEASED for r in unit.replicas):
                self.change(life.expire(unit, self.now))

    def _report(self, who: Host, held: Held) -> None:
        unit = self.units[held.unit]
        state = unit.replica(held.replica).state
        if held.credit_milli > who.behaviour.most_milli:
            if state is ReplicaState.LEASED:
                self.change(life.give_up(unit, held.replica, ReplicaState.RETURNED))
            return
        self.tally.answers += 1
        if self.rng.random() < who.crashes:
            if state is ReplicaState.LEASED:
                self.change(life.give_up(unit, held.replica, ReplicaState.ERROR))
            return
        value = who.behaviour.answer(unit.id, self.rule.trusts(who), self.rng)
        who.answers += 1
        if value != RIGHT:
            self.lies[held.replica] = value
            who.lies += 1
            who.first_lie = who.answers if who.first_lie < 0 else who.first_lie
        work_s = held.credit_milli * REFERENCE_S_PER_MILLI
        who.view.record.answered(held.credit_milli, work_s / who.speed, self.now - held.leased, self.now)
        try:
            self.change(life.report(unit, held.replica))
        except Conflict:
            return
        self.change(self.judged(self.units[held.unit], held.replica, value))

    def judged(self, unit: Unit, replica: int, value: int) -> Unit:
        """Return a unit after a new answer was compared with the centres of its camps."""
        camps = [c for c in life.centres(unit) if self.lies.get(c, RIGHT) == value]
        camp = min(camps, default=replica)
        after = life.judge(unit, replica, camp=camp, proof=self.rule.proof(unit, camp == replica, value))
        return life.overruled(after) if contest.outvoted(after) else after

    def change(self, unit: Unit) -> None:
        """Take note of how a unit stands now, and of all that follows."""
        was = self.units[unit.id]
        if unit is was:
            return
        self.units[unit.id] = unit
        if unit.final is not was.final:
            self.settled += 1 if unit.final else -1
        if unit.adaptive and contest.contesting(unit):
            self.contested.add(unit.id)
        else:
            self.contested.discard(unit.id)
        self._queue(unit)
        self._learn(was, unit)
        self.tally.changed(self, was, unit)
        self.rule.learn(was, unit)

    def _learn(self, was: Unit, unit: Unit) -> None:
        """Note for the hosts what became of their copies, as the server does."""
        before = {r.id: r.state for r in was.replicas}
        valid = unit.state is UnitState.VALID
        if valid:
            for number, n in self.blame.answered(RUN).items():
                self.hosts[number - 1].view.record.failed(n)
        for r in unit.replicas:
            state = r.state
            if state is before.get(r.id):
                continue
            who = self.hosts[r.host - 1]
            if state is ReplicaState.VALID:
                who.view.record.validated()
                who.stood.append(unit.id)
            elif state is ReplicaState.ERROR and not self.blame.failed(RUN, r.host, self.now):
                who.view.record.stopped()
            elif state in _LOST:
                who.view.record.failed()
                if state is ReplicaState.INVALID and r.id in self.lies and who.detected < 0:
                    who.detected = who.answers
            if state not in _OUT:
                who.open.discard(unit.id)
