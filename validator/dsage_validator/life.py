"""The life of one work unit, as values: every event takes a unit and returns the unit after it.

No sockets, no clock, no database. The server loads a unit with its replicas, applies events, and writes what
changed; the property tests drive the same functions through random histories.

Answers form *camps*: a camp is named by the replica whose answer is its centre, and every other answer is judged
against centres only, never chained (see `camps`). A camp as large as the quorum decides; an answer that proves itself
decides alone; a proven lie is out whatever the others say.

An accepted answer of an adaptive unit may be *contested*: somebody answers late and contradicts, and as the answers
stand it would not be accepted. It stays accepted while more are asked; then either side is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from dsage.errors import Conflict, NotFound
from dsage.states import FINAL_UNITS, HOLDS_PLACE, TIME_LIMITS, ReplicaState, UnitState, move

EXTRA_REPLICAS: Final = 6
"""Copies beyond the quorum before a unit is given up: enough for two liars and a few lost computers."""
MAX_ERRORS: Final = 4
MIN_ERROR_VOLUNTEERS: Final = 2
"""A unit is blamed for errors only when this many volunteers saw them, and nobody could answer it."""
ERRORS_PER_VOLUNTEER: Final = 2
"""After so many errors on one unit a volunteer is not asked again."""
LOSSES_PER_VOLUNTEER: Final = 50
"""Nor after so many copies handed back or never answered: every event of a unit looks at all its copies."""

_COUNT: Final = frozenset({ReplicaState.REPORTED, ReplicaState.VALID})


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


def created(
    number: int, quorum: int, *, splits: bool = False, retries: int | None = None, adaptive: bool = False
) -> Unit:
    """Return a new unit that wants `quorum` copies sent; one at first if it is `adaptive`."""
    unsent = 1 if adaptive else quorum
    return Unit(id=number, quorum=quorum, unsent=unsent, splits=splits, retries=retries, adaptive=adaptive)


def lease(unit: Unit, replica: Replica) -> Unit:
    """Return the unit with one more copy leased."""
    move(ReplicaState.UNSENT, replica.state)
    return _settle(replace(unit, replicas=(*unit.replicas, replica)))


def report(unit: Unit, number: int, *, partial: bool = False) -> Unit:
    """Return the unit with an answer in, not judged yet. A late answer (of an expired lease) is one too.

    A `partial` one is worth the share of the work that it shows, and nothing while the unit is still open.
    Raises Conflict if the lease ended otherwise, or ran out and its volunteer holds another copy by now.
    """
    replica = unit.replica(number)
    if partial and not unit.final:
        return give_up(unit, number, ReplicaState.RETURNED)
    state = move(replica.state, ReplicaState.REPORTED)
    if replica.state is ReplicaState.EXPIRED and _holds_place(unit, replica.volunteer):
        raise Conflict("its lease had run out, and this volunteer was given the unit again")
    return _settle(_with(unit, replace(replica, state=state, partial=partial)))


def unjudged(unit: Unit) -> tuple[Replica, ...]:
    """Return the answers that nobody has judged yet."""
    return tuple(r for r in unit.replicas if r.state is ReplicaState.REPORTED and r.camp is None)


def centres(unit: Unit) -> frozenset[int]:
    """Return the camps that an answer may join: those of whole answers that were not proven to be lies, and are not
    the leavings of an earlier try."""
    return frozenset(
        r.id
        for r in unit.replicas
        if r.camp == r.id and r.proof is not False and not r.partial and (r.id > unit.since or r.state in _COUNT)
    )


def standing(unit: Unit) -> tuple[Replica, ...]:
    """Return the answers that a fresh one may agree with: all of an open unit that were judged, or the accepted one and
    after it those that contest it."""
    if unit.state is UnitState.VALID:
        return (unit.replica(unit.canonical or 0), *[r for r in contesting(unit) if r.camp == r.id])
    return tuple(r for r in unit.replicas if r.state is ReplicaState.REPORTED and r.camp is not None and not unit.final)


def judge(unit: Unit, number: int, *, camp: int, proof: bool | None = None, share: float = 1.0) -> Unit:
    """Return the unit after one reported answer was judged; what was judged before stays as it is.

    Raises Conflict if `camp` is neither the answer's own id nor a centre.
    """
    if unit.replica(number) not in unjudged(unit):
        return unit
    return judged(unit, [Judgement(id=number, camp=camp, proof=proof, share=share)])


def judged(unit: Unit, judgements: Sequence[Judgement]) -> Unit:
    """Return the unit after its answers were judged together. While it is open, one that was judged before may move to
    the camp of another centre that more answers agree with; its proof and share stay. Raises Conflict as `judge`."""
    said = {each.id: each for each in judgements}
    after = replace(unit, replicas=tuple([_judged(unit, r, said.get(r.id)) for r in unit.replicas]))
    allowed = centres(after)
    for each in judgements:
        if each.camp != each.id and each.camp not in allowed:
            raise Conflict(f"replica {each.camp} is not the centre of a camp of unit {unit.id}")
    return _settle(after)


def give_up(unit: Unit, number: int, state: ReplicaState, reason: str = "", detail: str = "") -> Unit:
    """Return the unit after a lease ended without an answer: error, returned or aborted.

    `reason` is one word, `detail` a line that says more; they are remembered if this gives the unit up.
    """
    replica = unit.replica(number)
    after = _with(unit, replace(replica, state=move(replica.state, state)))
    return _settle(after, reason, detail)


def expire(unit: Unit, now: float) -> Unit:
    """Return the unit as it stands at `now`: leases past their deadline have expired."""
    replicas = tuple(
        replace(r, state=move(r.state, ReplicaState.EXPIRED))
        if r.state is ReplicaState.LEASED and now >= r.deadline
        else r
        for r in unit.replicas
    )
    return unit if replicas == unit.replicas else _settle(replace(unit, replicas=replicas))


def cancel(unit: Unit, *, checked: bool) -> Unit:
    """Return the unit cancelled, unless it has ended already; copies still out are told at their next contact.

    An answer that is in has nobody to confirm it any more: if the app has checks of its own (`checked`) it waits
    for them to say what it is worth, otherwise it is redundant.
    """
    if unit.final:
        return unit
    replicas = tuple(
        replace(r, camp=None if checked else r.camp or r.id, share=1.0 if checked else 0.0)
        if r.state is ReplicaState.REPORTED
        else r
        for r in unit.replicas
    )
    state = move(unit.state, UnitState.CANCELLED)
    return _settle(replace(unit, state=state, unsent=0, replicas=replicas))


def retried(unit: Unit) -> Unit:
    """Return a failed or cancelled unit as it is tried anew: what failed before is history, and counts no more.

    Copies that are still out count on, and so do answers that nobody has judged; a part of an answer does not.
    Raises Conflict for a unit that is open or has its answer.
    """
    if unit.state not in (UnitState.FAILED, UnitState.CANCELLED):
        raise Conflict(f"unit {unit.id} is {unit.state}", hint="Only units that failed are tried again.")
    replicas = tuple(
        replace(r, state=move(r.state, ReplicaState.REDUNDANT)) if r.state is ReplicaState.REPORTED and r.partial else r
        for r in unit.replicas
    )
    since = max((r.id for r in replicas), default=0)
    state = move(unit.state, UnitState.READY)
    return _settle(replace(unit, state=state, reason="", code="", since=since, replicas=replicas))


def reopened(unit: Unit) -> Unit:
    """Return a unit whose accepted answer does not hold: it and all that agree with it are refused as proven lies.

    A fresh quorum is wanted, from volunteers who have no answer in; copies that are still out count on. What was paid
    for the refused answers is not touched here. Raises Conflict for a unit that has no accepted answer.
    """
    if unit.state is not UnitState.VALID:
        raise Conflict(f"unit {unit.id} is {unit.state}", hint="Only an accepted answer can be refused.")
    camp = unit.replica(unit.canonical or 0).camp
    replicas = tuple(
        replace(r, state=move(r.state, ReplicaState.INVALID), proof=False)
        if r.state is ReplicaState.VALID and r.camp == camp and not r.partial
        else r
        for r in unit.replicas
    )
    since = max(r.id for r in replicas)
    state = move(unit.state, UnitState.READY)
    return _settle(replace(unit, state=state, canonical=None, since=since, replicas=replicas))


def asked_again(unit: Unit) -> Unit:
    """Return an accepted unit with one more copy wanted, to be held against its answer: it stays accepted, and whoever
    answers is judged as one who comes late. Once leased the copy is wanted no more, whatever becomes of it. Raises
    Conflict for a unit that has no accepted answer."""
    if unit.state is not UnitState.VALID:
        raise Conflict(f"unit {unit.id} is {unit.state}", hint="Only an accepted answer can be confirmed.")
    return replace(unit, unsent=1)


def contesting(unit: Unit) -> tuple[Replica, ...]:
    """Return the answers that contest the accepted one of an adaptive unit: they have no verdict yet."""
    if unit.state is not UnitState.VALID or not unit.adaptive:
        return ()
    judged = [r for r in unit.replicas if r.state is ReplicaState.REPORTED and r.camp is not None and r.proof is None]
    if not judged or any(r.proof for r in unit.replicas if r.state is ReplicaState.VALID):
        return ()
    camp = unit.replica(unit.canonical or 0).camp
    return tuple([r for r in judged if r.camp != camp and not r.partial and r.trust >= Trust.NEW])


def outvoted(unit: Unit) -> bool:
    """Whether those who contest an accepted answer would have theirs accepted by now."""
    return bool(contesting(unit)) and _as_if_open(unit).state is UnitState.VALID


def overruled(unit: Unit) -> Unit:
    """Return an accepted unit that was outvoted with the other answer accepted. What was paid for the old one is not
    touched here. Raises Conflict if it was not outvoted."""
    trial = _as_if_open(unit)
    if not outvoted(unit):
        raise Conflict(f"the accepted answer of unit {unit.id} stands")
    return _settle(replace(trial, unsent=0))


def uncontested(unit: Unit) -> Unit:
    """Return an accepted unit about which nobody is asked any more: what contests its answer is redundant."""
    gone = {r.id for r in contesting(unit)}
    replicas = tuple(
        [replace(r, state=move(r.state, ReplicaState.REDUNDANT)) if r.id in gone else r for r in unit.replicas]
    )
    return replace(unit, unsent=0, replicas=replicas) if gone else unit


def distrusted(unit: Unit, host: int, trust: Trust = Trust.NEW) -> Unit:
    """Return the unit after its trust in a host fell: what that host has not answered, or nobody has accepted yet,
    counts as a newcomer's, or for nothing if its trust is LOST."""
    open_ones = (ReplicaState.LEASED, ReplicaState.EXPIRED, ReplicaState.REPORTED)
    replicas = tuple(
        [
            replace(r, trust=trust) if r.host == host and r.trust > trust and r.state in open_ones else r
            for r in unit.replicas
        ]
    )
    return unit if replicas == unit.replicas else _settle(replace(unit, replicas=replicas))


def first_copy(unit: Unit) -> bool:
    """Whether no copy that counts is out or answered: only then may one host's word be taken alone."""
    return unit.state is not UnitState.VALID and not any(
        _heard(r) and r.state in (ReplicaState.LEASED, ReplicaState.REPORTED) for r in unit.replicas
    )


def first_host(unit: Unit) -> int:
    """Return the host of the first copy that is out or has answered in the present try; 0 if there is none."""
    out = (ReplicaState.LEASED, ReplicaState.REPORTED)
    return next((r.host for r in unit.replicas if r.state in out), 0)


def ruled(unit: Unit, number: int) -> Unit:
    """Return an adaptive unit whose answers disagree after the server, which computed it itself, found what a copy
    says: it is heard as one more established host, this once."""
    return _settle(replace(unit, ruled=number))


def ruled_camp(unit: Unit) -> int | None:
    """Return the camp in which the server stands, if it was heard."""
    return None if unit.ruled is None else unit.replica(unit.ruled).camp


def failures(unit: Unit) -> int:
    """Return how many copies of the present try ended with an error."""
    return sum([r.state is ReplicaState.ERROR and r.id > unit.since for r in unit.replicas])


def may_take(unit: Unit, volunteer: int) -> bool:
    """Whether a volunteer may get (another) copy: never two at a time, and not after repeated errors or losses."""
    mine = [r for r in unit.replicas if r.volunteer == volunteer]
    if not mine:
        return True
    before = Counter([r.state for r in mine if r.id > unit.since])
    lost = before[ReplicaState.RETURNED] + before[ReplicaState.EXPIRED]
    errors = before[ReplicaState.ERROR]
    return not _holds_place(unit, volunteer) and errors < ERRORS_PER_VOLUNTEER and lost < LOSSES_PER_VOLUNTEER


def _holds_place(unit: Unit, volunteer: int) -> bool:
    return any(r.volunteer == volunteer and r.state in HOLDS_PLACE for r in unit.replicas)


def _with(unit: Unit, replica: Replica) -> Unit:
    return replace(unit, replicas=tuple([replica if r.id == replica.id else r for r in unit.replicas]))


def _settle(unit: Unit, reason: str = "", detail: str = "") -> Unit:
    """Return the unit with its own state, the copies it still wants and every verdict brought up to date."""
    if not unit.final:
        unit = _decide(unit, reason, detail)
    if unit.final:
        trial = _as_if_open(unit) if contesting(unit) else unit
        if trial.final and trial.canonical == unit.canonical:
            return replace(unit, unsent=0, replicas=tuple([_verdict(unit, r) for r in unit.replicas]))
        if trial.state is UnitState.FAILED:
            return uncontested(unit)
        waiting = {r.id for r in contesting(unit)}
        replicas = tuple([r if r.id in waiting else _verdict(unit, r) for r in unit.replicas])
        unit = replace(unit, unsent=0 if trial.final else trial.unsent, replicas=replicas)
    return unit


def _as_if_open(unit: Unit) -> Unit:
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
    return _decide(replace(unit, state=UnitState.COMPARING, canonical=None, replicas=replicas), "", "")


def _decide(unit: Unit, reason: str, detail: str) -> Unit:
    if any(r.proof is False and r.state is ReplicaState.REPORTED for r in unit.replicas):
        unit = replace(unit, replicas=tuple([_refused(r) for r in unit.replicas]))
    camps: dict[int, int] = {}
    waiting = leased = 0
    for r in unit.replicas:
        if r.state is ReplicaState.LEASED:
            leased += _heard(r)
        elif r.state is ReplicaState.REPORTED:
            if r.proof:
                return replace(unit, state=move(unit.state, UnitState.VALID), canonical=_first_proof(unit))
            if not _heard(r):
                continue
            if r.camp is None:
                waiting += 1
            else:
                camps[r.camp] = camps.get(r.camp, 0) + 1
    ruling = ruled_camp(unit)
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
    live = [
        r for r in unit.replicas if r.trust >= Trust.NEW and r.state in (ReplicaState.LEASED, ReplicaState.REPORTED)
    ]
    if len(camps) < 2:
        heard = [r for r in live if r.camp is not None] or live
        alone = not live or any(r.trust is Trust.ALONE for r in heard)
        return max(0, (1 if alone else unit.quorum) - size)
    known = {r.camp for r in live if r.camp is not None and r.trust} | ({ruled_camp(unit)} & camps.keys())
    lead = size - max(n for camp, n in camps.items() if camp != top)
    if size >= unit.quorum and (lead > 1 or known == {top}):
        return 0
    return max(1, unit.quorum - size)


def _judged(unit: Unit, replica: Replica, said: Judgement | None) -> Replica:
    if said is None or replica.state is not ReplicaState.REPORTED:
        return replica
    if replica.camp is not None:
        return replica if unit.final else replace(replica, camp=said.camp)
    return replace(replica, camp=said.camp, proof=said.proof, share=said.share)


def _heard(replica: Replica) -> bool:
    """Whether a copy counts for what becomes of its unit: not if its host was found lying."""
    return replica.trust >= Trust.NEW


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
    used = [r.state for r in unit.replicas if r.state in HOLDS_PLACE and r.id > unit.since and _heard(r)]
    lies = used.count(ReplicaState.INVALID)
    enough = unit.retries is not None and lies and len(errors) + lies >= most and not answered
    if enough or (unsent and len(used) + unsent > unit.quorum + EXTRA_REPLICAS):
        wrong = [f"{lies} answer{'s were' if lies > 1 else ' was'} found wrong"] if lies else []
        apart = [f"answers in {camps} camps, none of them {unit.quorum} strong"] if camps else []
        return "; ".join(wrong + apart)
    return ""


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _computers(people: int) -> str:
    return "one volunteer's computer" if people == 1 else f"{people} volunteers' computers"


def _verdict(unit: Unit, replica: Replica) -> Replica:
    """Return one replica of a decided unit with its verdict, if its answer has been judged."""
    if replica.state is not ReplicaState.REPORTED:
        return replica
    if unit.state is UnitState.FAILED:
        return replace(replica, state=move(replica.state, ReplicaState.REDUNDANT))
    if replica.camp is None:
        return replica
    if replica.partial or unit.state is UnitState.CANCELLED:
        worth = ReplicaState.VALID if replica.share > 0 else ReplicaState.REDUNDANT
        state = ReplicaState.INVALID if replica.proof is False else worth
    else:
        canonical = unit.replica(unit.canonical or 0)
        right = replica.proof is not False and (replica.camp == canonical.camp or bool(replica.proof))
        state = ReplicaState.VALID if right else ReplicaState.INVALID
    return replace(replica, state=move(replica.state, state))
