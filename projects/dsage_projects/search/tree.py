"""The tree: every monic polynomial of degree n that could be the one, coefficient by coefficient from the top.

If all roots of f are real, so are those of its derivatives (Rolle). So each f^(k)/k!, whose last coefficient is the
coefficient a_k of f, must reach its value zero between any two of its turning points: that leaves a_k an interval,
whose ends are found from the coefficients above it. Floating point only has to be right to `SLACK` here, because
`fields` looks at each leaf exactly: no rounding, and no mathematics library, changes the answer.

Source: Voight, Enumeration of totally real number fields of bounded root discriminant, ANTS VIII (2008), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

HERMITE: Final = {1: (1, 1), 2: (4, 3), 3: (2, 1), 4: (4, 1), 5: (8, 1), 6: (64, 3)}
"""Hermite's constant to the power of its dimension, as a fraction. Source: Conway & Sloane, Sphere Packings, 1.2."""
SLACK: Final = 1e-6
NEWTON_STEPS: Final = 60

Prefix = list[int]
"""The first coefficients [a_{n-1}, a_{n-2}, ...] of a polynomial, without the leading 1."""


class Shape(NamedTuple):
    """What is looked for: fields of a degree n (2 to 7) with a discriminant of at most `bound`.

    By Hunter's theorem (Cohen, GTM 193, 9.3.1) each has an integer outside of Q whose trace is between 0 and n/2 and
    whose conjugates have squares that add up to at most trace^2/n + (H bound / n)^(1/(n-1)), H from HERMITE. `reach`
    multiplies the last term, for fields with subfields: there that integer may lie in one of them.
    """

    n: int
    bound: int
    reach: int = 1

    def most_squares(self, trace: int) -> int:
        """Return how large the sum of the squares of the conjugates can be; exactly, in integers."""
        n, dimension = self.n, self.n - 1
        top, bottom = HERMITE[dimension]
        squares = 0
        while bottom * n * max(n * (squares + 1) - trace**2, 0) ** dimension <= (
            top * self.bound * (self.reach * n) ** dimension
        ):
            squares += 1
        return squares


def leaves(shape: Shape, prefix: Prefix, after: Prefix) -> Iterator[Prefix]:
    """Yield the whole polynomials that begin with `prefix` and come after the one given ([]: all), ascending."""
    if len(prefix) == shape.n:
        if prefix != after:
            yield prefix
        return
    for child in children(shape, prefix):
        if child >= after[: len(child)]:
            yield from leaves(shape, child, after)


def children(shape: Shape, prefix: Prefix) -> list[Prefix]:
    """Return the prefixes that are one coefficient longer, ascending."""
    low, high = _interval(shape, prefix)
    return [[*prefix, a] for a in range(math.ceil(low - SLACK), math.floor(high + SLACK) + 1)]


def holds(shape: Shape, prefix: Prefix, polynomial: Prefix) -> bool:
    """Say whether a whole polynomial is one of the leaves below `prefix`."""
    if len(polynomial) != shape.n or polynomial[: len(prefix)] != prefix:
        return False
    for length, a in enumerate(polynomial):
        low, high = _interval(shape, polynomial[:length])
        if not low - SLACK <= a <= high + SLACK:
            return False
    return True


def _interval(shape: Shape, prefix: Prefix) -> tuple[float, float]:
    """Return the least and the largest value of the next coefficient."""
    n = shape.n
    if not prefix:
        return -(n // 2), 0
    trace = -prefix[0]
    if len(prefix) == 1:
        return (trace**2 - shape.most_squares(trace)) / 2, (trace**2 - max(trace**2 / n, n)) / 2
    squares = trace**2 - 2 * prefix[1]
    middle, reach = trace / n, math.sqrt(max((n - 1) * (squares - trace**2 / n) / n, 0.0))
    ends = (middle - reach, middle + reach)
    k = n - len(prefix) - 1
    curve = _derivative(n, [*prefix, 0], k)
    low, high = -math.inf, math.inf
    for index, x in enumerate([ends[1], *reversed(_roots(n, prefix, k + 1, ends)), ends[0]]):
        if index % 2 == 0:
            low = max(low, -_value(curve, x))
        else:
            high = min(high, -_value(curve, x))
    if k == 0:
        norm = math.isqrt(squares**n // n**n)
        low, high = max(low, -norm), min(high, norm)
    return low, high


def _derivative(n: int, prefix: Prefix, k: int) -> list[int]:
    """Return f^(k)/k! from its highest coefficient down; `prefix` must reach down to a_k."""
    return [math.comb(n - i, k) * a for i, a in enumerate([1, *prefix][: n - k + 1])]


def _roots(n: int, prefix: Prefix, k: int, ends: tuple[float, float]) -> list[float]:
    """Return the real roots of f^(k)/k!, ascending: one between each two neighbours among the next one's roots."""
    if k == n:
        return []
    fences = [ends[0], *_roots(n, prefix, k + 1, ends), ends[1]]
    curve = _derivative(n, prefix, k)
    slope = [(len(curve) - 1 - i) * a for i, a in enumerate(curve[:-1])]
    return [_root(curve, slope, a, b) for a, b in pairwise(fences)]


def _root(curve: Sequence[int], slope: Sequence[int], a: float, b: float) -> float:
    """Return the root between a and b by Newton's method, kept inside; the nearer end if rounding hides the root."""
    at_a, at_b = _value(curve, a), _value(curve, b)
    if at_a * at_b >= 0:
        return a if abs(at_a) <= abs(at_b) else b
    x = (a + b) / 2
    for _ in range(NEWTON_STEPS):
        value = _value(curve, x)
        if value * at_a > 0:
            a = x
        else:
            b = x
        steep = _value(slope, x)
        after = x - value / steep if steep else a
        if not a < after < b:
            after = (a + b) / 2
        if abs(after - x) < 1e-12:
            return after
        x = after
    return x


def _value(curve: Sequence[int], x: float) -> float:
    total = 0.0
    for coefficient in curve:
        total = total * x + coefficient
    return total
