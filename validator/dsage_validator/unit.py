"""A unit and its copies, as values."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from dsage.errors import NotFound
from dsage.states import FINAL_UNITS, ReplicaState, UnitState


class Trust(IntEnum):
    """How far the answer of a copy is trusted, as its host stood when the copy was leased."""

    LOST = -1
    """Its host was found lying, and has not made up for that: it is heard for its own sake only, to see whether it says
    what others say. Otherwise two liars who were caught would go on confirming each other."""
    NEW = 0
    KNOWN = 1
    """Its host is established; another host is asked as well, because this unit is one of those that are checked."""
    ALONE = 2
    """Its host's word alone is taken, unless another answer contradicts."""


class Replica(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One copy of a unit, leased to one host.

    `deadline` is soft: a replacement is issued after it, and a late answer is still welcome. `camp` is the id of
    the replica it agrees with (its own id if it is a centre), None until judged. `proof` is what the app's
    `verify` said. `share` is the part of the unit's credit that it earns if valid; a `partial` answer is what was
    done when the server asked to stop.
    """

    id: int
    volunteer: int
    host: int = 0
    state: ReplicaState = ReplicaState.LEASED
    deadline: float = 0.0
    hard_deadline: float = 0.0
    camp: int | None = None
    proof: bool | None = None
    partial: bool = False
    share: float = 1.0
    trust: Trust = Trust.NEW

    @property
    def heard(self) -> bool:
        """Whether it counts for what becomes of its unit: not if its host was found lying."""
        return self.trust >= Trust.NEW


class Unit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A unit with its replicas. `unsent` is how many more copies should go out now.

    `reason` is why it was given up, and `code` the last error's own word. A unit that `splits` is given up with the
    first time limit. `retries` is how many errors are followed by another try (None: as many as it takes to see that it
    is not the computers). Replicas up to `since` were of an earlier try: their failures count no more. Of an `adaptive`
    unit one copy goes out first, and a quorum is asked for unless the host's word alone is taken. `ruled` is the copy
    that says what the server found itself; it is not kept.
    """

    id: int
    quorum: int
    state: UnitState = UnitState.READY
    unsent: int = 0
    canonical: int | None = None
    reason: str = ""
    replicas: tuple[Replica, ...] = ()
    splits: bool = False
    code: str = ""
    since: int = 0
    retries: int | None = None
    adaptive: bool = False
    ruled: int | None = None

    def replica(self, number: int) -> Replica:
        """Return one replica; raises NotFound."""
        for replica in self.replicas:
            if replica.id == number:
                return replica
        raise NotFound(f"unit {self.id} has no replica {number}")

    @property
    def final(self) -> bool:
        """Whether no event changes the unit's own state any more, but a person's wish or a proven lie."""
        return self.state in FINAL_UNITS


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is said of one answer: its camp, and the rest as in a Replica."""

    id: int
    camp: int
    proof: bool | None = None
    share: float = 1.0
