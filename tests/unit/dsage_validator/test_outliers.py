"""What is odd about a host: each pattern is found among a thousand, and of a thousand honest ones none is."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dsage_validator.outliers import FEWEST, PEOPLE, Answer, Kind, Profile, deviation, outliers, tail

APP = "app"
EACH = 64
SEEDS = range(3)


def honest(draw: random.Random, host: int, crowd: int, *, app: str = APP, speed: float | None = None) -> Profile:
    """An honest host: its speed is its own, its answers are its units', its partners are drawn from all; what it
    fetches in one call meets the same one, and now and then a unit ends early."""
    speed = draw.lognormvariate(0.0, 0.6) if speed is None else speed
    answers = []
    for n in range(EACH):
        reference_s = draw.choice((30.0, 60.0, 1800.0))
        early = draw.random() < 0.03
        took_s = reference_s / speed * draw.lognormvariate(0.0, 0.15) * (0.01 if early else 1.0)
        partner = random.Random(host * 1000 + n // 4).randrange(crowd)
        value = "nothing" if draw.random() < 0.3 else f"{host}-{n}"
        answers.append(
            Answer(reference_s=reference_s, took_s=took_s, value=value, call=n // 4, partners=(partner,) * (n % 8 < 4))
        )
    return Profile(host=host, volunteer=host, app=app, answers=tuple(answers))


def crowd(seed: int, n: int) -> list[Profile]:
    draw = random.Random(seed)
    return [honest(draw, host, n) for host in range(1, n + 1)]


def too_fast(each: Profile, draw: random.Random) -> Profile:
    return replace(each, answers=tuple([replace(a, took_s=a.reference_s / 200) for a in each.answers]))


def a_third_too_fast(each: Profile, draw: random.Random) -> Profile:
    answers = [replace(a, took_s=0.01) if n % 3 == 0 else a for n, a in enumerate(each.answers)]
    return replace(each, answers=tuple(answers))


def always_as_long(each: Profile, draw: random.Random) -> Profile:
    return replace(each, answers=tuple([replace(a, took_s=a.reference_s * 1.01) for a in each.answers]))


def always_the_same(each: Profile, draw: random.Random) -> Profile:
    return replace(each, answers=tuple([replace(a, value="0") for a in each.answers]))


def one_partner(each: Profile, draw: random.Random) -> Profile:
    return replace(each, answers=tuple([replace(a, partners=(7,)) for a in each.answers]))


def a_ring(each: Profile, draw: random.Random) -> Profile:
    return replace(each, answers=tuple([replace(a, partners=(draw.choice((7, 8, 9)),)) for a in each.answers]))


PATTERNS: list[tuple[Callable[[Profile, random.Random], Profile], Kind]] = [
    (too_fast, Kind.FAST), (a_third_too_fast, Kind.FAST), (always_as_long, Kind.REGULAR),
    (always_the_same, Kind.REGULAR), (one_partner, Kind.PARTNERS), (a_ring, Kind.PARTNERS),
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_thousand_honest_hosts_none_stands_out(seed: int) -> None:
    assert outliers(crowd(seed, 1000)) == []


@pytest.mark.parametrize(("pattern", "kind"), PATTERNS, ids=[pattern.__name__ for pattern, _ in PATTERNS])
@pytest.mark.parametrize("size", [30, 300])
def test_each_pattern_is_found_and_nobody_else_is(
    pattern: Callable[[Profile, random.Random], Profile], kind: Kind, size: int
) -> None:
    profiles = crowd(5, size)
    draw = random.Random(5)
    odd = {3, 17} if size == 30 else {3, 50, 99, 200, 299}
    mixed = [pattern(each, draw) if each.host in odd else each for each in profiles]
    found = [sign for sign in outliers(mixed) if sign.kind is kind]
    assert {sign.host for sign in found} == odd
    assert {sign.host for sign in outliers(mixed)} <= odd
    assert all(sign.sentence and sign.figures["of"] for sign in found)


def test_a_fast_computer_is_fast_everywhere_and_no_outlier() -> None:
    draw = random.Random(2)
    slow = [honest(draw, host, 20, speed=draw.uniform(0.9, 1.1)) for host in range(1, 21)]
    elsewhere = [honest(draw, host, 20, app="other", speed=draw.uniform(0.9, 1.1)) for host in range(1, 20)]
    swift = honest(draw, 99, 20, speed=9.0)
    assert {sign.kind for sign in outliers([*slow, *elsewhere, swift])} == {Kind.FAST}
    its_own = honest(draw, 99, 20, app="other", speed=4.0)
    assert outliers([*slow, *elsewhere, swift, its_own]) == []


def test_where_all_answers_are_the_same_that_is_the_work() -> None:
    same = [always_the_same(each, random.Random(0)) for each in crowd(1, 100)]
    assert outliers(same) == []


@pytest.mark.parametrize("few", [PEOPLE - 1, FEWEST - 1])
def test_few_hosts_or_answers_are_not_judged(few: int) -> None:
    if few < PEOPLE:
        profiles = [too_fast(each, random.Random(0)) if each.host == 1 else each for each in crowd(1, few)]
    else:
        whole = crowd(1, 50)
        profiles = [replace(too_fast(whole[0], random.Random(0)), answers=whole[0].answers[:few]), *whole[1:]]
    assert outliers(profiles) == []


def test_many_hosts_of_one_volunteer_are_no_crowd() -> None:
    profiles = [replace(each, volunteer=each.host % 3) for each in crowd(1, 50)]
    assert outliers([too_fast(profiles[0], random.Random(0)), *profiles[1:]]) == []


def test_in_a_small_crowd_the_same_partner_is_met_again_and_again() -> None:
    assert outliers(crowd(3, PEOPLE)) == []


@given(n=st.integers(0, 60), k=st.integers(-1, 61), share=st.fractions(0, 1, max_denominator=50))
def test_the_tail_is_the_binomials(n: int, k: int, share: Fraction) -> None:
    exact = sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(max(k, 0), n + 1))
    assert tail(n, k, float(share)) == pytest.approx(float(exact), rel=1e-9, abs=1e-15)


def test_the_deviation_is_that_of_a_normal_distribution_and_robust() -> None:
    draw = random.Random(1)
    values = [draw.gauss(0.0, 2.0) for _ in range(20_000)]
    assert deviation(values) == pytest.approx(2.0, rel=0.05)
    assert deviation([*values, *[1e9] * 2000]) == pytest.approx(2.0, rel=0.25)


@given(
    st.lists(
        st.builds(
            Answer, reference_s=st.floats(0, 1e6), took_s=st.floats(0, 1e6), value=st.sampled_from("ab"),
            call=st.floats(0, 3), partners=st.lists(st.integers(0, 9), max_size=3).map(tuple),
        ), max_size=30,
    ), st.integers(1, 12),
)  # fmt: skip
def test_any_answers_can_be_looked_at(answers: list[Answer], hosts: int) -> None:
    outliers([Profile(host=h, volunteer=h, app=APP, answers=tuple(answers)) for h in range(hosts)])
