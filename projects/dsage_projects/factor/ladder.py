"""How much work at which bound: the ladder of B1 levels, what a curve costs, and how large a unit should be.

A factor of d digits is best looked for with a certain B1 and is found, on average, after a certain number of curves.
Nobody knows d, so one climbs: a few curves for small factors, then more and dearer ones. All times are seconds of
the *reference core*, the one on which the tables below were measured; credit is counted in its minutes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final, NamedTuple

from dsage import Limits, Unit


class Level(NamedTuple):
    """`curves` curves at `b1` usually find a factor of `digits` digits."""

    digits: int
    b1: int
    curves: int


LADDER: Final = (
    Level(15, 2_000, 25),
    Level(20, 11_000, 86),
    Level(25, 50_000, 214),
    Level(30, 250_000, 430),
    Level(35, 1_000_000, 904),
    Level(40, 3_000_000, 2_350),
    Level(45, 11_000_000, 4_480),
    Level(50, 43_000_000, 7_553),
    Level(55, 110_000_000, 17_769),
    Level(60, 260_000_000, 42_017),
)
"""Source: the table of curve counts in GMP-ECM's README (versions 5 and 6, default stage 2)."""

CURVE_S: Final = {2_000: 0.008, 11_000: 0.034, 50_000: 0.098, 250_000: 0.51, 1_000_000: 2.11}
"""GMP-ECM 7.0.5, both stages, one curve on a composite of 84 digits; measured on the reference core under load."""

DIRECT_DIGITS: Final = 60
"""Up to here one quadratic sieve is quicker than looking for small factors first."""
SIEVE_DIGITS: Final = 75
"""Up to here one computer can finish a quadratic sieve in minutes and in 200 MB."""

MINUS_B1: Final = 10_000_000
"""The bound of p-1, tried once when the shortest factors are known not to be there."""
MINUS_S: Final = 2.0
"""Its seconds on a composite of 84 digits; measured, gmpy2 2.2."""

SHORTEST_UNIT_S: Final = 1.5
LONGEST_UNIT_S: Final = 300.0
UNITS_A_LEVEL: Final = 50
"""A level becomes about this many units: enough to share, few enough to be worth their overhead."""

SLOWEST_HOST: Final = 30
"""A host may be this much slower than the reference core: gmpy2 instead of GMP-ECM, old, busy."""


def digits(n: int) -> int:
    """Return the number of decimal digits of n >= 1."""
    guess = int(n.bit_length() * math.log10(2)) + 1
    return guess if n >= 10 ** (guess - 1) else guess - 1


def levels(n: int) -> tuple[Level, ...]:
    """Return the levels worth climbing for a composite n: its smallest factor has at most half of its digits."""
    useful = [level for level in LADDER if level.digits - 5 < digits(n) / 2]
    return tuple(useful or LADDER[:1])


def curve_s(n: int, b1: int) -> float:
    """Return the seconds of one curve. A curve's cost is linear in B1; in n's length 3/4 fixed and 1/4 quadratic,
    which fits measurements at 60, 84, 130, 300 and 1,000 digits to 20 %."""
    bounds = sorted(CURVE_S)
    known = bounds[max(bisect_right(bounds, b1) - 1, 0)]
    return CURVE_S[known] * b1 / known * (0.75 + 0.25 * (digits(n) / 84) ** 2)


def sieve_s(n: int) -> float:
    """Return the seconds of flint's quadratic sieve: 1 s at 50 digits, 13 s at 60, twelve times more every ten."""
    return 13.0 * 10 ** ((digits(n) - 60) / 9.2)


def sieve_now(n: int, level: Level) -> bool:
    """Say whether one sieve unit is a better next step than climbing `level`."""
    if digits(n) <= DIRECT_DIGITS:
        return True
    return digits(n) <= SIEVE_DIGITS and sieve_s(n) <= level.curves * curve_s(n, level.b1)


def curves_beside(n: int) -> bool:
    """Say whether others may go on with curves while one computer sieves: a hit makes the sieve's number smaller."""
    return digits(n) > DIRECT_DIGITS


def curves_a_unit(n: int, level: Level) -> int:
    """Return how many curves make a unit of 1.5 s (a low level) to 5 min (a high one), dividing the level evenly."""
    total_s = level.curves * curve_s(n, level.b1)
    target_s = min(max(total_s / UNITS_A_LEVEL, SHORTEST_UNIT_S), LONGEST_UNIT_S)
    return math.ceil(level.curves / math.ceil(total_s / target_s))


def curves_unit(n: int, b1: int, sigma: int, curves: int, *, group: str, quorum: int) -> Unit:
    """Return the unit that runs the curves sigma, sigma + 1, ... on n."""
    args = {"kind": "ecm", "n": n, "b1": b1, "sigma": sigma, "curves": curves}
    return _unit(args, f"{group}.{b1}.{sigma}", curves * curve_s(n, b1), group, quorum)


def sieve_unit(n: int, *, group: str) -> Unit:
    """Return the unit that factors n outright. Its answer proves itself, so one is enough."""
    return _unit({"kind": "flint", "n": n}, f"{group}.flint", sieve_s(n), group, quorum=1)


def minus_unit(n: int, *, group: str, quorum: int) -> Unit:
    """Return the unit that tries Pollard's p-1 on n."""
    return _unit({"kind": "minus", "n": n, "b1": MINUS_B1}, f"{group}.minus", minus_s(n), group, quorum)


def minus_s(n: int) -> float:
    """Return the seconds of p-1, which grow with the length of n like those of a curve."""
    return MINUS_S * (0.75 + 0.25 * (digits(n) / 84) ** 2)


def unit_s(args: dict[str, object]) -> float:
    """Return the seconds that a unit with these arguments is worth."""
    match args:
        case {"kind": "ecm", "n": int(n), "b1": int(b1), "curves": int(curves)}:
            return curves * curve_s(n, b1)
        case {"kind": "minus", "n": int(n)}:
            return minus_s(n)
        case {"n": int(n)}:
            return sieve_s(n)
    return 0.0


def _unit(args: dict[str, object], key: str, seconds: float, group: str, quorum: int) -> Unit:
    slow_s = 60.0 + SLOWEST_HOST * seconds
    return Unit(
        args,
        key=key,
        group=group,
        credit=seconds / 60,
        quorum=quorum,
        deadline_s=slow_s,
        limits=Limits(cpu_s=slow_s, wall_s=10 * slow_s),
    )
