"""To whom a copy of a unit may go."""

from __future__ import annotations

from collections import Counter
from typing import Final

from dsage.states import HOLDS_PLACE, ReplicaState, UnitState
from dsage_validator.unit import Unit

ERRORS_PER_VOLUNTEER: Final = 2
"""After so many errors on one unit a volunteer is not asked again."""
LOSSES_PER_VOLUNTEER: Final = 50
"""Nor after so many copies handed back or never answered: every event of a unit looks at all its copies."""


def may_take(unit: Unit, volunteer: int) -> bool:
    """Whether a volunteer may get (another) copy: never two at a time, and not after repeated errors or losses."""
    mine = [r for r in unit.replicas if r.volunteer == volunteer]
    if not mine:
        return True
    before = Counter([r.state for r in mine if r.id > unit.since])
    lost = before[ReplicaState.RETURNED] + before[ReplicaState.EXPIRED]
    errors = before[ReplicaState.ERROR]
    return not holds_place(unit, volunteer) and errors < ERRORS_PER_VOLUNTEER and lost < LOSSES_PER_VOLUNTEER


def holds_place(unit: Unit, volunteer: int) -> bool:
    """Whether a volunteer has a copy that is out or was answered: then another one is not for them."""
    return any(r.volunteer == volunteer and r.state in HOLDS_PLACE for r in unit.replicas)


def first_copy(unit: Unit) -> bool:
    """Whether no copy that counts is out or answered: only then may one host's word be taken alone."""
    return unit.state is not UnitState.VALID and not any(
        r.heard and r.state in (ReplicaState.LEASED, ReplicaState.REPORTED) for r in unit.replicas
    )


def first_host(unit: Unit) -> int:
    """Return the host of the first copy that is out or has answered in the present try; 0 if there is none."""
    out = (ReplicaState.LEASED, ReplicaState.REPORTED)
    return next((r.host for r in unit.replicas if r.state in out), 0)


def failures(unit: Unit) -> int:
    """Return how many copies of the present try ended with an error."""
    return sum([r.state is ReplicaState.ERROR and r.id > unit.since for r in unit.replicas])
