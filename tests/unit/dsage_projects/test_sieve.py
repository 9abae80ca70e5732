"""Whole factorisations, with and without a place for the sieve's file."""

from __future__ import annotations

import gmpy2
import pytest

from dsage_projects.factor import sieve
from dsage_projects.factor.groundwork import product

P, Q, R = (int(gmpy2.next_prime(k)) for k in (10**13, 3 * 10**14, 10**25))
NUMBERS = [7, P, P * Q, P**2 * Q**3, 3 * P * Q, 2**5 * 3**4 * R, (P * Q) ** 2, 1_000_003 * 1_000_033 * R, P * R]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("n", NUMBERS)
def test_every_prime_with_its_multiplicity(n: int, writable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not writable:
        monkeypatch.setattr(sieve, "PLACE", "/proc/nowhere")
        assert not sieve.can_write()
    factors = sieve.factor(n)
    assert product(factors) == n
    assert all(gmpy2.is_prime(p) for p, _ in factors)
    assert factors == sorted(factors)


def test_without_a_place_flint_is_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve, "PLACE", "/proc/nowhere")

    class Refusing:
        def __init__(self, n: int) -> None:
            self.n = n

        def is_prime(self) -> bool:
            return bool(gmpy2.is_prime(self.n))

    monkeypatch.setattr("dsage_projects.factor.sieve.flint.fmpz", Refusing)
    monkeypatch.setattr(sieve, "FILELESS_DIGITS", 0)
    assert sieve.factor(P * Q) == [[P, 1], [Q, 1]]
