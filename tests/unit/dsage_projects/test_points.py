"""Point counts: against a table, against counting by hand, and Mestre's method against the sum over all x."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.testing import MemoryServer
from dsage_projects.points import Points, counting, seconds

ELEVEN = [0, -1, 1, -10, -20]
CURVES = [ELEVEN, [1, 2, 3, 4, 5], [0, 0, 0, -1, 0], [0, 0, 1, 0, 0], [1, 0, 0, -2, 7], [0, 0, 1, -1, 0]]
COUNTS = [[2, 5], [3, 5], [5, 5], [7, 10], [13, 10], [17, 20], [19, 20], [23, 25], [29, 30], [31, 25]]
"""Of the curve of conductor 11, modulo which it has no points to count."""


def result(function: Points) -> Any:
    return asyncio.run(Driver(function, MemoryServer(function), 1).drive()).result


def by_hand(curve: list[int], p: int) -> int:
    a1, a2, a3, a4, a6 = curve
    plane = [(x, y) for x in range(p) for y in range(p)]
    return 1 + sum((y * y + a1 * x * y + a3 * y - x**3 - a2 * x * x - a4 * x - a6) % p == 0 for x, y in plane)


def test_the_curve_of_conductor_eleven() -> None:
    assert result(Points(below=32)) == COUNTS
    assert result(Points(curve=ELEVEN, below=32, block=7)) == COUNTS


@pytest.mark.parametrize("curve", CURVES)
def test_counts_are_those_by_hand(curve: list[int]) -> None:
    primes = counting.good_primes(curve, 2, 48)
    assert len(primes) > 10
    assert [counting.count(curve, p) for p in primes] == [by_hand(curve, p) for p in primes]


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("start", [458, 10_000])
def test_both_methods_give_the_same(curve: list[int], start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    primes = counting.good_primes(curve, start, start + 300 if start < 1000 else start + 50)
    quick = [counting.count(curve, p) for p in primes]
    monkeypatch.setattr(counting, "MESTRE", 10**9)
    assert quick == [counting.count(curve, p) for p in primes]


def test_a_large_prime_of_a_curve_whose_counts_are_known() -> None:
    """y^2 = x^3 - x has p + 1 points modulo p = 3 mod 4, and 32 divides what it has modulo p = 1 mod 8 in no other way
    than p + 1 - 2a with a^2 + b^2 = p."""
    p = 10**12 + 39
    assert p % 4 == 3
    assert counting.count([0, 0, 0, -1, 0], p) == p + 1
    q = 10**12 + 61
    t = q + 1 - counting.count([0, 0, 0, -1, 0], q)
    rest = q - (t // 2) ** 2
    assert t % 2 == 0
    assert int(rest**0.5 + 0.5) ** 2 == rest


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("start", [2, 440, 10_000])
@pytest.mark.parametrize("seed", [0, 0x0123456789ABCDEF, 2**64 - 1])
def test_a_curve_in_other_coordinates_has_as_many_points(curve: list[int], start: int, seed: int) -> None:
    args = [curve, start, start + 50]
    changed = Points.perturb(args, seed)
    assert args[0] is curve
    assert changed[0] != curve
    assert counting.good_primes(*changed) == counting.good_primes(*args)
    assert Points.compute(changed) == Points.compute(args) == Points.compute_perturbed(args, seed)
    others = [Points.perturb(args, seed ^ 1 << bit)[0] for bit in (0, 16, 32, 63)]
    assert all(changed[0] != other for other in others)


def test_a_fault_does_not_agree_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign that is lost where a coefficient is odd: on the curve as it is, all computers lose the same one."""
    honest = counting.count

    def faulty(curve: list[int], p: int) -> int:
        return honest(curve, p) if p < 5 or (curve[4] % p) % 7 else 2 * (p + 1) - honest(curve, p)

    args = [ELEVEN, 10_000, 10_200]
    right = Points.compute(args)
    monkeypatch.setattr("dsage_projects.points.count", faulty)
    plain = [Points.compute(args) for _ in range(2)]
    assert plain[0] == plain[1] != right
    copies = [Points.compute_perturbed(args, seed) for seed in (0x0123456789ABCDEF, 0xFEDCBA9876543210)]
    assert copies[0] != copies[1]


def test_an_answer_outside_of_what_is_possible_is_a_lie() -> None:
    args = [ELEVEN, 2, 32]
    right = [n for _, n in COUNTS]
    assert Points.verify(args, right) is None
    lies: list[Any] = [[], right[:-1], [*right, 1], [12, *right[1:]], [-5, *right[1:]], [5.0, *right[1:]], "lie", None]
    for lie in lies:
        assert Points.verify(args, lie) is False


def test_what_is_no_curve_is_refused() -> None:
    for wrong in ({"curve": "0,0,0,0,0"}, {"curve": "1,2,3"}, {"start": 1}, {"block": 0}):
        with pytest.raises(UsageError):
            Points(**wrong)


def test_credit_grows_with_the_work() -> None:
    assert [unit.args[1:] for unit in Points(below=25, start=5, block=10).units()] == [[5, 15], [15, 25]]
    assert seconds(10**9, 10**9 + 1000) > 2 * seconds(10**6, 10**6 + 1000)
    (unit,) = Points(start=10**9, below=10**9 + 1000).units()
    assert unit.credit == pytest.approx(seconds(10**9, 10**9 + 1000) / 60)
