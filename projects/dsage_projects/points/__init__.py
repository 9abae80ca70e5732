"""The points of an elliptic curve modulo each prime: `dsage submit points -p curve=0,-1,1,-10,-20 -p below=32`.

`counting` counts modulo one prime; here is the project around it.
"""

from collections.abc import Iterator, Sequence
from math import log, sqrt
from typing import Any

from dsage import DistributedFunction, Limits, Unit
from dsage.errors import UsageError
from dsage_projects.points.counting import count, disguised, good_primes, invariants

FUNCTION = "Points"


def seconds(start: int, stop: int) -> float:
    """Return about how long a block takes on the reference core, as measured there."""
    return (stop - start) * (2e-7 + (2.5e-5 + 2e-6 * sqrt(sqrt(stop))) / log(stop))


class Points(DistributedFunction[list[Any], list[int]]):
    """The numbers of points of `curve` ("a1,a2,a3,a4,a6") modulo the primes from `start` to below `below`.

    A unit is the `block` numbers from some multiple of `block` on. The result is [[p, points], ...] in the order of the
    primes; a prime that divides the curve's discriminant is left out.
    """

    curve: list[int]
    start: int
    below: int
    block: int
    title = "Points of an elliptic curve modulo primes"
    needs = ("gmpy2",)
    limits = Limits(cpu_s=10 * 86400, wall_s=100 * 86400)

    def __init__(
        self, curve: Sequence[int] | str = "0,-1,1,-10,-20", below: int = 1000, start: int = 2, block: int = 10_000
    ) -> None:
        given = curve.split(",") if isinstance(curve, str) else curve
        super().__init__(curve=[int(a) for a in given], start=int(start), below=int(below), block=int(block), result=[])
        if len(self.curve) != 5 or not invariants(self.curve)[3]:
            raise UsageError("a curve is five integers a1,a2,a3,a4,a6 with a discriminant that is not 0")
        if self.start < 2 or self.block < 1:
            raise UsageError("start must be at least 2, and block at least 1")

    def units(self) -> Iterator[Unit[list[Any]]]:
        """One unit for each block of numbers, paid by what it costs."""
        for first in range(self.start, self.below, self.block):
            last = min(first + self.block, self.below)
            cost_s = seconds(first, last)
            limits = Limits(cpu_s=60 + 30 * cost_s, wall_s=600 + 300 * cost_s)
            yield Unit([self.curve, first, last], credit=cost_s / 60, deadline_s=600 + 60 * cost_s, limits=limits)

    @staticmethod
    def compute(args: list[Any]) -> list[int]:
        """Count the points modulo each good prime of a block."""
        return [count(args[0], p) for p in good_primes(*args)]

    @staticmethod
    def perturb(args: list[Any], seed: int) -> list[Any]:
        """Give each volunteer the curve in other coordinates: another way to the same counts."""
        curve, start, stop = args
        return [disguised(curve, stop, seed), start, stop]

    @staticmethod
    def verify(args: list[Any], counts: Any) -> bool | None:
        """False outside of Hasse's bounds |points - p - 1| <= 2 sqrt(p). Inside, nothing is proved: ask others."""
        primes = good_primes(*args)
        right = type(counts) is list and len(counts) == len(primes) and all(type(n) is int for n in counts)
        return None if right and all((n - p - 1) ** 2 <= 4 * p for n, p in zip(counts, primes, strict=True)) else False

    def process_result(self, unit: Unit[list[Any]], counts: list[int]) -> None:
        """Put a block's counts with the others, in the order of the primes."""
        primes = good_primes(*unit.args)
        self.result = sorted([*self.result, *([p, n] for p, n in zip(primes, counts, strict=True))])
