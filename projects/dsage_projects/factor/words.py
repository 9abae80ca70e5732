"""A factorisation in words, for people who look at a terminal."""

from __future__ import annotations

import gmpy2

from dsage_projects.factor.ladder import digits


def answer(n: int, factors: list[list[int]], unfinished: list[list[int]]) -> str:
    """Return the answer in a line, and a line more for each part that is not finished."""
    if abs(n) == 1:
        return f"{n} has no prime factors"
    if factors == [[n, 1]]:
        return f"{_decimal(n)} is prime"
    product = " · ".join(_power(base, exponent) for base, exponent in [*factors, *unfinished])
    rest = [f"unfinished, of {digits(base):,} digits: {_decimal(base)}" for base, _ in unfinished]
    return "\n".join([f"{_decimal(n)} = {product}", *rest])


def standing(curves: int, primes: int) -> str:
    """Return how far a factorisation has come."""
    return "; ".join(
        f"{count:,} {one if count == 1 else one + 's'} {what}"
        for count, one, what in ((curves, "curve", "done"), (primes, "prime factor", "known"))
        if count
    )


def _power(base: int, exponent: int) -> str:
    return _decimal(base) if exponent == 1 else f"{_decimal(base)}^{exponent}"


def _decimal(number: int) -> str:
    """Return an integer in decimal; gmpy2 has no limit of digits."""
    return str(gmpy2.mpz(number).digits())
