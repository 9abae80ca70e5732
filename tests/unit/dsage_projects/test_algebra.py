"""Algebra: the pieces of a^k ± b^k, Aurifeuille's factors, perfect powers; the product is always exactly n."""

from __future__ import annotations

import math

import flint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_projects.factor import algebra, aurifeuille
from dsage_projects.factor.algebra import Binomial, coprime, cyclotomic, perfect_root, recognise, split
from dsage_projects.factor.expression import parse


def test_the_headline_falls_into_six() -> None:
    parts = split(11**150 + 1)
    assert parts == [(cyclotomic(d, 11, 1), 1) for d in (4, 12, 20, 60, 100, 300)]
    assert [len(str(base)) for base, _ in parts] == [3, 5, 9, 17, 42, 84]


def test_the_number_is_recognised_without_its_expression() -> None:
    assert recognise(11**150 + 1) == [Binomial(11, 1, 150, 1)]
    assert Binomial(5, 3, 75, -1) in recognise(5**75 - 3**75)
    assert Binomial(10, 1, 37, -1) in recognise((10**37 - 1) // 9)
    assert Binomial(7, 1, 41, 1) in recognise((7**41 + 1) // 8)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("2^58+1", [1, 9, 9]),
        ("2^90+27", [10, 10, 10]),
        ("10^40+4*3^40", [1, 20, 20]),
        ("3^33+1", [1, 1, 5, 5, 6]),
        ("5^35-1", [1, 2, 2, 5, 8, 9]),
        ("12^45+1", [1, 2, 2, 4, 4, 5, 5, 5, 13, 13]),
        ("12^45-1", [2, 3, 5, 7, 9, 26]),
        ("21^63-1", [2, 3, 8, 8, 8, 9, 24, 24]),
        ("5^75-3^75", [1, 1, 4, 6, 15, 28]),
        ("2^210+1", None),
        ("(10^60-1)/9", None),
        ("(2^90+27)^3*5", None),
        ("(11^150+1)/122", None),
        ("6^10+2^10", None),
        ("3^100", None),
        ("(7^30-1)^4", None),
        ("2^31-1", [10]),
    ],
)
def test_split_by_form(text: str, sizes: list[int] | None) -> None:
    number = parse(text)
    parts = split(number.value, number.binomials)
    assert math.prod(base**power for base, power in parts) == number.value
    assert all(math.gcd(x, y) == 1 for x, _ in parts for y, _ in parts if x != y)
    if sizes is not None:
        got = sorted(len(str(base)) for base, _ in parts)
        assert got == sizes


def test_perfect_powers_keep_their_exponents() -> None:
    assert split(3**100) == [(3, 100)]
    assert perfect_root(10**9999) == (10, 9999)
    assert perfect_root(6**12) == (6, 12)
    assert perfect_root(2**4 * 3**2) == (12, 2)
    assert {power for _, power in split((11**6 + 1) ** 5)} == {5}


def test_an_expression_tells_more_than_the_number() -> None:
    number = parse("(2^90+27)^3*5")
    assert len(split(number.value)) < len(split(number.value, number.binomials))


@pytest.mark.parametrize("t", [t for t in range(2, 120) if all(t % (p * p) for p in (2, 3, 5, 7))])
def test_brents_polynomials_satisfy_their_identity(t: int) -> None:
    above, below = (flint.fmpz_poly(list(terms)[::-1]) for terms in aurifeuille.lucas(t))
    x = flint.fmpz_poly([0, 1])
    order = t if t % 4 == 1 else 2 * t
    assert above * above - t * x * below * below == flint.fmpz_poly.cyclotomic(order)


@pytest.mark.parametrize(
    ("base", "k", "sign"),
    [(2, 58, 1), (3, 33, 1), (5, 35, -1), (6, 42, 1), (7, 49, 1), (10, 50, 1), (12, 33, 1), (13, 39, -1), (18, 10, 1)],
)
def test_aurifeuillian_numbers_split_once_more(base: int, k: int, sign: int) -> None:
    whole = list(algebra.pieces(Binomial(base, 1, k, sign)))
    orders = [d for d in range(1, 2 * k + 1) if ((2 * k) % d == 0 and k % d if sign > 0 else k % d == 0)]
    assert math.prod(whole) == base**k + sign
    assert len(whole) > len(orders)


@pytest.mark.parametrize("d", range(1, 121))
def test_cyclotomic_values_are_flints(d: int) -> None:
    assert cyclotomic(d, 7, 1) == flint.fmpz_poly.cyclotomic(d)(7)
    homogeneous = sum(
        int(c) * 5**i * 3 ** (flint.fmpz_poly.cyclotomic(d).degree() - i)
        for i, c in enumerate(flint.fmpz_poly.cyclotomic(d).coeffs())
    )
    assert cyclotomic(d, 5, 3) == homogeneous


@given(st.integers(2, 40), st.integers(1, 40), st.integers(2, 40), st.sampled_from((1, -1)), st.integers(1, 3))
def test_any_binomial_to_any_power(a: int, b: int, k: int, sign: int, power: int) -> None:
    n = abs(a**k + sign * b**k) ** power
    if n < 2:
        return
    form = algebra.binomial((a, k), (b, k), sign)
    parts = split(n, [form] if form else [])
    assert math.prod(base**e for base, e in parts) == n
    assert all(math.gcd(x, y) == 1 for x, _ in parts for y, _ in parts if x != y)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 4)), max_size=8))
def test_coprime_bases_keep_the_product(parts: list[tuple[int, int]]) -> None:
    bases = coprime(parts)
    assert math.prod(x**e for x, e in bases) == math.prod(x**e for x, e in parts)
    assert all(math.gcd(x, y) == 1 for x, _ in bases for y, _ in bases if x != y)


@pytest.mark.timeout(60)
def test_ten_thousand_digits_do_not_take_for_ever() -> None:
    number = parse("10^9999-1")
    parts = split(number.value, number.binomials)
    assert len(parts) > 10
    assert math.prod(base**power for base, power in parts) == number.value
