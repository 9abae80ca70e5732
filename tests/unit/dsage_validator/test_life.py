"""The life of a unit: plain cases one by one, then random histories that check every promise after each step."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dsage.errors import Conflict, NotFound
from dsage.states import HOLDS_PLACE, MOVES, IllegalMove, ReplicaState, RunState, UnitState, move
from dsage.states import ReplicaState as R
from dsage.states import UnitState as U
from dsage_validator import deciding, issuing, life
from dsage_validator.unit import Replica, Unit

SOON, HARD = 10.0, 40.0


def leased(unit: Unit, number: int, volunteer: int | None = None, deadline: float = SOON) -> Unit:
    """Lease copy `number` to a volunteer, by default one of its own."""
    who = 1000 + number if volunteer is None else volunteer
    return life.lease(unit, Replica(id=number, volunteer=who, deadline=deadline, hard_deadline=HARD))


def answered(unit: Unit, number: int, camp: int, proof: bool | None = None, share: float = 1.0) -> Unit:
    """Lease, report and judge a copy."""
    return life.judge(life.report(leased(unit, number), number), number, camp=camp, proof=proof, share=share)


def states(unit: Unit) -> list[str]:
    """Return the states of the copies in order."""
    return [r.state.value for r in unit.replicas]


def test_two_that_agree_decide() -> None:
    unit = life.created(1, 2)
    assert (unit.state, unit.unsent) == (U.READY, 2)
    unit = leased(leased(unit, 1), 2)
    assert (unit.state, unit.unsent) == (U.ACTIVE, 0)
    unit = life.report(unit, 1)
    assert unit.state is U.COMPARING
    unit = life.judge(unit, 1, camp=1)
    assert (unit.state, unit.unsent) == (U.ACTIVE, 0)
    unit = life.judge(life.report(unit, 2), 2, camp=1)
    assert (unit.state, unit.canonical, states(unit)) == (U.VALID, 1, ["valid", "valid"])


def test_a_liar_among_two_gets_nothing_and_a_third_decides() -> None:
    unit = answered(answered(life.created(1, 2), 1, camp=1), 2, camp=2)
    assert (unit.state, unit.unsent, states(unit)) == (U.READY, 1, ["reported", "reported"])
    unit = answered(unit, 3, camp=2)
    assert (unit.state, unit.canonical, states(unit)) == (U.VALID, 2, ["invalid", "valid", "valid"])


def test_an_accepted_answer_that_does_not_hold_is_refused_with_its_camp_and_asked_again() -> None:
    unit = answered(answered(answered(life.created(1, 2), 1, camp=1), 2, camp=2), 3, camp=1)
    late = leased(life.created(2, 1), 4).replicas[0]
    unit = life.reopened(msgspec.structs.replace(unit, replicas=(*unit.replicas, late)))
    assert (unit.state, unit.canonical, unit.unsent) == (U.READY, None, 1)
    assert states(unit) == ["invalid", "invalid", "invalid", "leased"]
    assert not any(issuing.may_take(unit, 1000 + number) for number in (1, 2, 3))
    with pytest.raises(Conflict, match="not the centre"):
        life.judge(life.report(unit, 4), 4, camp=1)
    unit = answered(life.judge(life.report(unit, 4), 4, camp=4), 5, camp=4)
    assert (unit.state, unit.canonical, states(unit)[3:]) == (U.VALID, 4, ["valid", "valid"])
    with pytest.raises(Conflict, match="unit 3 is ready"):
        life.reopened(life.created(3, 1))


def test_an_accepted_answer_is_asked_of_one_more_and_stays_accepted() -> None:
    unit = life.asked_again(answered(life.created(1, 1), 1, camp=1))
    assert (unit.state, unit.unsent) == (U.VALID, 1)
    assert not issuing.may_take(unit, 1001)
    lost = life.give_up(leased(unit, 2), 2, R.ERROR)
    assert (lost.state, lost.unsent) == (U.VALID, 0), "whoever wants one more asks again"
    assert states(answered(unit, 2, camp=1)) == ["valid", "valid"]
    assert states(answered(unit, 2, camp=2)) == ["valid", "invalid"]
    with pytest.raises(Conflict, match="unit 3 is ready"):
        life.asked_again(life.created(3, 1))


def test_a_unit_may_be_reopened_as_often_as_it_has_to_be() -> None:
    unit = life.created(1, 2)
    for number in range(1, 21, 2):
        unit = life.reopened(answered(answered(unit, number, camp=number), number + 1, camp=number))
        assert (unit.state, unit.unsent) == (U.READY, 2)


def test_one_proof_decides_alone_and_a_partner_that_differs_is_wrong() -> None:
    unit = leased(leased(leased(life.created(1, 3), 1), 2), 3)
    unit = life.judge(life.report(unit, 1), 1, camp=1)
    unit = life.judge(life.report(unit, 2), 2, camp=2, proof=True)
    assert (unit.state, unit.canonical, unit.unsent) == (U.VALID, 2, 0)
    assert states(unit) == ["invalid", "valid", "leased"]
    late = life.judge(life.report(unit, 3), 3, camp=3, proof=True)
    assert (states(late), late.canonical) == (["invalid", "valid", "valid"], 2)
    late = life.judge(life.report(unit, 3), 3, camp=2)
    assert states(late)[2] == "valid"


def test_proven_lies_are_out_however_many_agree() -> None:
    unit = life.created(1, 2)
    for number in (1, 2, 3):
        unit = answered(unit, number, camp=number, proof=False)
        assert (unit.state, unit.unsent) == (U.READY, 2)
    assert states(unit) == ["invalid"] * 3
    assert life.centres(unit) == frozenset()
    unit = answered(answered(unit, 4, camp=4), 5, camp=4)
    assert (unit.state, unit.canonical) == (U.VALID, 4)


def test_nobody_can_join_the_camp_of_a_proven_lie() -> None:
    unit = answered(life.created(1, 2), 1, camp=1, proof=False)
    unit = life.report(leased(unit, 2), 2)
    with pytest.raises(Conflict, match="not the centre"):
        life.judge(unit, 2, camp=1)


def test_closeness_is_never_chained() -> None:
    unit = answered(answered(life.created(1, 3), 1, camp=1), 2, camp=1)
    with pytest.raises(Conflict, match="not the centre"):
        answered(unit, 3, camp=2)


def test_answers_that_never_agree_end_in_a_named_failure() -> None:
    unit = life.created(1, 2)
    number = 0
    while not unit.final:
        number += 1
        unit = answered(unit, number, camp=number)
    assert unit.state is U.FAILED
    assert unit.reason == f"answers in {number} camps, none of them 2 strong"
    assert number == 2 + deciding.EXTRA_REPLICAS
    assert set(states(unit)) == {"redundant"}


@pytest.mark.parametrize(
    ("undecided", "reason"),
    [
        (None, "7 answers were found wrong"),
        (4, "7 answers were found wrong; answers in 1 camp, which is not 2 strong"),
    ],
)
def test_so_do_answers_that_are_found_wrong(undecided: int | None, reason: str) -> None:
    unit = life.created(1, 2)
    while not unit.final:
        number = len(unit.replicas) + 1
        unit = answered(unit, number, camp=number, proof=None if number == undecided else False)
    assert (unit.state, unit.reason) == (U.FAILED, reason)


@pytest.mark.parametrize(("volunteers", "ends"), [([1, 1, 2, 2], True), ([1, 1, 1, 1], False), ([1, 1, 2], False)])
def test_a_unit_is_blamed_for_errors_only_by_several_volunteers(volunteers: list[int], ends: bool) -> None:
    unit = life.created(1, 1)
    for number, volunteer in enumerate(volunteers, 1):
        unit = life.give_up(leased(unit, number, volunteer), number, R.ERROR, "it ran out of memory")
    assert unit.final is ends
    words = "it failed 4 times on 2 volunteers' computers, last with: it ran out of memory"
    assert unit.reason == (words if ends else "")
    assert unit.unsent == (0 if ends else 1)


def test_a_volunteer_gets_a_unit_again_after_returning_it_but_not_after_two_errors() -> None:
    unit = leased(life.created(1, 2), 1, volunteer=7)
    assert not issuing.may_take(unit, 7)
    assert issuing.may_take(unit, 8)
    unit = life.give_up(unit, 1, R.RETURNED)
    assert issuing.may_take(unit, 7)
    for number in (2, 3):
        assert issuing.may_take(unit, 7)
        unit = life.give_up(leased(unit, number, volunteer=7), number, R.ERROR)
    assert not issuing.may_take(unit, 7)
    assert issuing.may_take(unit, 8)


def test_a_lease_that_ran_out_is_replaced_and_its_late_answer_still_counts() -> None:
    unit = life.expire(leased(life.created(1, 1), 1), SOON - 0.1)
    assert states(unit) == ["leased"]
    unit = life.expire(unit, SOON)
    assert (states(unit), unit.unsent) == (["expired"], 1)
    unit = leased(unit, 2)
    unit = life.judge(life.report(unit, 1), 1, camp=1)
    assert (unit.state, states(unit)) == (U.VALID, ["valid", "leased"])


def test_a_late_answer_is_refused_once_its_volunteer_holds_another_copy() -> None:
    unit = life.expire(leased(life.created(1, 1), 1, volunteer=7), SOON)
    unit = leased(unit, 2, volunteer=7)
    with pytest.raises(Conflict, match="given the unit again"):
        life.report(unit, 1)


def test_after_the_decision_an_equal_answer_is_paid_and_another_is_not() -> None:
    unit = leased(leased(life.created(1, 2), 3, volunteer=1), 4, volunteer=2)
    unit = answered(answered(unit, 1, camp=1), 2, camp=1)
    assert states(unit) == ["leased", "leased", "valid", "valid"]
    unit = life.judge(life.report(unit, 3), 3, camp=1)
    unit = life.judge(life.report(unit, 4), 4, camp=4)
    assert states(unit) == ["valid", "invalid", "valid", "valid"]


@pytest.mark.parametrize(("checked", "state", "share"), [(True, "reported", 1.0), (False, "redundant", 0.0)])
def test_an_answer_that_nobody_confirmed_is_not_paid_when_its_unit_is_cancelled(
    checked: bool, state: str, share: float
) -> None:
    unit = life.cancel(answered(life.created(1, 2), 1, camp=1), checked=checked)
    assert (unit.state, unit.unsent, unit.canonical) == (U.CANCELLED, 0, None)
    assert (states(unit), unit.replicas[0].share) == ([state], share)
    assert bool(life.unjudged(unit)) is checked
    assert life.cancel(unit, checked=checked) is unit


@pytest.mark.parametrize(
    ("proof", "share", "state"),
    [(None, 0.0, "redundant"), (None, 0.4, "valid"), (True, 1.0, "valid"), (False, 1.0, "invalid")],
)
def test_what_a_stopped_copy_did_is_worth_what_the_check_says(proof: bool | None, share: float, state: str) -> None:
    unit = life.cancel(leased(life.created(1, 2), 1), checked=True)
    unit = life.report(unit, 1, partial=True)
    assert states(unit) == ["reported"]
    unit = life.judge(unit, 1, camp=1, proof=proof, share=share)
    assert (states(unit), unit.state, unit.canonical) == ([state], U.CANCELLED, None)


def test_a_partial_answer_of_a_unit_that_goes_on_is_a_copy_handed_back() -> None:
    unit = life.report(leased(life.created(1, 1), 1), 1, partial=True)
    assert (states(unit), unit.state, unit.unsent) == (["returned"], U.READY, 1)


def test_what_was_judged_stays_judged() -> None:
    unit = answered(answered(life.created(1, 3), 1, camp=1), 2, camp=1)
    assert life.judge(unit, 2, camp=2) is unit


def failed(*volunteers: int, quorum: int = 1) -> Unit:
    """Return a unit of which these volunteers' copies failed."""
    unit = life.created(1, quorum)
    for number, volunteer in enumerate(volunteers, 1):
        unit = life.give_up(leased(unit, number, volunteer), number, R.ERROR, "memory")
    return unit


def test_a_unit_that_is_given_up_names_the_last_errors_reason() -> None:
    assert (failed(1, 1, 2).code, failed(1, 1, 2, 2).code) == ("", "memory")


def test_a_unit_that_is_tried_again_has_its_errors_behind_it() -> None:
    unit = failed(1, 1, 2, 2)
    assert not issuing.may_take(unit, 1)
    again = life.retried(unit)
    assert (again.state, again.unsent, again.reason, again.code) == (U.READY, 1, "", "")
    assert (states(again), issuing.failures(again), issuing.may_take(again, 1)) == (["error"] * 4, 0, True)
    for number, volunteer in enumerate([1, 1, 2], 5):
        again = life.give_up(leased(again, number, volunteer), number, R.ERROR, "cpu")
        assert not again.final
    again = life.give_up(leased(again, 8, 2), 8, R.ERROR, "cpu")
    assert (again.state, again.code, issuing.failures(again)) == (U.FAILED, "cpu", 4)


def test_answers_that_did_not_agree_are_not_asked_again() -> None:
    unit = life.created(1, 2)
    while not unit.final:
        number = len(unit.replicas) + 1
        unit = answered(unit, number, camp=number)
    again = life.retried(unit)
    assert (again.unsent, life.centres(again)) == (2, frozenset())
    with pytest.raises(Conflict, match="not the centre"):
        answered(again, 9, camp=1)
    again = answered(answered(again, 9, camp=9), 10, camp=9)
    assert (again.state, again.canonical, states(again)[8:]) == (U.VALID, 9, ["valid", "valid"])


def test_a_copy_that_is_still_out_counts_for_the_new_try_and_a_part_of_an_answer_does_not() -> None:
    unit = life.cancel(leased(leased(life.created(1, 2), 1), 2), checked=True)
    unit = life.retried(life.report(unit, 1, partial=True))
    assert (states(unit), unit.unsent) == (["redundant", "leased"], 1)
    unit = answered(life.judge(life.report(unit, 2), 2, camp=2), 3, camp=2)
    assert (unit.state, unit.canonical) == (U.VALID, 2)
    assert life.centres(unit) == {2}


@pytest.mark.parametrize("unit", [life.created(1, 1), answered(life.created(1, 1), 1, camp=1)], ids=["open", "valid"])
def test_what_did_not_fail_is_not_tried_again(unit: Unit) -> None:
    with pytest.raises(Conflict, match="unit 1 is"):
        life.retried(unit)


@pytest.mark.parametrize(
    ("splits", "reason", "ends"),
    [(True, "cpu", True), (True, "wall", True), (True, "memory", False), (False, "cpu", False)],
)
def test_a_unit_that_splits_is_given_up_with_its_first_time_limit(splits: bool, reason: str, ends: bool) -> None:
    unit = leased(leased(life.created(1, 2, splits=splits), 1), 2)
    unit = life.give_up(unit, 1, R.ERROR, reason)
    assert unit.final is ends
    assert (unit.code, unit.reason) == ((reason, f"it passed its time limit ({reason})") if ends else ("", ""))
    if ends:
        again = leased(life.retried(unit), 3)
        assert not life.give_up(again, 3, R.ERROR, "crash").final
        assert life.give_up(again, 3, R.ERROR, reason).final


@pytest.mark.parametrize("retries", [0, 1, 3, 7])
def test_a_unit_is_tried_again_as_often_as_its_author_wants(retries: int) -> None:
    unit = life.created(1, 1, retries=retries)
    for number in range(1, retries + 2):
        assert not unit.final
        unit = life.give_up(leased(unit, number), number, R.ERROR, "crash", f"killed by SIGSEGV in try {number}")
    assert unit.final
    who = (
        f"{retries + 1} times on {retries + 1} volunteers' computers" if retries else "once on one volunteer's computer"
    )
    words = f"it failed {who}, last with: crash: killed by SIGSEGV in try {retries + 1}"
    assert (unit.reason, unit.code) == (words, "crash")
    again = leased(life.retried(unit), retries + 2)
    assert life.give_up(again, retries + 2, R.ERROR, "crash").final is (retries == 0)


@pytest.mark.parametrize(("retries", "ends"), [(0, 1), (1, 2), (None, 7)])
def test_an_answer_that_its_author_refuses_is_a_failed_try(retries: int | None, ends: int) -> None:
    unit = life.created(1, 1, retries=retries)
    for number in range(1, ends + 1):
        assert not unit.final
        unit = answered(unit, number, camp=number, proof=False)
    assert unit.final
    assert unit.reason.startswith(f"{ends} answer{'s were' if ends > 1 else ' was'} found wrong")


@pytest.mark.parametrize("state", [R.ERROR, R.RETURNED, R.ABORTED, R.EXPIRED])
def test_only_a_lease_can_be_given_up(state: R) -> None:
    unit = answered(life.created(1, 1), 1, camp=1)
    with pytest.raises(IllegalMove, match=f"from valid to {state}"):
        life.give_up(unit, 1, state)
    with pytest.raises(NotFound):
        life.give_up(unit, 2, state)
    with pytest.raises(IllegalMove, match="from unsent to valid"):
        life.lease(unit, Replica(id=6, volunteer=6, state=R.VALID))


def test_the_table_of_moves_is_closed() -> None:
    kinds: list[type[StrEnum]] = [RunState, UnitState, ReplicaState]
    assert list(MOVES) == kinds
    for kind in kinds:
        assert set(MOVES[kind]) == set(kind)
        for state, targets in MOVES[kind].items():
            for target in targets:
                assert type(target) is kind
                assert move(state, target) is target  # type: ignore[type-var]
            assert move(state, state) is state  # type: ignore[type-var]


# -- random histories ------------------------------------------------------------------------------------------------


def reaches(old: StrEnum, new: StrEnum) -> bool:
    """Whether the table has a way from one state to another."""
    seen, todo = {old}, [old]
    while todo:
        state = todo.pop()
        for target in MOVES[type(state)][state] - seen:
            seen.add(target)
            todo.append(target)
    return new in seen


NUMBER = st.integers(0, 11)
VOLUNTEER = st.integers(1, 12)
ANSWER = st.sampled_from(["right", "right", "wrong", "odd"])


class History(RuleBasedStateMachine):
    """Volunteers take, answer, fail, return and lose copies of one unit; the clock jumps; judges come late."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.said: dict[int, str] = {}
        self.unit = life.created(1, 1)
        self.before = self.unit

    @initialize(quorum=st.integers(1, 4), proves=st.booleans(), checked=st.booleans())
    def begin(self, quorum: int, proves: bool, checked: bool) -> None:
        self.unit = self.before = life.created(1, quorum)
        self.proves, self.checked = proves, checked or proves

    def become(self, unit: Unit) -> None:
        self.before, self.unit = self.unit, unit

    def pick(self, number: int, *among: R) -> Replica | None:
        found = [r for r in self.unit.replicas if r.state in among]
        return found[number % len(found)] if found else None

    @rule(volunteers=st.lists(VOLUNTEER, min_size=1, max_size=4), length=st.floats(1, 20))
    def lease(self, volunteers: list[int], length: float) -> None:
        for volunteer in volunteers:
            if self.unit.unsent and issuing.may_take(self.unit, volunteer):
                number = len(self.unit.replicas) + 1
                self.become(leased(self.unit, number, volunteer, self.now + length))
                self.every_promise_holds()

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=3), answer=ANSWER)
    def report(self, numbers: list[int], answer: str) -> None:
        for number in numbers:
            copy = self.pick(number, R.LEASED, R.EXPIRED)
            if copy is not None:
                self.report_one(copy, answer)
                self.every_promise_holds()

    def report_one(self, copy: Replica, answer: str) -> None:
        try:
            self.become(life.report(self.unit, copy.id))
            self.said[copy.id] = answer
        except Conflict:
            others = [r for r in self.unit.replicas if r.volunteer == copy.volunteer and r.id != copy.id]
            assert copy.state is R.EXPIRED
            assert any(r.state in HOLDS_PLACE for r in others)

    @rule(number=NUMBER)
    def stop_with_a_part(self, number: int) -> None:
        copy = self.pick(number, R.LEASED)
        if copy is not None:
            self.become(life.report(self.unit, copy.id, partial=True))
            self.said[copy.id] = "part"

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=4))
    def judge(self, numbers: list[int]) -> None:
        for number in numbers:
            copy = self.pick(number, R.REPORTED)
            if copy is not None:
                self.judge_one(copy)
                self.every_promise_holds()

    @rule(number=NUMBER)
    def a_second_judgement_changes_nothing(self, number: int) -> None:
        copy = self.pick(number, *R)
        if copy is not None and copy not in life.unjudged(self.unit):
            assert life.judge(self.unit, copy.id, camp=copy.id, proof=True) is self.unit

    def judge_one(self, copy: Replica) -> None:
        word = self.said[copy.id]
        if copy.partial or (self.unit.state is U.CANCELLED and not self.proves):
            share = 0.5 if word in ("part", "right") and self.checked else 0.0
            self.become(life.judge(self.unit, copy.id, camp=copy.id, share=share))
            return
        proof = {"right": True, "wrong": False}.get(word) if self.proves else None
        alike = sorted(c for c in life.centres(self.unit) if self.said[c] == word)
        camp = alike[0] if alike and proof is not False else copy.id
        share = 0.0 if self.unit.state is U.CANCELLED and proof is None else 1.0
        self.become(life.judge(self.unit, copy.id, camp=camp, proof=proof, share=share))

    @rule(number=NUMBER, state=st.sampled_from([R.ERROR, R.RETURNED, R.ABORTED]))
    def give_up(self, number: int, state: R) -> None:
        copy = self.pick(number, R.LEASED)
        if copy is not None:
            self.become(life.give_up(self.unit, copy.id, state, "it broke"))

    @rule(seconds=st.floats(-30, 60))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        self.become(life.expire(self.unit, self.now))
        assert all(r.deadline > self.now for r in self.unit.replicas if r.state is R.LEASED)

    @precondition(lambda self: len(self.unit.replicas) > 2)
    @rule(chance=st.integers(0, 9))
    def cancel(self, chance: int) -> None:
        if chance == 9:
            self.become(life.cancel(self.unit, checked=self.checked))

    @precondition(lambda self: self.unit.state is U.VALID)
    @rule(chance=st.integers(0, 2))
    def reopen(self, chance: int) -> None:
        if chance:
            return
        refused = self.unit.replica(self.unit.canonical or 0).camp
        wrong = [r for r in self.unit.replicas if r.camp == refused and r.state is R.VALID and not r.partial]
        self.unit = self.before = life.reopened(self.unit)
        assert {self.unit.replica(r.id).state for r in wrong} == {R.INVALID}
        assert not self.unit.final
        assert not any(issuing.may_take(self.unit, r.volunteer) for r in wrong)
        assert not life.centres(self.unit) & {r.id for r in wrong}

    @precondition(lambda self: self.unit.final)
    @rule(chance=st.integers(0, 2))
    def try_again(self, chance: int) -> None:
        if self.unit.state is U.VALID:
            with pytest.raises(Conflict):
                life.retried(self.unit)
        elif not chance:
            self.unit = self.before = life.retried(self.unit)
            assert (self.unit.reason, self.unit.code, issuing.failures(self.unit)) == ("", "", 0)

    @rule(number=NUMBER, to=st.sampled_from(sorted(R)))
    def illegal_moves_raise(self, number: int, to: R) -> None:
        copy = self.pick(number, *R)
        if copy is not None and to is not copy.state and to not in MOVES[R][copy.state]:
            with pytest.raises(IllegalMove):
                life.give_up(self.unit, copy.id, to)

    @invariant()
    def every_promise_holds(self) -> None:
        unit, old = self.unit, self.before
        assert reaches(old.state, unit.state)
        for was in old.replicas:
            assert reaches(was.state, unit.replica(was.id).state)
        if old.final:
            assert (unit.state, unit.canonical, unit.reason) == (old.state, old.canonical, old.reason)
        for volunteer, count in Counter(r.volunteer for r in unit.replicas if r.state in HOLDS_PLACE).items():
            assert count == 1, f"volunteer {volunteer} has {count} places"
        sizes = Counter(r.camp for r in unit.replicas if r.state is R.REPORTED and r.camp is not None)
        coming = sum(r.state is R.LEASED or r in life.unjudged(unit) for r in unit.replicas)
        if not unit.final:
            assert unit.unsent == max(0, unit.quorum - coming - max(sizes.values(), default=0))
            assert max(sizes.values(), default=0) < unit.quorum
        assert (unit.canonical is not None) == (unit.state is U.VALID)
        assert bool(unit.reason) == (unit.state is U.FAILED)
        if unit.final:
            assert unit.unsent == 0
            judged = [r for r in unit.replicas if r.state is R.REPORTED and r.camp is not None]
            assert judged == [], "a judged answer of a decided unit has no verdict"
        else:
            out = [r for r in unit.replicas if r.state is R.LEASED]
            assert unit.unsent or out or life.unjudged(unit), "nothing will ever happen to this unit"
            assert unit.state is (U.READY if unit.unsent else U.COMPARING if life.unjudged(unit) else U.ACTIVE)
            assert not any(r.state is R.VALID and r.id > unit.since for r in unit.replicas)

    @invariant()
    def only_validated_work_is_paid(self) -> None:
        paid = [r for r in self.unit.replicas if r.state is R.VALID]
        for copy in paid:
            assert copy.share > 0
            if self.unit.state is U.VALID and not copy.partial and not copy.proof:
                assert copy.camp == self.unit.replica(self.unit.canonical or 0).camp
                assert self.said[copy.id] == self.said[self.unit.canonical or 0]
            else:
                assert self.checked
        if self.unit.state is U.VALID:
            canonical = self.unit.replica(self.unit.canonical or 0)
            camp = [r for r in paid if r.camp == canonical.camp and not r.partial]
            assert canonical.state is R.VALID
            assert canonical.proof or len(camp) >= self.unit.quorum


TestHistory: Any = History.TestCase
TestHistory.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
