"""Algebra before computing: what the form of a number says about its factors.

    a^k - b^k  is the product of  Phi_d(a, b)  over the divisors d of k
    a^k + b^k  is the product of  Phi_d(a, b)  over the divisors d of 2k that do not divide k

where Phi_d is the d-th cyclotomic polynomial, made homogeneous. 11^150+1 has 157 digits, but its largest such
factor, Phi_300(11), has 84. Some of these values fall apart once more (see `aurifeuille`). All of this takes
microseconds. Source: Brillhart, Lehmer, Selfridge, Tuckerman & Wagstaff, "Factorizations of b^n ± 1", 3rd ed.,
introduction, section III.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import gmpy2
from gmpy2 import mpz

from dsage_projects.factor.aurifeuille import aurifeuillian

NEAR_ROOTS: Final = 4
"""How many a around the k-th root of n are tried for n = a^k ± b^k; only b close to a is missed."""
REPUNIT_BASES: Final = range(2, 101)

Parts = list[tuple[int, int]]
"""A number as [(base, multiplicity), ...]: pairwise coprime bases above 1."""


@dataclass(frozen=True, slots=True)
class Binomial:
    """a^k + sign * b^k with coprime a > b >= 1, k >= 2 and sign 1 or -1."""

    a: int
    b: int
    k: int
    sign: int


def split(n: int, binomials: Iterable[Binomial] = ()) -> Parts:
    """Return what algebra alone tells about n >= 2: coprime bases with multiplicities whose product is n.

    Uses the given binomials (n may be any divisor or multiple of them) and those that n itself turns out to be.
    """
    root, power = perfect_root(n)
    parts: Parts = [(root, power)]
    for form in dict.fromkeys([*binomials, *recognise(root)]):
        for piece in pieces(form):
            parts = refine(parts, piece)
    rooted = [(perfect_root(base), multiplicity) for base, multiplicity in parts]
    return sorted(coprime((base, power * multiplicity) for (base, power), multiplicity in rooted))


def coprime(parts: Iterable[tuple[int, int]]) -> Parts:
    """Return pairwise coprime bases with the same product as `parts`."""
    todo = list(parts)
    done: Parts = []
    while todo:
        x, e = todo.pop()
        if x == 1:
            continue
        for i, (y, f) in enumerate(done):
            g = int(gmpy2.gcd(x, y))
            if g > 1:
                del done[i]
                todo += [(x // g, e), (g, e + f), (y // g, f)]
                break
        else:
            done.append((x, e))
    return done


def refine(parts: Parts, piece: int) -> Parts:
    """Return `parts` split by the factors that they have in common with `piece`."""
    out: Parts = []
    for base, multiplicity in parts:
        g = int(gmpy2.gcd(base, piece))
        if 1 < g < base:
            out += coprime([(g, multiplicity), (base // g, multiplicity)])
        else:
            out.append((base, multiplicity))
    return out


def perfect_root(n: int) -> tuple[int, int]:
    """Return (r, k) with n = r^k and k as large as possible; n >= 2."""
    root, power = mpz(n), 1
    while gmpy2.is_power(root):
        for p in _primes(root.bit_length()):
            r, exact = gmpy2.iroot(root, p)
            if exact:
                root, power = r, power * p
                break
    return int(root), power


def binomial(left: tuple[int, int], right: tuple[int, int], sign: int) -> Binomial | None:
    """Return x^i + sign * y^j, given as (x, i) and (y, j), in its normal form without the common factor, or None."""
    (x, i), (y, j) = _rooted(left), _rooted(right)
    k = math.gcd(i, j)
    if min(x, y) < 1 or k < 2:
        return None
    a, b = x ** (i // k), y ** (j // k)
    g = math.gcd(a, b)
    a, b = max(a, b) // g, min(a, b) // g
    return Binomial(a, b, k, sign) if a > b else None


def recognise(n: int) -> list[Binomial]:
    """Return the forms a^k ± b^k that n is, and (a^k ± 1) / (a ± 1), without being told."""
    found = [*_powers_near(n), *_repunits(n)]
    return list(dict.fromkeys(form for form in found if form is not None))


def pieces(form: Binomial) -> Iterator[int]:
    """Yield factors of a^k ± b^k whose product it is: cyclotomic values, split further where Aurifeuille allows."""
    a, b, k = form.a, form.b, form.k
    orders = _divisors(k) if form.sign < 0 else [d for d in _divisors(2 * k) if k % d]
    for d in orders:
        value = cyclotomic(d, a, b)
        yield from aurifeuillian(d, a, b, value)


def cyclotomic(d: int, a: int, b: int) -> int:
    """Return Phi_d(a, b) = product of (a^(d/e) - b^(d/e))^mu(e) over the squarefree divisors e of d."""
    above = below = mpz(1)
    terms = [(d, 1)]
    for p in _prime_divisors(d):
        terms += [(e // p, -mu) for e, mu in terms]
    for e, mu in terms:
        value = mpz(a) ** e - mpz(b) ** e
        if mu > 0:
            above *= value
        else:
            below *= value
    return int(gmpy2.divexact(above, below))


def _rooted(power: tuple[int, int]) -> tuple[int, int]:
    """Return the same power with the smallest base. 1 is any power, so its exponent is 0, which every k divides."""
    base, exponent = power
    if base < 2:
        return base, 0
    root, k = perfect_root(base)
    return root, k * exponent


def _powers_near(n: int) -> Iterator[Binomial | None]:
    """Try n = a^k ± b^k for each prime k: a can only be near the k-th root of n unless b is close to a."""
    for k in _primes(n.bit_length()):
        root = int(gmpy2.iroot(mpz(n), k)[0])
        for a in range(max(root - NEAR_ROOTS + 1, 2), root + NEAR_ROOTS + 1):
            rest = mpz(a) ** k - n
            b, exact = gmpy2.iroot(abs(rest), k)
            if exact and b > 0:
                yield binomial((a, k), (int(b), k), -1 if rest > 0 else 1)


def _repunits(n: int) -> Iterator[Binomial | None]:
    for a in REPUNIT_BASES:
        for sign in (-1, 1):
            power = mpz(n) * (a + sign) - sign
            if power > a and power % a == 0:
                rest, k = gmpy2.remove(power, a)
                if rest == 1:
                    yield binomial((a, k), (1, 1), sign)


def _primes(limit: int) -> list[int]:
    out, p = [], 2
    while p <= limit:
        out.append(p)
        p = int(gmpy2.next_prime(p))
    return out


def _divisors(n: int) -> list[int]:
    low = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return sorted({*low, *(n // d for d in low)})


def _prime_divisors(n: int) -> list[int]:
    return [p for p in _divisors(n) if gmpy2.is_prime(p)]
