"""The states of runs, units and replicas, and the one table of moves between them.

The pure decisions (`dsage_validator.life`) go by this table; the store writes what they decided.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeVar

from dsage.errors import Conflict


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class UnitState(StrEnum):
    """Where a work unit stands."""

    READY = "ready"
    ACTIVE = "active"
    COMPARING = "comparing"
    VALID = "valid"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReplicaState(StrEnum):
    """Where one copy of a unit stands. UNSENT copies are a number on the unit, not rows."""

    UNSENT = "unsent"
    LEASED = "leased"
    REPORTED = "reported"
    VALID = "valid"
    INVALID = "invalid"
    REDUNDANT = "redundant"
    EXPIRED = "expired"
    ERROR = "error"
    RETURNED = "returned"
    ABORTED = "aborted"


MEANING: Final[dict[str, str]] = {
    "paused": "gives out no work until its researcher resumes it",
    "open": "waits for a computer, is being worked on or being checked",
    "ready": "waits for a volunteer's computer",
    "active": "is being computed",
    "comparing": "answers are in and being checked",
    "valid": "checked and found right",
    "failed": "given up, with the reason",
    "cancelled": "no longer needed",
    "leased": "is with a volunteer's computer",
    "reported": "answered, not yet checked",
    "invalid": "disagrees with the accepted answer: refused and unpaid",
    "redundant": "came when the unit needed no answer any more",
    "expired": "its time ran out; a late answer is still welcome",
    "error": "failed on that computer, with the reason",
    "returned": "handed back unstarted",
    "aborted": "stopped at the server's wish",
}
"""One sentence for every state that people see."""

_U, _R, _N = UnitState, ReplicaState, RunState
_OPEN: Final = frozenset({_U.READY, _U.ACTIVE, _U.COMPARING, _U.VALID, _U.FAILED, _U.CANCELLED})

MOVES: Final[dict[type[StrEnum], dict[StrEnum, frozenset[StrEnum]]]] = {
    RunState: {
        _N.RUNNING: frozenset({_N.PAUSED, _N.DONE, _N.FAILED, _N.CANCELLED}),
        _N.PAUSED: frozenset({_N.RUNNING, _N.DONE, _N.FAILED, _N.CANCELLED}),
        _N.DONE: frozenset({_N.RUNNING}),
        _N.FAILED: frozenset({_N.RUNNING}),
        _N.CANCELLED: frozenset(),
    },
    UnitState: {
        _U.READY: _OPEN - {_U.READY},
        _U.ACTIVE: _OPEN - {_U.ACTIVE},
        _U.COMPARING: _OPEN - {_U.COMPARING},
        _U.VALID: frozenset({_U.READY, _U.ACTIVE, _U.COMPARING}),
        _U.FAILED: frozenset({_U.READY}),
        _U.CANCELLED: frozenset({_U.READY}),
    },
    ReplicaState: {
        _R.UNSENT: frozenset({_R.LEASED}),
        _R.LEASED: frozenset({_R.REPORTED, _R.EXPIRED, _R.ERROR, _R.RETURNED, _R.ABORTED}),
        _R.REPORTED: frozenset({_R.VALID, _R.INVALID, _R.REDUNDANT}),
        _R.EXPIRED: frozenset({_R.REPORTED}),
        _R.VALID: frozenset({_R.INVALID}),
        _R.INVALID: frozenset(),
        _R.REDUNDANT: frozenset(),
        _R.ERROR: frozenset(),
        _R.RETURNED: frozenset(),
        _R.ABORTED: frozenset(),
    },
}
"""By kind: a failed run and a failed unit have the same word, and other ways on."""

FINAL_UNITS: Final = frozenset({_U.VALID, _U.FAILED, _U.CANCELLED})
"""Only a person, or a proven lie, moves a unit out of these again: a retry, a re-opening."""
OPEN_UNITS: Final = frozenset(UnitState) - FINAL_UNITS
OPEN_RUNS: Final = frozenset({_N.RUNNING, _N.PAUSED})
TIME_LIMITS: Final = frozenset({"cpu", "wall"})
"""The reasons of a copy that ran into a time limit: another computer is not likely to do better, smaller units are."""
HOLDS_PLACE: Final = frozenset({_R.LEASED, _R.REPORTED, _R.VALID, _R.INVALID})
"""Replica states that keep their volunteer from getting another copy of the unit (a partial unique index)."""

S = TypeVar("S", RunState, UnitState, ReplicaState)


class IllegalMove(Conflict):
    """A move that the table does not have."""

    code = "illegal-move"


def move(current: S, to: S) -> S:
    """Return `to` if the table allows the move from `current` (staying put is no move); raises IllegalMove."""
    if to is current or to in MOVES[type(current)][current]:
        return to
    raise IllegalMove(f"a {type(current).__name__.removesuffix('State').lower()} cannot go from {current} to {to}")
