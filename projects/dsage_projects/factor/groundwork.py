"""What the driver does by itself, before and between the units: reading n, small primes, proofs of primality."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

import flint
import gmpy2

from dsage.errors import UsageError
from dsage_projects.factor import sieve
from dsage_projects.factor.algebra import Parts, coprime, perfect_root, split
from dsage_projects.factor.expression import MAX_DIGITS, Expression, parse
from dsage_projects.factor.ladder import digits

SMALL_PRIMES: Final = 78_498
"""The primes below a million are divided out here: 20 ms for 1,000 digits, not worth a unit."""
OWN_DIGITS: Final = 30
"""Composites up to this length take flint a few milliseconds, less than sending them anywhere."""
MAX_COMPOSITE_DIGITS: Final = 1_000
MAX_PROOF_DIGITS: Final = 400
"""A proof by APRCL takes 0.1 s at 150 digits, some 3 s at 400, and many minutes at 1,000."""


class Nature(Enum):
    """What is known of a part of n."""

    PRIME = "proved prime"
    COMPOSITE = "composite, to be split by units"
    UNPROVED = "probable prime, too long to prove here"


def read(n: object) -> Expression:
    """Return the integer that a person asked for, given as an int or as text. Raises UsageError."""
    if isinstance(n, str):
        return parse(n)
    if type(n) is not int:
        raise UsageError(
            f"n is a {type(n).__name__}, not an integer", hint="Give an integer, or text such as '11^150+1'."
        )
    if abs(n) >= 10**MAX_DIGITS:
        raise UsageError(f"n has more than {MAX_DIGITS:,} digits", hint="Give a smaller number.")
    return Expression(n, ())


def prepare(number: Expression) -> Parts:
    """Return |n| as coprime parts: every prime below a million, and what algebra splits of the rest.

    Raises UsageError for zero, and if a part remains that is too long to be factored or proved prime.
    """
    n = abs(number.value)
    if n == 0:
        raise UsageError("0 has no factorisation: every integer divides it", hint="Give another integer.")
    if n == 1:
        return []
    parts: list[tuple[int, int]] = []
    for base, multiplicity in split(n, number.binomials):
        for p, e in flint.fmpz(base).factor(trial_limit=SMALL_PRIMES):
            parts.append((int(p), int(e) * multiplicity))
    for part, _ in parts:
        _refuse_if_hopeless(part)
    return sorted(coprime(parts))


def settle(n: int) -> list[tuple[Nature, int, int]]:
    """Return n >= 2, free of small primes, as [(nature, base, multiplicity), ...].

    A prime is proved by flint's `is_prime`: pseudoprime tests that are known to suffice below 2^64, then the n-1 and
    n+1 tests, then APRCL.
    """
    root, power = perfect_root(n)
    size = digits(root)
    if size > MAX_PROOF_DIGITS and gmpy2.is_prime(root):
        return [(Nature.UNPROVED, root, power)]
    if size <= MAX_PROOF_DIGITS and flint.fmpz(root).is_prime():
        return [(Nature.PRIME, root, power)]
    if size <= OWN_DIGITS:
        return [(Nature.PRIME, p, e * power) for p, e in sieve.factor(root)]
    return [(Nature.COMPOSITE, root, power)]


def product(factors: Iterable[Sequence[int]]) -> int:
    """Return the product of [base, multiplicity] pairs."""
    return math.prod(base**multiplicity for base, multiplicity in factors)


def _refuse_if_hopeless(part: int) -> None:
    size = digits(part)
    if size > MAX_COMPOSITE_DIGITS:
        raise UsageError(
            f"after trial division and algebra a part of {size:,} digits remains; "
            f"at most {MAX_COMPOSITE_DIGITS:,} are taken on",
            hint="Give a smaller number, or one with more algebraic factors.",
        )
    if size > MAX_PROOF_DIGITS and gmpy2.is_prime(part):
        raise UsageError(
            f"a probable prime of {size} digits remains; primes are proved up to {MAX_PROOF_DIGITS} digits",
            hint="A program for elliptic curve primality proofs, such as CM or Primo, can prove it.",
        )
