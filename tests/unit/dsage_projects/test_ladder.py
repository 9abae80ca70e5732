"""What is tried, in which order and portions: quick levels first, seconds for small numbers, minutes for big."""

from __future__ import annotations

import pytest

from dsage_projects.factor import ladder
from dsage_projects.factor.ladder import LADDER, curves_a_unit, digits, levels, sieve_now
from dsage_projects.factor.misses import PHI_300_11


@pytest.mark.parametrize("n", [1, 9, 10, 99, 100, 10**50 - 1, 10**50, 10**50 + 1, 2**4000])
def test_digits(n: int) -> None:
    assert digits(n) == len(str(n))


@pytest.mark.parametrize("size", [62, 84, 130, 300, 1000])
def test_units_last_from_seconds_to_minutes(size: int) -> None:
    n = 10 ** (size - 1) + 7
    for level in levels(n):
        curves = curves_a_unit(n, level)
        seconds = curves * ladder.curve_s(n, level.b1)
        one = ladder.curve_s(n, level.b1)
        whole = level.curves * one
        assert 1 <= curves <= level.curves
        assert seconds >= min(0.75, whole)
        assert seconds <= max(ladder.LONGEST_UNIT_S + one, one)


def test_the_demos_units_are_short() -> None:
    for level in levels(PHI_300_11)[:3]:
        assert curves_a_unit(PHI_300_11, level) * ladder.curve_s(PHI_300_11, level.b1) <= 2.0


def test_big_levels_make_units_of_minutes() -> None:
    n = 10**200
    level = LADDER[5]
    assert 60 <= curves_a_unit(n, level) * ladder.curve_s(n, level.b1) <= 600


def test_the_ladder_ends_where_no_factor_can_be() -> None:
    assert max(level.digits for level in levels(10**83)) == 45
    assert levels(10**31) == LADDER[:2]
    assert levels(10**500) == LADDER


def test_costs_are_the_measured_ones() -> None:
    for b1, seconds in ladder.CURVE_S.items():
        assert ladder.curve_s(PHI_300_11, b1) == pytest.approx(seconds)
    assert ladder.curve_s(10**299, 11_000) / 0.034 == pytest.approx(61 / 14, rel=0.2)
    assert ladder.curve_s(10**83, 3_000_000) == pytest.approx(3 * 2.11)
    assert ladder.sieve_s(10**59) == pytest.approx(13)


def test_a_sieve_is_used_where_it_is_the_cheaper_next_step() -> None:
    assert sieve_now(10**59, LADDER[0])
    assert not sieve_now(10**64, LADDER[0])
    assert sieve_now(10**64, LADDER[3])
    assert not any(sieve_now(10**80, level) for level in LADDER)


def test_what_a_unit_carries() -> None:
    unit = ladder.curves_unit(PHI_300_11, 11_000, 7777, 40, group="g", quorum=2)
    assert unit.args == {"kind": "ecm", "n": PHI_300_11, "b1": 11_000, "sigma": 7777, "curves": 40}
    assert unit.credit == pytest.approx(40 * 0.034 / 60)
    assert ladder.unit_s(unit.args) == pytest.approx(40 * 0.034)
    assert unit.deadline_s >= 60
    assert unit.limits.wall_s >= unit.limits.cpu_s >= 30 * 40 * 0.034
    assert (unit.group, unit.quorum) == ("g", 2)
    sieve = ladder.sieve_unit(10**50, group="g")
    assert sieve.args == {"kind": "flint", "n": 10**50}
    assert sieve.quorum == 1
