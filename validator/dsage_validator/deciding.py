"""What the copies of an open unit come to: an accepted answer, an end without one, or more copies.

A camp as large as the quorum decides; an answer that proves itself decides alone; a proven lie is out whatever the
others say.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from dsage.states import HOLDS_PLACE, TIME_LIMITS, ReplicaState, UnitState, move
from dsage_validator.unit import Replica, Trust, Unit

EXTRA_REPLICAS: Final = 6
"""Copies beyond the quorum before a unit is given up: enough for two liars and a few lost computers."""
MAX_ERRORS: Final = 4
MIN_ERROR_VOLUNTEERS: Final = 2
"""A unit is blamed for errors only when this many volunteers saw them, and nobody could answer it."""


def decide(unit: Unit, reason: str, detail: str) -> Unit:
    """Return an open unit as its copies stand: accepted, given up, or with what it still wants. `reason` and `detail`
    are of the lease that has just ended without an answer, as in `life.give_up`; empty ones if none has."""
    if any(r.proof is False and r.state is ReplicaState.REPORTED for r in unit.replicas):
        unit = replace(unit, replicas=tuple([_refused(r) for r in unit.replicas]))
    camps: dict[int, int] = {}
    waiting = leased = 0
    for r in unit.replicas:
        if r.state is ReplicaState.LEASED:
            leased += r.heard
        elif r.state is ReplicaState.REPORTED:
            if r.proof:
                return replace(unit, state=move(unit.state, UnitState.VALID), canonical=_first_proof(unit))
            if not r.heard:
                continue
            if r.camp is None:
                waiting += 1
            else:
                camps[r.camp] = camps.get(r.camp, 0) + 1
    ruling = _ruled_camp(unit)
    if ruling is not None and ruling in camps:
        camps[ruling] += 1
    top, size = min(camps.items(), key=lambda item: (-item[1], item[0]), default=(None, 0))
    missing = max(0, unit.quorum - size) if not unit.adaptive else _missing(unit, camps, top, size)
    if size and not missing:
        return replace(unit, state=move(unit.state, UnitState.VALID), canonical=top)

    unsent = max(0, missing - waiting - leased)
    given_up = _hopeless(unit, unsent, len(camps), reason, detail)
    if given_up:
        return replace(unit, state=move(unit.state, UnitState.FAILED), reason=given_up, code=reason)
    state = UnitState.READY if unsent else UnitState.COMPARING if waiting else UnitState.ACTIVE
    return replace(unit, state=move(unit.state, state), unsent=unsent)


def _missing(unit: Unit, camps: dict[int, int], top: int | None, size: int) -> int:
    """Return how many answers an adaptive unit lacks, beside those of its largest camp.

    While nobody contradicts, a quorum is enough, and one answer of a host that is trusted alone. Where answers
    disagree, newcomers decide by a lead of two only: the quorum needs an established host, against none.
    """
    live = [r for r in unit.replicas if r.heard and r.state in (ReplicaState.LEASED, ReplicaState.REPORTED)]
    if len(camps) < 2:
        heard = [r for r in live if r.camp is not None] or live
        alone = not live or any(r.trust is Trust.ALONE for r in heard)
        return max(0, (1 if alone else unit.quorum) - size)
    known = {r.camp for r in live if r.camp is not None and r.trust} | ({_ruled_camp(unit)} & camps.keys())
    lead = size - max(n for camp, n in camps.items() if camp != top)
    if size >= unit.quorum and (lead > 1 or known == {top}):
        return 0
    return max(1, unit.quorum - size)


def _ruled_camp(unit: Unit) -> int | None:
    """Return the camp in which the server stands, if it was heard."""
    return None if unit.ruled is None else unit.replica(unit.ruled).camp


def _refused(replica: Replica) -> Replica:
    if replica.proof is False and replica.state is ReplicaState.REPORTED:
        return replace(replica, state=move(replica.state, ReplicaState.INVALID))
    return replica


def _first_proof(unit: Unit) -> int:
    return next(r.id for r in unit.replicas if r.proof and r.state is ReplicaState.REPORTED and r.camp is not None)


def _hopeless(unit: Unit, unsent: int, camps: int, reason: str, detail: str) -> str:
    """Return why the unit is to be given up, or an empty text."""
    if unit.splits and reason in TIME_LIMITS:
        return f"it passed its time limit ({reason})"
    most, who = (MAX_ERRORS, MIN_ERROR_VOLUNTEERS) if unit.retries is None else (unit.retries + 1, 1)
    if len(unit.replicas) < min(most, MAX_ERRORS):
        return ""
    errors = [r for r in unit.replicas if r.state is ReplicaState.ERROR and r.id > unit.since]
    people = len({r.volunteer for r in errors})
    answered = any(r.state is ReplicaState.REPORTED for r in unit.replicas)
    if len(errors) >= most and people >= who and not answered:
        last = ": ".join(filter(None, (reason, detail))) or "an error"
        return f"it failed {_times(len(errors))} on {_computers(people)}, last with: {last}"
    used = [r.state for r in unit.replicas if r.state in HOLDS_PLACE and r.id > unit.since and r.heard]
    lies = used.count(ReplicaState.INVALID)
    enough = unit.retries is not None and lies and len(errors) + lies >= most and not answered
    if enough or (unsent and len(used) + unsent > unit.quorum + EXTRA_REPLICAS):
        wrong = [f"{lies} answer{'s were' if lies > 1 else ' was'} found wrong"] if lies else []
        apart = [_apart(camps, unit.quorum)] if camps else []
        return "; ".join(wrong + apart)
    return ""


def _apart(camps: int, quorum: int) -> str:
    one = camps == 1
    return f"answers in {camps} camp{', which is not' if one else 's, none of them'} {quorum} strong"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _computers(people: int) -> str:
    return "one volunteer's computer" if people == 1 else f"{people} volunteers' computers"
