"""Pollard's p-1 method: finds a prime p, however long, if p - 1 has no prime power above the bound.

Source: Pollard 1974; Crandall & Pomerance, Prime Numbers, algorithm 5.4.1 (the first stage).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

import gmpy2

BASE: Final = 3
BLOCK: Final = 20_000
"""So many numbers at a time: 0.01 s, the least that a stopped unit may lose."""


def powers(n: int, b1: int, x: int = BASE, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (end, x): x modulo n raised to all prime powers up to b1 whose primes lie in (start, end]."""
    while start < b1:
        end = min(start + BLOCK, b1)
        x = int(gmpy2.powmod(x, prod(_highest(p, b1) for p in _primes(start, end)), n))
        yield end, x
        start = end


def factor(n: int, x: int) -> int:
    """Return the factor of n that x shows, 0 if there is none or all of n."""
    found = int(gmpy2.gcd(x - 1, n))
    return found if 1 < found < n else 0


def _primes(start: int, end: int) -> Iterator[int]:
    p = int(gmpy2.next_prime(start))
    while p <= end:
        yield p
        p = int(gmpy2.next_prime(p))


def _highest(p: int, b1: int) -> int:
    power = p
    while power * p <= b1:
        power *= p
    return power
