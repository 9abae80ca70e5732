"""Whose word alone is taken, what a change of a unit says of its hosts, and which accepted answers stand."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from dsage.errors import Conflict
from dsage.states import ReplicaState as R
from dsage.states import UnitState as U
from dsage_validator import contest, issuing, life
from dsage_validator.reputation import RULES, Kind, Standing, drawn, evidence, stands, supporters, weighed
from dsage_validator.unit import Replica, Trust, Unit

NEVER = 1e9


def leased(unit: Unit, number: int, trust: Trust = Trust.NEW) -> Unit:
    copy = Replica(id=number, volunteer=100 + number, host=number, deadline=NEVER, hard_deadline=NEVER, trust=trust)
    return life.lease(unit, copy)


def answered(unit: Unit, number: int, camp: int, trust: Trust = Trust.NEW, proof: bool | None = None) -> Unit:
    return life.judge(life.report(leased(unit, number, trust), number), number, camp=camp, proof=proof)


def new() -> Unit:
    return life.created(1, 2, adaptive=True)


def said(was: Unit, unit: Unit) -> dict[int, str]:
    found = list(evidence(was, unit))
    assert len({each.replica for each in found}) == len(found)
    return {each.host: each.kind.value for each in found}


def test_one_copy_goes_out_first_and_a_second_for_a_newcomer() -> None:
    unit = new()
    assert unit.unsent == 1
    unit = leased(unit, 1)
    assert unit.unsent == 1
    assert answered(unit, 2, camp=2).unsent == 0


def test_the_word_of_a_trusted_host_alone_is_taken() -> None:
    unit = leased(new(), 1, Trust.ALONE)
    assert unit.unsent == 0
    unit = life.judge(life.report(unit, 1), 1, camp=1)
    assert (unit.state, unit.canonical) == (U.VALID, 1)
    assert said(new(), unit) == {}


def test_but_not_where_its_unit_is_checked_or_its_trust_was_lost_meanwhile() -> None:
    assert leased(new(), 1, Trust.KNOWN).unsent == 1
    unit = life.distrusted(leased(new(), 1, Trust.ALONE), 1)
    assert (unit.unsent, unit.replicas[0].trust) == (1, Trust.NEW)
    assert life.judge(life.report(unit, 1), 1, camp=1).state is U.READY


def test_a_late_answer_of_a_newcomer_is_not_taken_for_the_trusted_ones() -> None:
    unit = life.expire(leased(new(), 1), NEVER)
    unit = leased(unit, 2, Trust.ALONE)
    assert unit.unsent == 0
    unit = life.judge(life.report(unit, 1), 1, camp=1)
    assert (unit.state, unit.unsent) == (U.ACTIVE, 0)
    agreed = life.judge(life.report(unit, 2), 2, camp=1)
    assert (agreed.state, said(unit, agreed)) == (U.VALID, {1: "passed", 2: "passed"})
    apart = life.judge(life.report(unit, 2), 2, camp=2)
    assert (apart.state, apart.unsent) == (U.READY, 1)


def test_two_newcomers_do_not_outvote_one_and_three_do_without_convicting() -> None:
    unit = answered(answered(answered(new(), 1, camp=1), 2, camp=2), 3, camp=2)
    assert (unit.state, unit.unsent) == (U.READY, 1)
    done = answered(unit, 4, camp=2)
    assert (done.state, said(unit, done)) == (U.VALID, {1: "doubted", 2: "passed", 3: "passed", 4: "passed"})


def test_an_established_host_and_another_convict() -> None:
    unit = answered(answered(new(), 1, camp=1, trust=Trust.KNOWN), 2, camp=2)
    done = answered(unit, 3, camp=1)
    assert (done.state, said(unit, done)) == (U.VALID, {1: "passed", 2: "lied", 3: "passed"})


def test_a_host_found_lying_is_heard_for_its_own_sake_only() -> None:
    unit = answered(answered(new(), 1, camp=1, trust=Trust.LOST), 2, camp=1, trust=Trust.LOST)
    assert (unit.state, unit.unsent, issuing.first_copy(unit)) == (U.READY, 1, True)
    done = answered(unit, 3, camp=1, trust=Trust.ALONE)
    assert (done.state, said(unit, done)) == (U.VALID, {1: "passed", 2: "passed"})
    apart = answered(unit, 3, camp=3, trust=Trust.ALONE)
    assert (apart.state, said(unit, apart)) == (U.VALID, {1: "doubted", 2: "doubted"})


def test_liars_cannot_have_a_unit_given_up() -> None:
    unit = new()
    for number in range(1, 20):
        unit = answered(unit, number, camp=number, trust=Trust.LOST)
    assert (unit.state, unit.unsent) == (U.READY, 1)


def test_a_conviction_takes_a_host_s_word_out_of_a_unit_that_is_open() -> None:
    unit = leased(answered(new(), 1, camp=1), 2)
    assert unit.unsent == 0
    unit = life.distrusted(unit, 1, Trust.LOST)
    assert unit.unsent == 1
    agreed = life.judge(life.report(unit, 2), 2, camp=1)
    assert (agreed.state, agreed.unsent) == (U.READY, 1)
    assert said(agreed, answered(agreed, 3, camp=1)) == {1: "passed", 2: "passed", 3: "passed"}


def test_established_hosts_that_contradict_each_other_need_a_lead_of_two() -> None:
    unit = answered(answered(new(), 1, camp=1, trust=Trust.KNOWN), 2, camp=2, trust=Trust.KNOWN)
    unit = answered(unit, 3, camp=1)
    assert (unit.state, unit.unsent) == (U.READY, 1)
    assert answered(unit, 4, camp=1).state is U.VALID


def test_a_refusal_convicts_once_somebody_elses_answer_is_taken() -> None:
    unit = answered(new(), 1, camp=1, proof=False)
    assert said(new(), unit) == {}
    done = answered(unit, 2, camp=2, proof=True)
    assert said(unit, done) == {1: "lied", 2: "passed"}
    late = answered(msgspec.structs.replace(done, unsent=0), 3, camp=3, proof=False)
    assert said(done, late) == {3: "lied"}


def test_a_check_that_takes_nobodys_answer_convicts_nobody() -> None:
    unit = new()
    while not unit.final:
        number = len(unit.replicas) + 1
        after = answered(unit, number, camp=number, proof=False)
        assert said(unit, after) == {}
        unit = after
    assert unit.state is U.FAILED


def test_a_late_answer_confirms_the_one_that_was_taken_alone() -> None:
    unit = life.expire(leased(new(), 1), NEVER)
    unit = answered(unit, 2, camp=2, trust=Trust.ALONE)
    late = life.judge(life.report(unit, 1), 1, camp=2)
    assert said(unit, late) == {1: "passed", 2: "passed"}


def contested(trust: Trust = Trust.NEW) -> Unit:
    """Return a unit of which one answer was taken alone, and contradicted late."""
    unit = answered(life.expire(leased(new(), 1, trust), NEVER), 2, camp=2, trust=Trust.ALONE)
    return life.judge(life.report(unit, 1), 1, camp=1)


def test_who_contradicted_one_word_is_convicted_when_it_is_confirmed_and_cleared_when_it_falls() -> None:
    unit = life.created(1, 1)
    for number, trust in enumerate((Trust.KNOWN, Trust.NEW, Trust.NEW), 1):
        unit = life.expire(leased(unit, number, trust), NEVER)
    accepted = life.judge(life.report(unit, 1), 1, camp=1)
    apart = life.judge(life.report(accepted, 2), 2, camp=2)
    assert (accepted.state, said(accepted, apart)) == (U.VALID, {2: "doubted"})
    confirmed = life.judge(life.report(apart, 3), 3, camp=1)
    assert said(apart, confirmed) == {1: "passed", 2: "lied", 3: "passed"}
    assert said(confirmed, life.reopened(confirmed)) == {1: "unpassed", 2: "cleared", 3: "unpassed"}


def test_whose_answer_fell_hears_of_it_when_the_unit_is_decided_again() -> None:
    accepted = answered(new(), 1, camp=1, trust=Trust.ALONE)
    fallen = life.reopened(accepted)
    assert "decided" not in said(accepted, fallen).values()
    asked = answered(fallen, 2, camp=2)
    assert said(fallen, asked) == {}
    again = answered(asked, 3, camp=2)
    assert said(asked, again) == {1: "decided", 2: "passed", 3: "passed"}
    assert "decided" not in said(again, answered(again, 4, camp=2)).values(), "once"
    lying = Standing(passed=3.0, lies=2, at=1.0, audit=0.5)
    assert weighed(lying, Kind.DECIDED, 1e9) == lying


def test_a_late_answer_that_contradicts_the_one_taken_alone_is_no_lie_before_a_third_was_asked() -> None:
    unit = contested()
    assert (unit.state, unit.canonical, unit.unsent) == (U.VALID, 2, 1)
    assert [r.id for r in contest.contesting(unit)] == [1]
    assert [r.id for r in life.standing(unit)] == [2, 1]
    assert not contest.outvoted(unit)
    with pytest.raises(Conflict, match="stands"):
        life.overruled(unit)
    lost = life.give_up(leased(unit, 3), 3, R.RETURNED)
    assert (leased(unit, 3).unsent, lost.unsent) == (0, 1), "a copy that is lost is asked for again"
    right = answered(unit, 3, camp=2)
    assert (right.unsent, said(unit, right)) == (0, {1: "lied", 2: "passed", 3: "passed"})
    assert contest.uncontested(unit).replicas[0].state is R.REDUNDANT
    assert contest.uncontested(right) is right


def test_one_who_was_found_lying_contests_nothing() -> None:
    unit = contested(Trust.LOST)
    assert (unit.unsent, unit.replicas[0].state) == (0, R.INVALID)
    unit = life.distrusted(contested(), 1, Trust.LOST)
    assert (unit.unsent, unit.replicas[0].state) == (0, R.INVALID)


def test_an_accepted_answer_is_overruled_when_the_others_would_have_been_accepted() -> None:
    unit = answered(contested(), 3, camp=1, trust=Trust.KNOWN)
    assert (unit.unsent, contest.outvoted(unit)) == (1, False), "two established hosts contradict each other"
    unit = answered(unit, 4, camp=1)
    assert (unit.unsent, unit.canonical, contest.outvoted(unit)) == (0, 2, True)
    after = life.overruled(unit)
    assert (after.state, after.canonical, after.unsent) == (U.VALID, 1, 0)
    assert [r.state.value for r in after.replicas] == ["valid", "invalid", "valid", "valid"]
    assert said(unit, after) == {1: "passed", 2: "lied", 3: "passed", 4: "passed"}
    assert not issuing.may_take(after, 102)


def test_a_contest_that_comes_to_nothing_leaves_the_accepted_answer() -> None:
    unit, number = contested(), 3
    while unit.unsent:
        unit = answered(unit, number, camp=number)
        number += 1
    assert (unit.state, unit.canonical, number) == (U.VALID, 2, 9)
    assert {r.state for r in unit.replicas if r.id != 2} == {R.REDUNDANT}


def test_when_an_accepted_answer_falls_so_does_what_it_proved() -> None:
    unit = answered(answered(answered(new(), 1, camp=1, trust=Trust.KNOWN), 2, camp=2), 3, camp=1)
    assert said(unit, life.reopened(unit)) == {1: "unpassed", 2: "cleared", 3: "unpassed"}
    alone = answered(new(), 1, camp=1, trust=Trust.ALONE)
    assert said(alone, life.reopened(alone)) == {}


def test_an_answer_stands_while_somebody_who_is_not_distrusted_stands_behind_it() -> None:
    unit = answered(answered(new(), 1, camp=1), 2, camp=1)
    assert [r.id for r in supporters(unit)] == [1, 2]
    assert stands(unit, {1}.__contains__)
    assert not stands(unit, {1, 2}.__contains__)
    proved = answered(new(), 1, camp=1, proof=True)
    assert stands(proved, {1}.__contains__)


def test_trust_is_earned_checked_for_ever_halves_and_is_harder_to_win_back() -> None:
    standing = Standing()
    for _ in range(int(RULES.probation)):
        assert standing.trust(0.9, 0.0) is Trust.NEW
        standing = weighed(standing, Kind.PASSED, 0.0)
    assert standing.trust(RULES.audit, 0.0) is Trust.ALONE
    assert standing.trust(RULES.audit * 0.999, 0.0) is Trust.KNOWN
    assert standing.trust(0.9, RULES.half_life_s) is Trust.NEW
    assert standing.trust(0.9, -RULES.half_life_s) is Trust.ALONE
    assert standing.trust(0.9, 0.05 * RULES.half_life_s) is Trust.ALONE
    fallen = weighed(standing, Kind.LIED, 0.0)
    assert fallen.distrusted(0.0)
    assert fallen.trust(0.9, 0.0) is Trust.LOST
    for _ in range(4 * int(RULES.probation)):
        assert fallen.distrusted(0.0)
        fallen = weighed(fallen, Kind.PASSED, 0.0)
    assert fallen.established(0.0)
    assert not fallen.distrusted(0.0)
    assert weighed(standing, Kind.DOUBTED, 0.0).trust(0.9, 0.0) is Trust.NEW
    assert not weighed(weighed(Standing(), Kind.LIED, 0.0), Kind.CLEARED, 0.0).distrusted(0.0)


@pytest.mark.parametrize(
    ("lies", "want", "undecided", "gets"), [(0, 9, 9, 9), (1, 9, 0, 1), (1, 9, 1, 0), (1, 0, 0, 0)]
)
def test_a_host_found_lying_gets_a_copy_at_a_time(lies: int, want: int, undecided: int, gets: int) -> None:
    assert Standing(lies=lies).may_have(want, undecided, 0.0) == gets


@given(st.binary(min_size=1, max_size=64), st.integers(1, 2**62))
def test_a_draw_is_a_share_and_everybodys_the_same(key: bytes, unit: int) -> None:
    assert 0.0 <= drawn(key, unit) < 1.0
    assert drawn(key, unit) == drawn(key, unit)


def test_draws_are_even() -> None:
    hits = sum(drawn(b"key", unit) < RULES.audit for unit in range(20_000))
    assert 480 < hits < 720


@given(st.lists(st.tuples(st.sampled_from(list(Trust)), st.integers(0, 3)), min_size=1, max_size=9))
def test_whatever_is_answered_every_fall_takes_back_exactly_what_was_said(copies: list[tuple[Trust, int]]) -> None:
    unit = new()
    score: Counter[tuple[int, str]] = Counter()
    first: dict[int, int] = {}
    for number, (trust, value) in enumerate(copies, 1):
        if unit.final:
            break
        was = unit
        unit = answered(unit, number, first.setdefault(value, number), trust)
        score.update((each.host, each.kind.value) for each in evidence(was, unit))
    if unit.state is not U.VALID:
        assert not score
        return
    heard = [r.trust for r in supporters(unit) if r.trust > Trust.LOST]
    assert len(heard) >= 2 or heard == [Trust.ALONE]
    for each in evidence(unit, life.reopened(unit)):
        back = {Kind.UNPASSED: "passed", Kind.CLEARED: "lied"}[each.kind]
        score[each.host, back] -= 1
    assert {kind for (_, kind), n in score.items() if n} <= {"doubted"}


class Contest(RuleBasedStateMachine):
    """Hosts of any trust take copies of a unit, adaptive or not, answer in time or late, and are found lying."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = new()
        self.first: dict[int, int] = {}
        self.score: Counter[tuple[int, str]] = Counter()

    @initialize(adaptive=st.booleans(), quorum=st.integers(1, 3))
    def make(self, adaptive: bool, quorum: int) -> None:
        if not adaptive:
            self.unit = life.created(1, quorum)

    def become(self, unit: Unit) -> None:
        was, self.unit = self.unit, unit
        back = {Kind.UNPASSED: "passed", Kind.CLEARED: "lied"}
        for each in evidence(was, unit):
            if each.kind is Kind.DECIDED:
                assert unit.state is U.VALID
                continue
            self.score[each.replica, back.get(each.kind, each.kind.value)] += -1 if each.kind in back else 1

    @precondition(lambda self: self.unit.unsent)
    @rule(trust=st.sampled_from(list(Trust)))
    def lease(self, trust: Trust) -> None:
        self.become(leased(self.unit, len(self.unit.replicas) + 1, trust))

    @rule()
    def expire(self) -> None:
        self.become(life.expire(self.unit, NEVER))

    @rule(number=st.integers(0, 9), value=st.sampled_from([1, 1, 2, 3]))
    def answer(self, number: int, value: int) -> None:
        out = [r.id for r in self.unit.replicas if r.state in (R.LEASED, R.EXPIRED)]
        if out:
            copy = out[number % len(out)]
            self.become(life.report(self.unit, copy))
            camp = self.first.get(value, copy)
            camp = self.first[value] = camp if camp in life.centres(self.unit) else copy
            self.become(life.judge(self.unit, copy, camp=camp))

    @rule(number=st.integers(1, 9))
    def find_lying(self, number: int) -> None:
        self.become(life.distrusted(self.unit, number, Trust.LOST))

    @precondition(lambda self: contest.outvoted(self.unit))
    @rule()
    def overrule(self) -> None:
        was = supporters(self.unit)
        self.become(life.overruled(self.unit))
        assert {self.unit.replica(r.id).state for r in was} == {R.INVALID}
        assert not contest.contesting(self.unit)

    @precondition(lambda self: self.unit.state is U.VALID)
    @rule(chance=st.integers(0, 4))
    def reopen(self, chance: int) -> None:
        if not chance:
            self.become(life.reopened(self.unit))
            self.first.clear()

    @invariant()
    def every_promise_holds(self) -> None:
        unit = self.unit
        assert (unit.canonical is not None) == (unit.state is U.VALID)
        waiting = {r.id for r in unit.replicas if r.state is R.REPORTED and r.camp is not None}
        if unit.final:
            assert waiting == {r.id for r in contest.contesting(unit)}, "an answer without a verdict contests nothing"
            out = any(r.state is R.LEASED for r in unit.replicas)
            assert not waiting or unit.unsent or out or contest.outvoted(unit), "nobody will ever decide this"
            assert waiting or not unit.unsent
        assert set(self.score.values()) <= {0, 1}, "something was said twice, or taken back that was not said"
        if unit.state is U.VALID and not unit.adaptive:
            assert sum(r.trust > Trust.LOST for r in supporters(unit)) >= unit.quorum, "liars made up the quorum"
        if unit.state is not U.VALID:
            assert {what for (_, what), n in self.score.items() if n} <= {"doubted"}


TestContest = Contest.TestCase
TestContest.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("trust", [Trust.NEW, Trust.KNOWN, Trust.ALONE])
def test_a_unit_that_is_not_adaptive_gets_its_quorum_whoever_answers(trust: Trust) -> None:
    unit = leased(life.created(1, 2), 1, trust)
    assert unit.unsent == 1
    unit = life.judge(life.report(unit, 1), 1, camp=1)
    assert unit.state is U.READY
    assert replace(unit, state=unit.state).replicas[0].state is R.REPORTED


@pytest.mark.parametrize("quorum", [1, 2])
def test_but_not_of_hosts_that_were_found_lying(quorum: int) -> None:
    unit = life.created(1, quorum)
    for number in (1, 2, 3):
        unit = answered(unit, number, camp=1, trust=Trust.LOST)
    assert (unit.state, unit.unsent) == (U.READY, quorum)
    for number in range(4, 4 + quorum):
        unit = answered(unit, number, camp=1)
    assert (unit.state, unit.canonical) == (U.VALID, 1)
    assert {r.state for r in unit.replicas} == {R.VALID}, "they are right all the same"
