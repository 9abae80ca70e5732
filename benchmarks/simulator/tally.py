"""What is counted of one world while it goes, and what is added up at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from dsage.states import ReplicaState, UnitState
from dsage_validator.reputation import supporters
from dsage_validator.unit import Unit

if TYPE_CHECKING:
    from simulator.world import World

MARKS: Final = (2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
"""Accepted results per host at which it is noted how things stand."""


class Mark(msgspec.Struct, frozen=True):
    """How things stood: copies computed, units with an accepted answer, and those of them whose answer is wrong."""

    units: int
    answers: int
    accepted: int
    wrong: int
    wrong_at_acceptance: int
    acceptances: int


class Dossier(msgspec.Struct, frozen=True):
    """What became of one host that is not honest, or was convicted: see `Tally.close`. Credit is in mean units."""

    kind: str
    answers: int
    lies: int
    left_wrong: int
    kept: float
    lost: float
    to_detect: int
    convictions: int
    convicted: bool


@dataclass
class Tally:
    """The counts of one world. `answers` are copies that were computed, also those that crashed; `leases` all that went
    out; `checks` answers that the server computed itself."""

    hosts: int
    leases: int = 0
    answers: int = 0
    checks: int = 0
    acceptances: int = 0
    wrong_at_acceptance: int = 0
    accepted: int = 0
    wrong: int = 0
    failed: int = 0
    reopened: int = 0
    honest: int = 0
    honest_convicted: int = 0
    honest_convicted_now: int = 0
    days: float = 0.0

    def __post_init__(self) -> None:
        self.marks: list[Mark] = []
        self.waits: list[float] = []
        self.dossiers: list[Dossier] = []
        self._waited: dict[int, float] = {}

    def changed(self, world: World, was: Unit, unit: Unit) -> None:
        """Count one change of a unit."""
        before, after = was.state is UnitState.VALID, unit.state is UnitState.VALID
        if before and (not after or was.canonical != unit.canonical):
            self.reopened += 1
            self.accepted -= 1
            self.wrong -= was.canonical in world.lies
        if after and (not before or was.canonical != unit.canonical):
            wrong = unit.canonical in world.lies
            self.acceptances += 1
            self.wrong_at_acceptance += wrong
            self.accepted += 1
            self.wrong += wrong
            self._waited[unit.id] = world.now - world.begun[unit.id]
            if len(self.marks) < len(MARKS) and self.accepted >= MARKS[len(self.marks)] * self.hosts:
                self.mark(MARKS[len(self.marks)])

    def mark(self, units: int) -> None:
        """Note how things stand."""
        mark = Mark(units, self.answers, self.accepted, self.wrong, self.wrong_at_acceptance, self.acceptances)
        self.marks.append(mark)

    def close(self, world: World) -> None:
        """Add up: per host that is not honest, the wrong results that it alone answers for in the end, the credit kept
        for wrong answers, and what its right ones lost."""
        wrong: dict[int, int] = {}
        kept: dict[int, float] = {}
        lost: dict[int, float] = {}
        mean = sum(world.size_milli) / max(1, len(world.size_milli) - 1)
        for unit in world.units[1:]:
            self.failed += unit.state is UnitState.FAILED
            if unit.state is UnitState.VALID and unit.canonical in world.lies:
                camp = supporters(unit)
                wrong[camp[0].host] = wrong.get(camp[0].host, 0) + 1
            for r in unit.replicas:
                if r.state is ReplicaState.VALID and r.id in world.lies:
                    kept[r.host] = kept.get(r.host, 0.0) + world.size_milli[unit.id] / mean
                elif r.state is ReplicaState.INVALID and r.id not in world.lies:
                    lost[r.host] = lost.get(r.host, 0.0) + world.size_milli[unit.id] / mean
        for each in world.hosts:
            n, now = each.number, world.rule.convicted(each)
            if each.behaviour.honest:
                self.honest += 1
                self.honest_convicted += each.convictions > 0
                self.honest_convicted_now += now
                continue
            self.dossiers.append(
                Dossier(
                    each.behaviour.name,
                    each.answers,
                    each.lies,
                    wrong.get(n, 0),
                    kept.get(n, 0.0),
                    lost.get(n, 0.0),
                    each.detected - each.first_lie if each.detected >= 0 else -1,
                    each.convictions,
                    now,
                )
            )
        self.waits = sorted(self._waited.values())
        self.days = world.now / 86_400.0
