"""Camps: who stands with whom depends on the answers, never on the order in which they came."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage import codec
from dsage_validator import life
from dsage_validator.camps import Standing, camps
from dsage_validator.unit import Judgement, Replica


def standing(number: int, value: float, *, leads: bool = False) -> Standing:
    return Standing(replica=number, value=codec.encode(value), leads=leads)


async def within_one(a: Standing, b: Standing) -> bool:
    assert a.replica < b.replica, "a question is asked one way only"
    assert a.value != b.value, "equal answers need no question"
    return bool(abs(codec.decode(a.value) - codec.decode(b.value)) <= 1)


def found(*answers: Standing) -> dict[int, int]:
    return asyncio.run(camps(answers, within_one))


def test_the_answer_in_the_middle_is_the_centre_whenever_it_came() -> None:
    for order in permutations([1, 2, 3]):
        numbers = dict(zip(order, (0.0, 1.0, 2.0), strict=True))
        middle = order[1]
        assert found(*(standing(n, v) for n, v in numbers.items())) == dict.fromkeys(order, middle)


def test_members_are_neighbours_of_the_centre_and_not_of_one_another_only() -> None:
    line = [standing(n, float(n)) for n in range(1, 6)]
    assert found(*line) == {1: 2, 2: 2, 3: 2, 4: 4, 5: 4}


def test_of_several_with_as_many_neighbours_the_smallest_id_is_the_centre() -> None:
    assert found(standing(4, 0.0), standing(3, 0.5), standing(9, 9.0), standing(7, 9.5)) == {3: 3, 4: 3, 7: 7, 9: 7}


def test_an_answer_that_leads_is_the_centre_however_many_stand_elsewhere() -> None:
    others = [standing(n, 5.0) for n in (1, 2, 3)]
    assert found(*others, standing(4, 0.0, leads=True), standing(5, 0.5)) == {1: 1, 2: 2, 3: 3, 4: 4, 5: 4}
    assert found(standing(2, 0.0, leads=True), standing(1, 0.5, leads=True)) == {1: 1, 2: 1}


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(values: list[int], random: Any) -> None:
    answers = [standing(number, value / 2) for number, value in enumerate(values, 1)]
    mixed = random.sample(answers, len(answers))
    assert found(*answers) == found(*mixed)


@pytest.mark.parametrize("quorum", [2, 3, 4])
@settings(deadline=None)
@given(values=st.lists(st.integers(0, 6), min_size=4, max_size=7), random=st.randoms(use_true_random=False))
def test_a_unit_is_decided_as_soon_as_some_answer_has_a_quorum_of_neighbours(
    quorum: int, values: list[int], random: Any
) -> None:
    """Answers come one at a time in any order; all of them that are in say whether the unit is decided."""
    unit = life.created(1, quorum)
    kept = {n: standing(n, value / 2) for n, value in enumerate(values, 1)}
    for number in kept:
        unit = life.lease(unit, Replica(id=number, volunteer=number, deadline=9.0, hard_deadline=9.0))
    came: list[int] = []
    for number in random.sample(sorted(kept), len(kept)):
        unit = life.report(unit, number)
        pool = [kept[r.id] for r in life.standing(unit)] + [kept[number]]
        said = found(*pool)
        unit = life.judged(unit, [Judgement(id=n, camp=camp) for n, camp in said.items()])
        came.append(number)
        near = {n: sum(abs(values[n - 1] - values[m - 1]) <= 2 for m in came) for n in came}
        enough = [n for n, count in near.items() if count >= quorum]
        assert (unit.state == "valid") is bool(enough)
        if enough:
            assert near[unit.canonical or 0] == max(near.values())
            assert unit.canonical == min(n for n in came if near[n] == max(near.values()))
            return


def test_a_judged_answer_moves_while_the_unit_is_open_and_keeps_its_proof_and_share() -> None:
    unit = life.created(1, 3)
    for number in (1, 2, 3, 4):
        unit = life.lease(unit, Replica(id=number, volunteer=number, deadline=9.0, hard_deadline=9.0))
    unit = life.judge(life.report(unit, 1), 1, camp=1, share=0.5)
    unit = life.judge(life.report(unit, 2), 2, camp=2)
    assert [r.id for r in life.standing(unit)] == [1, 2]
    unit = life.report(unit, 3)
    unit = life.judged(unit, [Judgement(id=n, camp=3) for n in (1, 2, 3)])
    assert (unit.state, unit.canonical, unit.replica(1).share) == ("valid", 3, 0.5)
    assert [r.id for r in life.standing(unit)] == [3]
    late = life.judged(life.report(unit, 4), [Judgement(id=4, camp=3), Judgement(id=1, camp=1)])
    assert (late.replica(4).state, late.replica(1).camp) == ("valid", 3), "what was accepted stays"
