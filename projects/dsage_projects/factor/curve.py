"""The elliptic curve method with gmpy2: the path for hosts without the GMP-ECM program, and the check on those with it.

A curve is named by its sigma (Suyama's parametrisation, GMP-ECM's `-param 0`). Stage 1 multiplies the curve's start
point by every prime power up to B1; modulo a prime p whose group order is that smooth, the point becomes neutral and
a gcd shows p. Stage 2 allows one more prime, up to B2. The x coordinate after stage 1, normalised modulo n, is the
*residue*: it depends on nothing but (n, sigma, B1), so that two computers can compare their work bit for bit.

Sources: H. W. Lenstra, Annals of Mathematics 126 (1987); P. L. Montgomery, Math. Comp. 48 (1987);
P. Zimmermann & B. Dodson, "20 years of ECM", ANTS-VII (2006).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import flint
import gmpy2
from gmpy2 import mpz

Point = tuple[Any, Any]
"""Projective (x : z) on a Montgomery curve, as two mpz."""

B2_OVER_B1: Final = 100
"""Stage 2 then costs about half of stage 1."""
WHEELS: Final = (6, 30, 210, 630, 1050, 2310, 4620, 9240, 13860, 30030, 60060, 120120)
"""Distances between stage 2's giant steps: many small primes, so few baby steps coprime to them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one curve gave: a proper factor, or 0 and the residue after stage 1 (big-endian, n's length)."""

    residue: bytes
    factor: int


class FactorFound(Exception):
    """An inversion modulo n failed, which shows `factor`: a divisor of n above 1, possibly n itself."""

    def __init__(self, factor: int) -> None:
        super().__init__(factor)
        self.factor = factor


def run(n: int, b1: int, sigmas: Iterable[int]) -> Iterator[Curve]:
    """Yield the outcome of each curve in turn."""
    for sigma in sigmas:
        try:
            x, a24 = stage1(n, b1, sigma)
        except FactorFound as found:
            yield Curve(to_bytes(0, n), found.factor if found.factor < n else 0)
            continue
        factor = stage2(n, b1, x, a24)
        yield Curve(to_bytes(int(x), n), factor if 1 < factor < n else 0)


def residue(n: int, b1: int, sigma: int) -> bytes:
    """Return the residue of one curve. A point that is neutral modulo all of n has no x; 0 stands for it."""
    try:
        return to_bytes(int(stage1(n, b1, sigma)[0]), n)
    except FactorFound:
        return to_bytes(0, n)


def to_bytes(x: int, n: int) -> bytes:
    """Return x mod n as big-endian bytes of n's length."""
    return x.to_bytes((n.bit_length() + 7) // 8, "big")


def start(n: int, sigma: int) -> tuple[Any, Any]:
    """Return Suyama's start point x and (A + 2) / 4 of its Montgomery curve, modulo n.

    Source: Zimmermann & Dodson 2006, section 1. Raises FactorFound if a denominator has no inverse.
    """
    u, v = mpz(sigma) ** 2 - 5, mpz(4) * sigma
    x = u**3 * inverse(v**3, n) % n
    a24 = (v - u) ** 3 * (3 * u + v) * inverse(16 * u**3 * v, n) % n
    return x, a24


def stage1(n: int, b1: int, sigma: int) -> tuple[Any, Any]:
    """Return the affine x of lcm(1..b1) times the start point, and the curve's (A + 2) / 4. Raises FactorFound."""
    x, a24 = start(n, sigma)
    x, z = multiple((x, mpz(1)), _exponent_bits(b1), a24, mpz(n))
    return x * inverse(z, n) % n, a24


def multiple(point: Point, bits: str, a24: Any, n: Any) -> Point:
    """Return the multiple of an affine point (z = 1) whose binary digits, from the top, are `bits`.

    Montgomery's ladder: (m P, (m+1) P) becomes (2m P, (2m+1) P) or ((2m+1) P, (2m+2) P). Written out, because the
    whole of stage 1 happens in this loop.
    """
    base = point[0]
    x, z = point
    u, v = double(point, a24, n)
    for bit in bits[1:]:
        low, high = x + z, x - z
        low2, high2 = u + v, u - v
        g, h = high * low2, low * high2
        odd, odd_z = (g + h) % n, (g - h) % n
        if bit == "0":
            s, d = low * low % n, high * high % n
            u, v = odd * odd % n, odd_z * odd_z % n * base % n
            t = s - d
            x, z = s * d % n, t * (d + a24 * t) % n
        else:
            s, d = low2 * low2 % n, high2 * high2 % n
            x, z = odd * odd % n, odd_z * odd_z % n * base % n
            t = s - d
            u, v = s * d % n, t * (d + a24 * t) % n
    return x, z


def double(p: Point, a24: Any, n: Any) -> Point:
    """Return 2 P."""
    s, d = (p[0] + p[1]) ** 2 % n, (p[0] - p[1]) ** 2 % n
    t = s - d
    return s * d % n, t * (d + a24 * t) % n


def add(p: Point, q: Point, difference: Point, n: Any) -> Point:
    """Return P + Q, given P - Q."""
    g, h = (p[0] - p[1]) * (q[0] + q[1]), (p[0] + p[1]) * (q[0] - q[1])
    return (g + h) ** 2 % n * difference[1] % n, (g - h) ** 2 % n * difference[0] % n


def stage2(n: int, b1: int, x: Any, a24: Any) -> int:
    """Return gcd(n, product of x(m w Q) - x(j Q)) over all m w ± j that reach every prime from B1 to B2.

    Q = (x : 1) is where stage 1 ended; w is the wheel, j < w/2 the baby steps coprime to it, m the giant steps. The
    product over j is one polynomial, evaluated at all giant steps at once. The answer is 1, a factor, or n.
    """
    b2 = B2_OVER_B1 * b1
    wheel = next((w for w in WHEELS if _baby_steps(w) * w >= b2), WHEELS[-1])
    modulus, q = mpz(n), (x, mpz(1))
    babies = _odd_multiples(q, wheel, a24, modulus)
    giants = _giant_steps(q, wheel, b1, b2, a24, modulus)
    try:
        affine = _affine(babies + giants, modulus)
    except FactorFound as found:
        return found.factor
    ring = flint.fmpz_mod_poly_ctx(flint.fmpz_mod_ctx(n))
    tree = [ring([-int(x), 1]) for x in affine[: len(babies)]]
    while len(tree) > 1:
        tree = [math.prod(tree[i + 1 : i + 2], start=tree[i]) for i in range(0, len(tree), 2)]
    product = mpz(1)
    for value in tree[0].multipoint_evaluate([int(x) for x in affine[len(babies) :]]):
        product = product * int(value) % n
    return int(gmpy2.gcd(product, n))


def inverse(x: Any, n: Any) -> Any:
    """Return 1/x mod n. Raises FactorFound if there is none."""
    g = gmpy2.gcd(x, n)
    if g != 1:
        raise FactorFound(int(g))
    return gmpy2.invert(x, n)


@lru_cache(maxsize=2)
def _exponent_bits(b1: int) -> str:
    """Return lcm(1..b1) in binary: the primorials of b1, of its square root, its cube root, ... multiplied."""
    product, k, root = mpz(1), 1, b1
    while root >= 2:
        product *= gmpy2.primorial(root)
        k += 1
        root = int(gmpy2.iroot(mpz(b1), k)[0])
    return str(product.digits(2))


def _baby_steps(wheel: int) -> int:
    return sum(math.gcd(j, wheel) == 1 for j in range(1, wheel // 2))


def _odd_multiples(q: Point, wheel: int, a24: Any, n: Any) -> list[Point]:
    """Return j Q for the j below wheel/2 that are coprime to it."""
    two = double(q, a24, n)
    before, now = q, add(two, q, q, n)
    found = [q]
    for j in range(3, wheel // 2, 2):
        if math.gcd(j, wheel) == 1:
            found.append(now)
        before, now = now, add(now, two, before, n)
    return found


def _giant_steps(q: Point, wheel: int, b1: int, b2: int, a24: Any, n: Any) -> list[Point]:
    """Return m w Q for the m whose m w ± w/2 cover B1 to B2."""
    first, last = max(b1 // wheel, 1), b2 // wheel + 1
    before, now = (multiple(q, bin(m * wheel)[2:], a24, n) for m in (first, first + 1))
    step = multiple(q, bin(wheel)[2:], a24, n)
    found = [before]
    for _ in range(first, last):
        found.append(now)
        before, now = now, add(now, step, before, n)
    return found


def _affine(points: list[Point], n: Any) -> list[Any]:
    """Return x/z of every point for the price of one inversion. Raises FactorFound."""
    products = [mpz(1)]
    for _, z in points:
        products.append(products[-1] * z % n)
    unit = inverse(products.pop(), n)
    out = []
    for (x, z), before in zip(reversed(points), reversed(products), strict=True):
        out.append(x * (unit * before % n) % n)
        unit = unit * z % n
    return out[::-1]
