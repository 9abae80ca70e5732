"""Volunteers, their computers and teams, made up from a seed: who they are, and who is there on which day."""

from __future__ import annotations

import hashlib
import random
from array import array
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dsage.trust.keys import PrivateKey
from dsage_server.pseudonyms import FIRST, SECOND
from dsage_server.seeding import words
from dsage_server.seeding.groups import Team, grouped

DAY_S: Final = 86400.0
HABITS: Final = {
    "always": (0.96, 0.96),
    "office": (0.88, 0.08),
    "weekend": (0.15, 0.85),
    "now and then": (0.25, 0.3),
}
"""How likely a computer is on: on a weekday, and on a day of the weekend."""
HABIT_SHARES: Final = (0.22, 0.3, 0.18, 0.3)
LAPSED: Final = 0.25
"""Volunteers who have stopped by now."""
ERASED: Final = 0.015
TELLING: Final = 0.7
"""Of those who are listed, how many tell their country, and how many show their computers."""
GIB: Final = 1 << 30

T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """How much to make up: `ledger` is about how many rows of credit, over `days`."""

    volunteers: int = 300
    days: int = 60
    ledger: int = 40_000


@dataclass(slots=True)
class Machine:
    """A volunteer's computer. `speed` is in cores of the reference machine; `nature` is honest, flaky or liar."""

    id: int
    owner: Person
    name: str
    platform: str
    client: str
    cores: int
    memory_bytes: int
    sandbox: str
    speed: float
    nature: str
    created: float
    seen: float
    gone: float | None = None


@dataclass(slots=True)
class Person:
    """A volunteer; `until` is when they stopped, `erased` whether their account is forgotten; `before` are teams that
    they have left, with when they came and went."""

    id: int
    pseudonym: str
    created: float
    until: float
    habit: str
    listed: bool
    named: bool
    exported: bool
    withdrawn: float | None
    verifiable_only: bool
    erased: bool
    team: int | None = None
    team_since: float | None = None
    before: list[tuple[int, float, float]] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    country: str = ""
    devices: bool = False

    def team_at(self, at: float) -> int | None:
        """Return the team that they were in at a time."""
        if self.team_since is not None and self.team_since <= at:
            return self.team
        return next((team for team, since, until in self.before if since <= at < until), None)


@dataclass(frozen=True, slots=True)
class Present:
    """The computers that are there on a day, and their shares of the work, summed up one after the other."""

    machines: list[Machine]
    cumulated: array[float]


@dataclass(slots=True)
class Crowd:
    """Everybody, by rising ids."""

    seed: int
    people: list[Person]
    teams: list[Team]
    _days: dict[int, Present] = field(default_factory=dict)

    def machines(self) -> list[Machine]:
        """Return all computers by id."""
        return [machine for person in self.people for machine in person.machines]

    def present(self, day: int) -> Present:
        """Return who is there on a day (since 1970)."""
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = self._drawn(day)
        return known

    def _drawn(self, day: int) -> Present:
        rng = random.Random(f"{self.seed}/present/{day}")
        weekend = (day + 3) % 7 >= 5
        start = day * DAY_S
        there = []
        for person in self.people:
            if person.created > start or person.until < start + DAY_S:
                continue
            likely = HABITS[person.habit][weekend]
            there += [m for m in person.machines if m.created <= start and rng.random() < likely]
        return Present(there, array("d", accumulate(m.speed for m in there)))


def host_key(seed: int, number: int) -> PrivateKey:
    """Return the key of a made-up computer."""
    secret = hashlib.sha256(f"{seed}/host/{number}".encode()).digest()
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(secret))


def crowd(size: Size, seed: int, now: float) -> Crowd:
    """Return so many volunteers with their computers and teams; `now` is in Unix seconds."""
    rng = random.Random(f"{seed}/people")
    begin = now - size.days * DAY_S
    names: set[str] = set()
    people, machines = [], 0
    # A few were there from the start; then they come by word of mouth, ever more.
    joined = sorted(begin + (now - begin) * 0.97 * max(0.0, rng.random() ** 0.6 - 0.12) for _ in range(size.volunteers))
    for number, created in enumerate(joined, start=1):
        person = _person(rng, number, _name(rng, names), created, now)
        for _ in range(rng.choices((1, 2, 3, 5), (0.66, 0.22, 0.09, 0.03))[0]):
            machines += 1
            person.machines.append(_machine(rng, machines, person, now))
        people.append(person)
    _mark(rng, people)
    _tell(random.Random(f"{seed}/told"), people)
    return Crowd(seed, people, grouped(rng, people, begin, now, seed))


def _name(rng: random.Random, taken: set[str]) -> str:
    while True:
        name = f"{rng.choice(FIRST)}-{rng.choice(SECOND)}-{rng.randrange(100, 1000)}"
        if name not in taken:
            taken.add(name)
            return name


def _person(rng: random.Random, number: int, name: str, created: float, now: float) -> Person:
    lapsed = rng.random() < LAPSED
    until = created + (now - created) * rng.uniform(0.2, 0.9) if lapsed else now + DAY_S
    erased = lapsed and rng.random() < ERASED / LAPSED
    listed = not erased and rng.random() < 0.58
    exported = listed and rng.random() < 0.3
    withdrawn = until if not exported and rng.random() < 0.02 else None
    return Person(
        number, f"left-{number}" if erased else name, created, until,
        rng.choices(tuple(HABITS), HABIT_SHARES)[0], listed, listed and rng.random() < 0.85, exported, withdrawn,
        rng.random() < 0.15, erased,
    )  # fmt: skip


def _machine(rng: random.Random, number: int, owner: Person, now: float) -> Machine:
    cores = _drawn(rng, words.CORES)
    later = (min(owner.until, now) - owner.created) * rng.random() * 0.5 if owner.machines else 0.0
    created = owner.created + later
    speed = cores * rng.uniform(0.35, 1.25) * rng.lognormvariate(0.0, 0.45)
    silent = rng.choice((rng.uniform(1, 55), rng.uniform(60, 1500), rng.uniform(1500, 60_000)))
    seen = max(min(owner.until, now) - (silent if owner.until > now else 0.0), created)
    platform = _drawn(rng, words.PLATFORMS)
    return Machine(
        number, owner, rng.choice(words.COMPUTERS), platform, _drawn(rng, words.CLIENTS), cores,
        rng.choice((1, 2, 2, 4)) * cores * GIB, _sandbox(rng, platform), speed,
        "honest", created, seen, owner.until if owner.until <= now and (owner.erased or rng.random() < 0.4) else None,
    )  # fmt: skip


def _sandbox(rng: random.Random, platform: str) -> str:
    """Return what a client found to keep work in: of these, only Linux has any."""
    drawn = "bubblewrap" if rng.random() < 0.86 else "landlock"
    return drawn if platform.startswith("linux") else ""


def _drawn(rng: random.Random, shares: tuple[tuple[T, float], ...]) -> T:
    return rng.choices([each for each, _ in shares], [share for _, share in shares])[0]


def _tell(rng: random.Random, people: list[Person]) -> None:
    """Let some of those who are listed tell where they are, and show their computers."""
    for person in people:
        if person.listed and rng.random() < TELLING:
            person.country = _drawn(rng, words.COUNTRIES)
        person.devices = person.listed and rng.random() < TELLING


def _mark(rng: random.Random, people: list[Person]) -> None:
    """Make some computers fail, and a few lie: among them some that work much, so that it is seen."""
    busy = [m for person in people for m in person.machines if person.habit == "always" and not person.erased]
    fast = sorted(busy, key=lambda machine: -machine.speed)[: max(len(busy) // 3, 12)]
    odd = rng.sample(fast, min(len(fast), max(6, len(people) // 30)))
    for index, machine in enumerate(odd):
        machine.nature = "liar" if index % 3 == 0 else "flaky"
