"""The server's eyes for what is odd, once a simulated day: `dsage_validator.outliers` over the latest right answers of
every host. Who stands out is checked more often until it does no longer."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsage.states import ReplicaState, UnitState
from dsage_server.scheduling.terms import REFERENCE_S_PER_MILLI
from dsage_validator.outliers import AUDIT, CHECKED, Answer, Profile, outliers
from dsage_validator.reputation import supporters
from dsage_validator.unit import Unit
from simulator.adversaries import RIGHT

if TYPE_CHECKING:
    from simulator.world import World

LATEST: Final = 64
LOOK_S: Final = 86_400.0
JITTER: Final = 0.03
"""How far the times of a computer differ that does the same again: log-normal."""
APP: Final = "simulated"


class Watch:
    """What is kept of hosts' answers, and when they were looked at last."""

    def __init__(self) -> None:
        self._latest: dict[int, deque[Answer]] = {}
        self._looked = 0.0
        self._rng = Random(1)

    def learn(self, world: World, was: Unit, unit: Unit) -> None:
        """Keep what was found right now; look at all hosts, if it is time."""
        if unit.state is UnitState.VALID:
            before = {r.id: r.state for r in was.replicas}
            camp = supporters(unit)
            for r in camp:
                if r.state is ReplicaState.VALID and before.get(r.id) is not ReplicaState.VALID:
                    partners = tuple([other.volunteer for other in camp if other.id != r.id])
                    self._latest.setdefault(r.host, deque(maxlen=LATEST)).append(
                        self._answer(world, unit.id, r.host, r.id, partners)
                    )
        if world.now - self._looked >= LOOK_S:
            self._looked = world.now
            self._look(world)

    def _answer(self, world: World, unit: int, host: int, copy: int, partners: tuple[int, ...]) -> Answer:
        reference_s = world.size_milli[unit] * REFERENCE_S_PER_MILLI
        took_s = reference_s / world.hosts[host - 1].speed * self._rng.lognormvariate(0.0, JITTER)
        said = world.lies.get(copy, RIGHT)
        value = f"right {unit}" if said == RIGHT else f"lie {said}"
        return Answer(reference_s=reference_s, took_s=took_s, value=value, call=world.leased[copy], partners=partners)

    def _look(self, world: World) -> None:
        profiles = [Profile(host=n, volunteer=n, app=APP, answers=tuple(kept)) for n, kept in self._latest.items()]
        odd = {sign.host for sign in outliers(profiles) if sign.kind in CHECKED}
        for host in world.hosts:
            wanted = AUDIT if host.number in odd else 0.0
            if host.standing.audit != wanted:
                host.standing = replace(host.standing, audit=wanted)
                host.odd = host.odd or host.number in odd
