"""Which worlds are tried, under which rules, and how much of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec

from dsage_server.store.known import SHARE
from dsage_validator.reputation import RULES, Rules
from simulator import adversaries as who
from simulator.rules import Boinc, Ours, Rule
from simulator.tally import Dossier, Mark
from simulator.world import Setting, World

Others = tuple[tuple[Callable[[], who.Behaviour], float], ...]

WORLDS: Final[dict[str, tuple[str, Others]]] = {
    "honest": ("everybody honest, crashes and lost leases only", ()),
    "liars": ("2 % lie in 30 % of their answers, each in its own way", ((partial(who.Liar, 0.3), 0.02),)),
    "rare liars": ("2 % lie in 2 % of their answers", ((partial(who.Liar, 0.02), 0.02),)),
    "colluders": ("10 % always tell the same lie", ((partial(who.Colluder, 1.0), 0.1),)),
    "sleepers": ("5 % are honest until their word alone is taken, and always lie then",
                 ((partial(who.Sleeper, 1.0), 0.05),)),
    "colluding sleepers": ("10 % sleepers who tell the same lie", ((partial(who.Conspirator, 1.0), 0.1),)),
    "Sybils": ("5 % colluders of one person, each under a new name a day after it was convicted",
               ((partial(who.Sybil, 1.0), 0.05),)),
    "copiers": ("5 % share answers instead of computing, one of 20 wrong", ((partial(who.Copier, 0.05), 0.05),)),
    "constants": ("2 % return a constant, 20 times as fast as one can compute", ((partial(who.Constant, 1.0), 0.02),)),
    "credit farmers": ("2 % return at once what is right one time in five", ((partial(who.Farmer, 0.8), 0.02),)),
    "cherry-pickers": ("5 % hand back long units, and lie in 10 % of the others", ((partial(who.Picker, 0.1), 0.05),)),
    "accomplices": ("3 % are accounts of one person, three in a row that call one right after the other",
                    ((partial(who.Accomplices, 1.0), 0.03),)),
    "bad memory": ("10 % are honest and wrong in one answer of 1,000", ((partial(who.BadMemory, 0.001), 0.1),)),
}  # fmt: skip
CROWDED: Final = {
    "long": frozenset({"liars", "rare liars", "bad memory"}),
    "short": frozenset({"liars", "rare liars", "cherry-pickers", "bad memory"}),
}  # fmt: skip
"""Worlds with so few who are not honest, or so few lies, that more hosts are asked for."""
EVERY: Final[dict[str, Callable[[], Rule]]] = {
    "DSage": Ours, "BOINC": Boinc, "quorum 2": partial(Rule, 2), "quorum 3": partial(Rule, 3),
    "no checking": partial(Rule, 1),
}  # fmt: skip
LEARN: Final = ("DSage", "BOINC")
FIXED: Final = tuple([rule for rule in EVERY if rule not in LEARN])
CHECKED: Final = "DSage, server checks 0.5 %"
UNCLOSED: Final = "DSage, last words unchecked"
UNKNOWN: Final = "DSage, no known answers"
UNWATCHED: Final = "DSage, nobody stands out"
OPTIONS: Final[dict[str, Callable[[], Rule]]] = {
    "DSage": Ours,
    "DSage, kin kept apart": partial(Ours, pairing=True),
    UNCLOSED: partial(Ours, closing=False),
    UNKNOWN: partial(Ours, known=0.0),
    "DSage, four times the known answers": partial(Ours, known=4 * SHARE),
    UNWATCHED: partial(Ours, watch=False),
    CHECKED: partial(Ours, spot=0.005),
    "DSage, server decides disputes": partial(Ours, arbiter=True),
    "DSage, probation 20": partial(Ours, Rules(probation=20.0, audit=RULES.audit)),
    "DSage, audit 6 %": partial(Ours, Rules(probation=RULES.probation, audit=0.06)),
}
BESIDE: Final = {
    ("long", "honest"): (UNKNOWN,), ("long", "accomplices"): (UNKNOWN,), ("short", "honest"): (UNCLOSED, UNKNOWN),
    ("short", "sleepers"): (UNCLOSED,), ("short", "colluding sleepers"): (UNCLOSED,),
    ("short", "accomplices"): (UNKNOWN,), ("short", "credit farmers"): (UNWATCHED,),
}  # fmt: skip
"""What is tried beside the rules that learn, by part and world."""
SHARED: Final = {
    "colluders": ("DSage", CHECKED, "BOINC", "quorum 2"),
    "colluding sleepers": ("DSage", "BOINC", "quorum 2"),
}
OPTION_WORLDS: Final = ("honest", "colluding sleepers", "Sybils", "rare liars")
RATES: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
TURN: Final = 100
"""Answers after which turncoats turn."""
SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much is tried: (hosts, seeds) of worlds with 1,000 and with 100 units per host, under rules that learn (and
    how many times the hosts in CROWDED worlds) and under those that do not, and of those beside."""

    long: tuple[int, int, int]
    long_fixed: tuple[int, int]
    short: tuple[int, int, int]
    short_fixed: tuple[int, int]
    side: tuple[int, int]
    share_seeds: int


USUAL: Final = Size(
    long=(80, 2, 2), long_fixed=(50, 1), short=(250, 2, 6), short_fixed=(100, 1), side=(100, 1), share_seeds=2
)
FULL: Final = Size(
    long=(300, 10, 1), long_fixed=(300, 3), short=(1500, 10, 1), short_fixed=(1000, 3), side=(300, 5), share_seeds=20
)
TINY: Final = Size(
    long=(20, 1, 1), long_fixed=(20, 1), short=(30, 2, 2), short_fixed=(20, 1), side=(20, 1), share_seeds=1
)
"""For trying the program itself."""


class Job(msgspec.Struct, frozen=True):
    """One world to be gone through: `part` says what for; `share`: of those who are not honest, or how often they lie
    where that is what is tried."""

    part: str
    world: str
    rule: str
    hosts: int
    units: int
    seed: int
    share: float = 0.0
    life_days: float = 0.0

    @property
    def work(self) -> float:
        """How long it takes, in something."""
        return self.hosts * self.units * {"quorum 2": 2.0, "quorum 3": 3.0}.get(self.rule, 1.2)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one world."""

    job: Job
    leases: int
    answers: int
    checks: int
    acceptances: int
    wrong_at_acceptance: int
    accepted: int
    wrong: int
    failed: int
    reopened: int
    honest: int
    honest_convicted: int
    honest_convicted_now: int
    days: float
    median_wait_h: float
    p99_wait_h: float
    marks: list[Mark]
    dossiers: list[Dossier]


def learners(part: str, world: str) -> tuple[str, ...]:
    """Return the rules that learn, and what is tried beside them in this world."""
    return *LEARN, *BESIDE.get((part, world), ())


def jobs(size: Size) -> Iterator[Job]:
    """Yield all worlds to be tried."""
    for part, units, learning, fixed in (
        ("long", 1000, size.long, size.long_fixed),
        ("short", 100, size.short, size.short_fixed),
    ):
        for name in WORLDS:
            hosts, seeds = learning[0] * (learning[2] if name in CROWDED[part] else 1), range(1, learning[1] + 1)
            yield from [Job(part, name, rule, hosts, units, seed) for rule in learners(part, name) for seed in seeds]
            hosts, seeds = fixed[0], range(1, fixed[1] + 1)
            yield from [Job(part, name, rule, hosts, units, seed) for rule in FIXED for seed in seeds]
    yield from _shares(size)
    hosts = size.side[0]
    for seed in range(1, size.side[1] + 1):
        for rule in OPTIONS:
            yield from [Job("option", name, rule, hosts, 300, seed) for name in OPTION_WORLDS]
        for rate in RATES:
            yield from [Job("rate", "sleepers", rule, hosts, 300, seed, rate) for rule in LEARN]
        for share in SHARES:
            yield Job("turn", "colluders", "DSage", hosts, 300, seed, share)
        yield from [Job("churn", "honest", rule, hosts, 300, seed, 0.0, 8.0) for rule in LEARN]


def _shares(size: Size) -> Iterator[Job]:
    for seed in range(1, size.share_seeds + 1):
        for share in SHARES:
            for name, rules in SHARED.items():
                yield from [Job("share", name, rule, size.side[0], 100, seed, share) for rule in rules]


def outcome(job: Job) -> Outcome:
    """Go through one world."""
    others = WORLDS[job.world][1]
    if job.part == "rate":
        others = ((partial(who.Sleeper, job.share), 0.1),)
    elif job.part == "turn":
        others = ((partial(who.Turncoat, 1.0, TURN), job.share),)
    elif job.share:
        others = tuple((make, job.share) for make, _ in others)
    rule = (OPTIONS | EVERY)[job.rule]()
    tally = World(Setting(job.world, job.hosts, job.units, others, job.life_days), rule, job.seed).run()
    waits = tally.waits or [0.0]
    return Outcome(
        job=job, leases=tally.leases, answers=tally.answers, checks=tally.checks, acceptances=tally.acceptances,
        wrong_at_acceptance=tally.wrong_at_acceptance, accepted=tally.accepted, wrong=tally.wrong,
        failed=tally.failed, reopened=tally.reopened, honest=tally.honest, honest_convicted=tally.honest_convicted,
        honest_convicted_now=tally.honest_convicted_now, days=tally.days, marks=tally.marks, dossiers=tally.dossiers,
        median_wait_h=waits[len(waits) // 2] / 3600, p99_wait_h=waits[int(len(waits) * 0.99)] / 3600,
    )  # fmt: skip
