"""Counting the points of one elliptic curve modulo one prime."""

from collections.abc import Sequence
from math import isqrt
from typing import Any

from gmpy2 import invert, is_prime, legendre, next_prime

MESTRE = 458  # from here on Mestre's method always succeeds, and is quicker than a sum over all x

Point = tuple[int, int] | None  # None: the point at infinity


def invariants(curve: Sequence[int]) -> tuple[int, int, int, int]:
    """Return b2, b4, b6 and the discriminant of y^2 + a1 xy + a3 y = x^3 + a2 x^2 + a4 x + a6."""
    a1, a2, a3, a4, a6 = curve
    b2, b4, b6 = a1 * a1 + 4 * a2, 2 * a4 + a1 * a3, a3 * a3 + 4 * a6
    b8 = a1 * a1 * a6 + 4 * a2 * a6 - a1 * a3 * a4 + a2 * a3 * a3 - a4 * a4
    return b2, b4, b6, 9 * b2 * b4 * b6 - b2 * b2 * b8 - 8 * b4**3 - 27 * b6 * b6


def disguised(curve: Sequence[int], stop: int, seed: int) -> list[int]:
    """Return the curve in other coordinates, drawn by 64 bits: as many points modulo every prime below `stop`.

    They are u^2 (x - r) and u^3 (y - s (x - r) - t), with a prime u that is `stop` or more. Source: Silverman, The
    Arithmetic of Elliptic Curves, table III.1.2.
    """
    r, s, t = (seed >> bits & 0xFFFF for bits in (0, 16, 32))
    u = int(next_prime(stop - 1 + (seed >> 48)))
    a1, a2, a3, a4, a6 = curve
    moved = {
        1: a1 + 2 * s,
        2: a2 - s * a1 + 3 * r - s * s,
        3: a3 + r * a1 + 2 * t,
        4: a4 - s * a3 + 2 * r * a2 - (t + r * s) * a1 + 3 * r * r - 2 * s * t,
        6: a6 + r * a4 + r * r * a2 + r**3 - t * a3 - t * t - r * t * a1,
    }
    return [u**weight * a for weight, a in moved.items()]


def good_primes(curve: Sequence[int], start: int, stop: int) -> list[int]:
    """Return the primes from `start` to below `stop` modulo which the curve stays smooth."""
    discriminant = invariants(curve)[3]
    return [p for p in range(start, stop) if is_prime(p) and discriminant % p]


def count(curve: Sequence[int], p: int) -> int:
    """Return the number of points modulo a good prime p, with the one at infinity."""
    a1, a2, a3, a4, a6 = curve
    b2, b4, b6, _ = invariants(curve)
    if p == 2:
        plane = [(x, y) for x in (0, 1) for y in (0, 1)]
        return 1 + sum((y * y + a1 * x * y + a3 * y - x**3 - a2 * x * x - a4 * x - a6) % 2 == 0 for x, y in plane)
    if p < MESTRE:  # completing the square, an x has 1 + (4x^3 + b2 x^2 + 2 b4 x + b6 | p) points
        return p + 1 + sum(int(legendre(((4 * x + b2) * x + 2 * b4) * x + b6, p)) for x in range(p))
    return p + 1 - trace(-27 * (b2 * b2 - 24 * b4) % p, 54 * (b2**3 - 36 * b2 * b4 + 216 * b6) % p, p)


def trace(a: int, b: int, p: int) -> int:
    """Return p + 1 less the points of y^2 = x^3 + ax + b. Source: Cohen 1993, algorithm 7.4.12 (Shanks and Mestre).

    With d = x^3 + ax + b, the point (dx, d^2) lies on the curve itself if d is a square, else on its twist, whose trace
    has the other sign. What several points allow together is in the end one number.
    """
    allowed: set[int] = set()
    for x in range(p):
        d = (x * x * x + a * x + b) % p
        sign = legendre(d, p)
        found = {sign * t for t in traces((d * x % p, d * d % p), a * d * d % p, p)} if sign else set()
        allowed = allowed & found if allowed and found else allowed or found
        if len(allowed) == 1:
            return allowed.pop()
    raise ArithmeticError(f"no trace modulo {p}: is it a prime?")


def traces(point: Point, a: int, p: int) -> set[int]:
    """Return every t in Hasse's bounds with (p + 1 - t) point = 0, or nothing for a point of small order."""
    bound = isqrt(4 * p)
    reach = isqrt(bound) + 1
    steps: dict[Any, tuple[int, Point]] = {}
    at: Point = None
    for j in range(reach + 1):  # baby steps: j times the point, found again by its x
        if (x := at and at[0]) in steps:
            return set()
        steps[x] = (j, at)
        at = add(at, point, a, p)
    stride = 2 * reach + 1
    giant = times(-stride, point, a, p)
    rest = bound // stride + 1
    at = times(p + 1 + rest * stride, point, a, p)
    found = set()
    for i in range(-rest, rest + 1):  # giant steps: is (p + 1 - i stride) times the point a baby step or its opposite?
        if (x := at and at[0]) in steps:
            j, baby = steps[x]
            found |= {i * stride + j} if at == baby else set()
            found |= {i * stride - j} if add(at, baby, a, p) is None else set()
        at = add(at, giant, a, p)
    return {t for t in found if abs(t) <= bound}


def add(one: Point, other: Point, a: int, p: int) -> Point:
    """Return the sum of two points of y^2 = x^3 + ax + b modulo p."""
    if one is None or other is None:
        return one or other
    (x, y), (u, v) = one, other
    if x == u and (y + v) % p == 0:
        return None
    slope = (3 * x * x + a) * invert(2 * y, p) if x == u else (v - y) * invert(u - x, p)
    w = (slope * slope - x - u) % p
    return w, (slope * (x - w) - y) % p


def times(n: int, point: Point, a: int, p: int) -> Point:
    """Return n times a point, by doubling and adding."""
    if n < 0 and point is not None:
        return times(-n, (point[0], -point[1] % p), a, p)
    total: Point = None
    for bit in f"{n:b}":
        total = add(total, total, a, p)
        total = add(total, point, a, p) if bit == "1" else total
    return total
