"""A whole factorisation on one computer: flint's quadratic sieve, or curves alone where it cannot keep its file.

The sieve keeps its relations in a file below /tmp and ends the process if it cannot. The weaker sandbox, which has no
/tmp of its own to offer, is such a place.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain, count, repeat
from typing import Final

import flint

from dsage_projects.factor import ladder, program
from dsage_projects.factor.algebra import perfect_root

PLACE: Final = "/tmp"
"""Where flint writes, whatever TMPDIR says."""
FILELESS_DIGITS: Final = 20
"""Up to here flint needs no file; measured: its first one is at 25 digits."""
SMALL_LEVELS: Final = ((50, 20), (300, 40))
"""(b1, curves) below the ladder: with too high a bound a curve finds two small factors at once, which is none."""
FIRST_SIGMA: Final = 1_000_003


def factor(n: int) -> list[list[int]]:
    """Return n >= 2 as [[prime, multiplicity], ...], ascending."""
    if ladder.digits(n) <= FILELESS_DIGITS or can_write():
        return [[int(p), int(e)] for p, e in flint.fmpz(n).factor()]
    return sorted([p, e] for p, e in _by_curves(n).items())


def can_write() -> bool:
    """Say whether the sieve can keep its file."""
    try:
        with tempfile.NamedTemporaryFile(dir=PLACE):
            return True
    except OSError:
        return False


def _by_curves(n: int) -> Counter[int]:
    root, power = perfect_root(n)
    if flint.fmpz(root).is_prime():
        return Counter({root: power})
    divisor = _divisor(root)
    parts = factor(divisor) + factor(root // divisor)
    primes: Counter[int] = Counter()
    for p, e in parts:
        primes[p] += e * power
    return primes


def _divisor(n: int) -> int:
    sigmas = count(FIRST_SIGMA)
    for b1, curves in _levels(n):
        batch = [next(sigmas) for _ in range(curves)]
        found = next((outcome.factor for outcome in program.outcomes(n, b1, batch) if outcome.factor), 0)
        if found:
            return found
    raise AssertionError("the ladder has no end")


def _levels(n: int) -> Iterator[tuple[int, int]]:
    climb = [(level.b1, level.curves) for level in ladder.levels(n)]
    return chain(SMALL_LEVELS, climb, repeat(climb[-1]))
