"""Accepted answers that are contested.

Somebody answers an adaptive unit late and contradicts, and as the answers stand the accepted one would not be accepted.
It stays accepted while more are asked; then either side is right.
"""

from __future__ import annotations

from msgspec.structs import replace

from dsage.states import ReplicaState, UnitState, move
from dsage_validator.deciding import decide
from dsage_validator.unit import Replica, Unit


def contesting(unit: Unit) -> tuple[Replica, ...]:
    """Return the answers that contest the accepted one of an adaptive unit: they have no verdict yet."""
    if unit.state is not UnitState.VALID or not unit.adaptive:
        return ()
    judged = [r for r in unit.replicas if r.state is ReplicaState.REPORTED and r.camp is not None and r.proof is None]
    if not judged or any(r.proof for r in unit.replicas if r.state is ReplicaState.VALID):
        return ()
    camp = unit.replica(unit.canonical or 0).camp
    return tuple([r for r in judged if r.camp != camp and not r.partial and r.heard])


def outvoted(unit: Unit) -> bool:
    """Whether those who contest an accepted answer would have theirs accepted by now."""
    return bool(contesting(unit)) and as_if_open(unit).state is UnitState.VALID


def uncontested(unit: Unit) -> Unit:
    """Return an accepted unit about which nobody is asked any more: what contests its answer is redundant."""
    gone = {r.id for r in contesting(unit)}
    replicas = tuple(
        [replace(r, state=move(r.state, ReplicaState.REDUNDANT)) if r.id in gone else r for r in unit.replicas]
    )
    return replace(unit, unsent=0, replicas=replicas) if gone else unit


def as_if_open(unit: Unit) -> Unit:
    """Return an accepted unit as its answers would be decided on if none were accepted yet."""
    camp = unit.replica(unit.canonical or 0).camp
    replicas = tuple(
        [
            replace(r, state=ReplicaState.REPORTED)
            if r.state is ReplicaState.VALID and r.camp == camp and not r.partial
            else r
            for r in unit.replicas
        ]
    )
    return decide(replace(unit, state=UnitState.COMPARING, canonical=None, replicas=replicas), "", "")
