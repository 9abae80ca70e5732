"""Whose word alone is taken, what a change of a unit says of its hosts, and which accepted answers stand."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dsage.states import ReplicaState as R
from dsage.states import UnitState as U
from dsage_validator import life
from dsage_validator.life import Trust
from dsage_validator.reputation import RULES, Kind, Standing, drawn, evidence, stands, supporters, weighed

NEVER = 1e9


def leased(unit: life.Unit, number: int, trust: Trust = Trust.NEW) -> life.Unit:
    copy = life.Replica(
        id=number, volunteer=100 + number, host=number, deadline=NEVER, hard_deadline=NEVER, trust=trust
    )
    return life.lease(unit, copy)


def answered(unit: life.Unit, number: int, camp: int, trust: Trust = Trust.NEW, proof: bool | None = None) -> life.Unit:
    return life.judge(life.report(leased(unit, number, trust), number), number, camp=camp, proof=proof)


def new() -> life.Unit:
    return life.created(1, 2, adaptive=True)


def said(was: life.Unit, unit: life.Unit) -> dict[int, str]:
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
    assert (unit.state, unit.unsent, life.first_copy(unit)) == (U.READY, 1, True)
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
    apart = life.judge(life.report(unit, 1), 1, camp=1)
    assert said(unit, apart) == {1: "doubted"}


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


@pytest.mark.parametrize("trust", list(Trust))
def test_a_unit_that_is_not_adaptive_gets_its_quorum_whoever_answers(trust: Trust) -> None:
    unit = leased(life.created(1, 2), 1, trust)
    assert unit.unsent == 1
    unit = life.judge(life.report(unit, 1), 1, camp=1)
    assert unit.state is U.READY
    assert replace(unit, state=unit.state).replicas[0].state is R.REPORTED
