"""Aurifeuillian factors: values of cyclotomic polynomials that fall apart although the polynomials do not.

For squarefree t > 1 let N = t if t = 1 mod 4, else 2t. There are integer polynomials C and D with
Phi_N(x) = C(x)^2 - t x D(x)^2. Whenever t x is a square s^2, that is a difference of two squares:
Phi_N(x) = (C - s D)(C + s D). The classic case is t = 2: x^2 + 1 = (x + 1)^2 - 2x, so with x = 2^29
2^58 + 1 = (2^29 - 2^15 + 1)(2^29 + 2^15 + 1). Since x^m keeps the property for odd m, and Phi_d(x) divides Phi_N(x^m)
for d = m N, the factors of the former are gcds with those of the latter.

Source: R. P. Brent, "On computing factors of cyclotomic polynomials", Math. Comp. 61 (1993), algorithm L.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import gmpy2
from gmpy2 import mpz

MAX_T: Final = 1000
"""C and D have about t/2 coefficients, found in t^2/8 steps; a larger t needs exponents above 1000."""


def aurifeuillian(d: int, a: int, b: int, value: int) -> list[int]:
    """Return [value] or its two factors, where value = Phi_d(a, b) with coprime a > b >= 1."""
    for t in _candidates(d):
        if not gmpy2.is_square(mpz(t) * a * b):
            continue
        m = d // _order(t)
        x, y = mpz(a) ** m, mpz(b) ** m
        s = gmpy2.isqrt(t * x * y)
        c_terms, d_terms = lucas(t)
        factor = int(gmpy2.gcd(value, _at(c_terms, x, y) - s * _at(d_terms, x, y)))
        if 1 < factor < value:
            return [factor, value // factor]
    return [value]


@cache
def lucas(t: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the coefficients of C and D, highest power first, for squarefree t > 1.

    They follow from the power sums of the roots of Phi_N by Newton's identities, and are symmetric.
    """
    n = _order(t)
    degree = _phi(n) // 2
    q = [0, *(_power_sum(t, n, k) for k in range(1, degree + 2))]
    c, d = [1], [1]
    for k in range(1, degree // 2 + 1):
        total = sum(t * q[2 * k - 2 * j - 1] * d[j] - q[2 * k - 2 * j] * c[j] for j in range(k))
        c.append(total // (2 * k))
        total = c[k] + sum(q[2 * k + 1 - 2 * j] * c[j] - q[2 * k - 2 * j] * d[j] for j in range(k))
        d.append(total // (2 * k + 1))
    c_full = [c[min(i, degree - i)] for i in range(degree + 1)]
    d_full = [d[min(i, degree - 1 - i)] for i in range(degree)]
    return tuple(c_full), tuple(d_full)


def _candidates(d: int) -> list[int]:
    """Return the t whose N divides d an odd number of times."""
    found = []
    for t in range(2, min(d, MAX_T) + 1):
        n = _order(t)
        if d % n == 0 and d // n % 2 and _mobius(t):
            found.append(t)
    return found


def _order(t: int) -> int:
    return t if t % 4 == 1 else 2 * t


def _power_sum(t: int, n: int, k: int) -> int:
    """Return Brent's q_k: k-th power sums of the roots of Phi_N, up to sign and a square root of t for odd k."""
    if k % 2:
        return int(gmpy2.jacobi(t, k))
    g = math.gcd(k, n)
    cosine = (1, 0, -1, 0)[(t - 1) * k // 2 % 4]
    return _mobius(n // g) * _phi(g) * cosine


def _at(coefficients: tuple[int, ...], x: mpz, y: mpz) -> mpz:
    """Return the homogeneous polynomial's value at (x, y)."""
    value, power = mpz(0), mpz(1)
    for c in coefficients:
        value = value * x + c * power
        power *= y
    return value


def _mobius(n: int) -> int:
    sign, p = 1, 2
    while n > 1:
        if n % p == 0:
            n //= p
            if n % p == 0:
                return 0
            sign = -sign
        p += 1
    return sign


def _phi(n: int) -> int:
    return sum(math.gcd(i, n) == 1 for i in range(1, n + 1))
