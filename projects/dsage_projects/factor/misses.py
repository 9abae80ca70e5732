"""Curves known to find nothing: the same work in each run, which is what a benchmark of the system needs."""

from __future__ import annotations

from typing import Final

from dsage_projects.factor import work
from dsage_projects.factor.algebra import cyclotomic

PHI_300_11: Final = cyclotomic(300, 11, 1)
"""The hardest part of 11^150+1: 84 digits, a prime of 22 times one of 62."""

MISSES: Final = {"n": PHI_300_11, "b1": 11_000, "curves": 400, "sigma": (1 << 32) + 391}
"""Parameters of `Factor` for 400 curves that miss with GMP-ECM and with gmpy2; see `quiet_sigma`."""


def quiet_sigma(n: int, b1: int, curves: int, sigma: int) -> int:
    """Return the first sigma, from the given one on, that begins a row of `curves` curves without a factor.

    They are run here, with whichever program a unit would use, so this takes as long as they do.
    """
    first = sigma
    while True:
        args = {"kind": "ecm", "n": n, "b1": b1, "sigma": first, "curves": curves}
        answer = work.compute(args)
        if not answer["factor"]:
            return first
        first += answer["curve"] + 1
