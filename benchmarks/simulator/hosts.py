"""The computers of the simulated world: how fast, how long on, how often they fail.

Only the shapes are taken from published traces of desktop grids; the scales are round numbers of our own, and no data
is read:

* Speeds are log-normal (Heien, Kondo & Anderson, "Correlated resource models of Internet end hosts", 2011: of
  SETI@home's hosts); a computer with more cores has faster ones too.
* Times that a computer is on are Weibull with a shape below 1, times off log-normal (Javadi, Kondo, Vincent & Anderson,
  "Discovering statistical models of availability in large distributed systems", 2011; the Failure Trace Archive).
* How long a computer takes part at all has a long tail (Weibull, shape 0.6).
* Errors are few, spread over many hosts, and one host's do not follow another's (Kondo et al., "Characterizing result
  errors in Internet desktop grids", 2007): a crash rate per host, log-normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.record import HostRecord
from dsage_server.scheduling.terms import HostOffer
from dsage_validator.reputation import Standing

if TYPE_CHECKING:
    from simulator.adversaries import Behaviour

HOUR: Final = 3600.0
SPEED_SIGMA: Final = 0.45
ON_SHAPE: Final = 0.6
ON_HOURS: Final = 5.0
OFF_MEDIAN_HOURS: Final = 5.0
OFF_SIGMA: Final = 1.1
LIFE_SHAPE: Final = 0.6
CRASHES: Final = 0.001
CRASH_SIGMA: Final = 1.0
FORGETS: Final = 0.01
"""Share of absences after which what the computer held is lost."""
CORES: Final = (1, 2, 2, 4, 4, 4, 8)


@dataclass(slots=True)
class Held:
    """One copy that a host has, and when it was leased."""

    unit: int
    replica: int
    credit_milli: int
    leased: float


@dataclass(slots=True, eq=False)
class Host:
    """One computer. `kin` is who invited it; `volunteer` is its account. `standing` and `streak` are what the policy
    under test knows of it."""

    number: int
    kin: int
    behaviour: Behaviour
    view: HostView
    speed: float
    cores: int
    batch: int
    crashes: float
    on_until: float
    leaves: float = math.inf
    held: list[Held] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    streak: int = 0
    refused: int = 0
    """How many times in a row it asked and got nothing."""
    answers: int = 0
    lies: int = 0
    first_lie: int = -1
    detected: int = -1
    """How many answers it had given when it lied first, and when a lie of it was refused first; -1: never."""
    convictions: int = 0
    odd: bool = False
    """Whether it stood out once, to a rule that watches."""
    open: set[int] = field(default_factory=set)
    followers: list[Host] = field(default_factory=list)
    """Hosts that call right after it, each time; `place` is where it stands in such a row itself."""
    place: int = 0
    stood: list[int] = field(default_factory=list)
    """Units in whose accepted camp it stood once."""

    def works(self, seconds: float, copies: int, now: float, rng: Random) -> tuple[float, bool]:
        """Return when so much work of the reference computer in so many copies is done that is begun now, and whether
        it was lost on the way."""
        left, lost = seconds / (self.speed * min(copies, self.cores)), False
        while now + left > self.on_until:
            left -= max(0.0, self.on_until - now)
            now = max(now, self.on_until) + rng.lognormvariate(math.log(OFF_MEDIAN_HOURS * HOUR), OFF_SIGMA)
            self.on_until = now + rng.weibullvariate(ON_HOURS * HOUR, ON_SHAPE)
            lost = lost or rng.random() < FORGETS
        return now + left, lost


def host(number: int, kin: int, behaviour: Behaviour, now: float, rng: Random, *, life_days: float = 0.0) -> Host:
    """Return a new computer that joins now; `life_days`: the scale of how long it takes part, 0 for ever."""
    cores = rng.choice(CORES)
    speed = rng.lognormvariate(0.08 * math.log2(cores), SPEED_SIGMA) * behaviour.haste
    view = HostView(host=number, volunteer=number, offer=HostOffer(cores=cores), record=HostRecord())
    return Host(
        number=number, kin=kin, behaviour=behaviour, view=view, speed=speed, cores=cores, batch=cores,
        crashes=CRASHES * rng.lognormvariate(0.0, CRASH_SIGMA),
        on_until=now + rng.weibullvariate(ON_HOURS * HOUR, ON_SHAPE),
        leaves=now + rng.weibullvariate(life_days * 86_400.0, LIFE_SHAPE) if life_days else math.inf,
    )  # fmt: skip
