"""What is known of one host's answers for one app version, and what follows: whether its word alone is taken.

Sarmenta's credibility ("Sabotage-tolerance mechanisms for volunteer computing systems", 2001): of hosts that passed k
checks of their answers, and are out with the first proven lie, no more than f / ((1 - f) e k) of the answers are wrong
if a share f of all hosts are saboteurs, however often these lie. So a newcomer is checked until that is small enough;
later its units are checked at random, by a share that never falls to zero. A check is an answer that another
volunteer's answer confirmed, or that proves itself; what is checked is drawn for each unit by a key, so nobody can
shop for units that are not.

A *proven lie* is an answer that was outvoted by a camp in which an established host stands, or that its app's `verify`
refused while it took another host's: a check that takes nobody's answer is broken itself. To be outvoted by newcomers
is a *doubt*: it takes away what was earned, and convicts nobody. Everything here can be taken back: when an accepted
answer falls, what it proved of others falls with it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from dsage.states import ReplicaState, UnitState
from dsage_validator.unit import Replica, Trust, Unit

MAX_LIES: Final = 4
"""After so many lies each further one makes the way back no longer."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How much has to be known. `probation`: checks passed before a host's word alone is taken, four times as many
    after each proven lie. `audit`: the share of its units that is checked all the same, for ever. What was passed
    counts half after `half_life_s` seconds.

    The numbers are the simulator's (docs/trust.md). A probation of 20 costs an honest world 5 points more in its first
    hundred units, and in the end leaves no fewer wrong results than 10: what a liar got accepted is looked at again
    when it is found out, and that is a matter of the audit. With twice as many checks after a lie, those who lie again
    as soon as they are trusted again are in the middle of it more often when a run ends."""

    probation: float = 10.0
    audit: float = 0.03
    half_life_s: float = 90 * 86_400.0


RULES: Final = Rules()


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of a host for an app version: checks `passed`, as they stood at `at` (in seconds), and proven `lies`. While it
    stands out, a share `audit` of its units is checked, if that is more than the others'."""

    passed: float = 0.0
    lies: int = 0
    at: float = 0.0
    audit: float = 0.0

    def checks(self, now: float, rules: Rules = RULES) -> float:
        """Return how many checks passed count at `now`; a clock that was set back makes nobody better."""
        return self.passed * math.exp2(-max(0.0, now - self.at) / rules.half_life_s)

    def established(self, now: float, rules: Rules = RULES) -> bool:
        """Whether it has passed what is asked of it; the last check may have begun to fade."""
        return self.checks(now, rules) > rules.probation * (1 << 2 * min(self.lies, MAX_LIES)) - 1.0

    def distrusted(self, now: float, rules: Rules = RULES) -> bool:
        """Whether it was found lying, and has not made up for that."""
        return self.lies > 0 and not self.established(now, rules)

    def trust(self, draw: float, now: float, rules: Rules = RULES) -> Trust:
        """Return how far its next answer is trusted, for a unit whose draw is this (0 <= draw < 1)."""
        if not self.established(now, rules):
            return Trust.LOST if self.lies else Trust.NEW
        return Trust.KNOWN if draw < max(rules.audit, self.audit) else Trust.ALONE

    def may_have(self, want: int, undecided: int, now: float, rules: Rules = RULES) -> int:
        """Return how many of the copies that it wants a host may have, of which so many are out or not judged.

        One that was found lying gets a copy at a time: each of its answers costs another host's as well.
        """
        return want if not self.distrusted(now, rules) else int(want > 0 and not undecided)


class Kind(StrEnum):
    """What an event says of a host."""

    PASSED = "passed"
    LIED = "lied"
    DOUBTED = "doubted"
    UNPASSED = "unpassed"
    """A check that it passed counts no more: the answer that confirmed its own fell."""
    CLEARED = "cleared"
    """A lie counts no more: the answer that it was measured by fell."""
    DECIDED = "decided"
    """Its answer had fallen, and the unit has an accepted one again: the same, or another."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What one copy of a unit says of its host now."""

    kind: Kind
    replica: int
    host: int


def weighed(standing: Standing, kind: Kind, now: float, rules: Rules = RULES) -> Standing:
    """Return a standing after a piece of evidence."""
    checks = standing.checks(now, rules)
    match kind:
        case Kind.PASSED:
            return replace(standing, passed=checks + 1.0, at=now)
        case Kind.UNPASSED:
            return replace(standing, passed=max(0.0, checks - 1.0), at=now)
        case Kind.DOUBTED:
            return replace(standing, passed=0.0, at=now)
        case Kind.LIED:
            return replace(standing, passed=0.0, lies=standing.lies + 1, at=now)
        case Kind.CLEARED:
            return replace(standing, lies=max(0, standing.lies - 1), at=now)
        case Kind.DECIDED:
            return standing


def drawn(key: bytes, unit: int) -> float:
    """Return the draw of a unit, evenly spread over 0 <= draw < 1: the same for whoever asks, and no host knows it."""
    digest = hashlib.blake2b(unit.to_bytes(8, "big", signed=True), key=key, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def evidence(was: Unit, unit: Unit) -> Iterator[Evidence]:
    """Yield what the change of a unit says of the hosts that answered it: nothing, before it has an accepted answer."""
    before = {r.id: r for r in was.replicas}
    fell = was.state is UnitState.VALID and unit.canonical != was.canonical
    if fell:
        old = supporters(was)
        yield from [Evidence(Kind.UNPASSED, r.id, r.host) for r in old if _confirmed(r, old)]
        yield from [Evidence(Kind.CLEARED, r.id, r.host) for r in was.replicas if _convicted(was, r, old)]
    if unit.state is not UnitState.VALID:
        return
    settled = was.state is UnitState.VALID and not fell
    if not settled:
        yield from [Evidence(Kind.DECIDED, r.id, r.host) for r in unit.replicas if _fallen(unit, r)]
    now, old = supporters(unit), supporters(was) if settled else ()
    known = {r.id for r in old if _confirmed(r, old)}
    yield from [Evidence(Kind.PASSED, r.id, r.host) for r in now if r.id not in known and _confirmed(r, now)]
    for r in unit.replicas:
        wrong = r.state is ReplicaState.INVALID and not r.partial and r.id > unit.since
        lied = wrong and _convicted(unit, r, now)
        fresh = not (settled and _unchanged(before, r))
        if wrong and (fresh or (lied and not _convicted(was, r, old))):
            yield Evidence(Kind.LIED if lied else Kind.DOUBTED, r.id, r.host)


def supporters(unit: Unit) -> tuple[Replica, ...]:
    """Return the copies whose answer is the accepted one."""
    if unit.canonical is None:
        return ()
    camp = unit.replica(unit.canonical).camp
    return tuple([r for r in unit.replicas if r.state is ReplicaState.VALID and r.camp == camp and not r.partial])


def stands(unit: Unit, distrusted: Callable[[int], bool]) -> bool:
    """Whether an accepted answer holds: it proves itself, or somebody stands behind it who is not distrusted."""
    return any(r.proof or not distrusted(r.host) for r in supporters(unit))


def _confirmed(replica: Replica, camp: tuple[Replica, ...]) -> bool:
    """Whether an answer of a camp proves itself, or another host says the same whose word counts."""
    return any(r.proof or (r.id != replica.id and r.trust >= Trust.NEW) for r in camp)


def _convicted(unit: Unit, replica: Replica, camp: tuple[Replica, ...]) -> bool:
    """Whether this is a proven lie: refused by `verify`, or outvoted by a camp whose word counts."""
    if replica.state is not ReplicaState.INVALID or replica.partial or replica.id <= unit.since:
        return False
    if replica.proof is False:
        return True
    counted = [r.trust for r in camp if r.trust >= Trust.NEW] + [Trust.KNOWN] * any(r.id == unit.ruled for r in camp)
    return any(r.proof for r in camp) or (len(counted) > 1 and max(counted) > Trust.NEW)


def _fallen(unit: Unit, replica: Replica) -> bool:
    """Whether this is the leavings of an earlier try."""
    return replica.state is ReplicaState.INVALID and not replica.partial and replica.id <= unit.since


def _unchanged(before: dict[int, Replica], replica: Replica) -> bool:
    was = before.get(replica.id)
    return was is not None and was.state is replica.state
