"""How sure a count is. The answers of one host hang together, so it is hosts that are drawn anew, not answers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

DRAWS: Final = 1000
THREE: Final = 3.0
"""Of n tries none of which happened, up to 3/n may in 95 of 100 cases (Hanley & Lippman-Hand 1983)."""


def between(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """Return the 95 % interval of the sum of one value per host, by the bootstrap over hosts (Efron 1979)."""
    if not values:
        return 0.0, 0.0
    rng, n = Random(seed), len(values)
    sums = sorted([sum(rng.choices(values, k=n)) for _ in range(DRAWS)])
    return sums[int(DRAWS * 0.025)], sums[int(DRAWS * 0.975) - 1]


def most_wrong(left: Sequence[int], taken: int) -> float:
    """Return the upper 95 % limit of the wrong results that hosts leave in the end, of which each left so many.

    If none left any: as if 3 of the hosts had kept what was taken from a host on average before it was found out
    (`taken` of all), and one result at least. With no such hosts there is nothing to be wrong.
    """
    if not left:
        return 0.0
    if any(left):
        return between(left)[1]
    return min(THREE, len(left)) * max(1.0, taken / len(left))
