"""The life of one work unit, as values: every event takes a unit and returns the unit after it.

No sockets, no clock, no database. The server loads a unit with its replicas, applies events, and writes what
changed; the property tests drive the same functions through random histories.

Answers form *camps*: a camp is named by the replica whose answer is its centre, and every other answer is judged
against centres only, never chained (see `camps`). What the camps come to is said in `deciding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from dsage.errors import Conflict
from dsage.states import ReplicaState, UnitState, move
from dsage_validator.contest import as_if_open, contesting, outvoted, uncontested
from dsage_validator.deciding import decide
from dsage_validator.issuing import holds_place
from dsage_validator.unit import Judgement, Replica, Trust, Unit

_COUNT: Final = frozenset({ReplicaState.REPORTED, ReplicaState.VALID})


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
    if replica.state is ReplicaState.EXPIRED and holds_place(unit, replica.volunteer):
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


def overruled(unit: Unit) -> Unit:
    """Return an accepted unit that was outvoted with the other answer accepted. What was paid for the old one is not
    touched here. Raises Conflict if it was not outvoted."""
    trial = as_if_open(unit)
    if not outvoted(unit):
        raise Conflict(f"the accepted answer of unit {unit.id} stands")
    return _settle(replace(trial, unsent=0))


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


def ruled(unit: Unit, number: int) -> Unit:
    """Return an adaptive unit whose answers disagree after the server, which computed it itself, found what a copy
    says: it is heard as one more established host, this once."""
    return _settle(replace(unit, ruled=number))


def _with(unit: Unit, replica: Replica) -> Unit:
    return replace(unit, replicas=tuple([replica if r.id == replica.id else r for r in unit.replicas]))


def _settle(unit: Unit, reason: str = "", detail: str = "") -> Unit:
    """Return the unit with its own state, the copies it still wants and every verdict brought up to date."""
    if not unit.final:
        unit = decide(unit, reason, detail)
    if unit.final:
        trial = as_if_open(unit) if contesting(unit) else unit
        if trial.final and trial.canonical == unit.canonical:
            return replace(unit, unsent=0, replicas=tuple([_verdict(unit, r) for r in unit.replicas]))
        if trial.state is UnitState.FAILED:
            return uncontested(unit)
        waiting = {r.id for r in contesting(unit)}
        replicas = tuple([r if r.id in waiting else _verdict(unit, r) for r in unit.replicas])
        unit = replace(unit, unsent=0 if trial.final else trial.unsent, replicas=replicas)
    return unit


def _judged(unit: Unit, replica: Replica, said: Judgement | None) -> Replica:
    if said is None or replica.state is not ReplicaState.REPORTED:
        return replica
    if replica.camp is not None:
        return replica if unit.final else replace(replica, camp=said.camp)
    return replace(replica, camp=said.camp, proof=said.proof, share=said.share)


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
