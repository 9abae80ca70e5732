"""What is done before anything is started: the number is read, and split as far as that takes no volunteer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dsage.cli.values import decimal
from dsage.researcher import construct
from dsage_projects.factor import Factor

MOST_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Groundwork:
    """The factor project's own beginning. `composites` are the lengths, in digits, of what is left for volunteers."""

    n: int
    factors: list[list[int]]
    unfinished: list[list[int]]
    composites: list[int]

    @property
    def complete(self) -> bool:
        """Whether nothing is left for volunteers."""
        return not self.composites

    @property
    def sentence(self) -> str:
        """What came of it, for people."""
        known = [decimal(p) if e == 1 else f"{decimal(p)}^{e}" for p, e in self.factors]
        left = " and ".join(str(length) for length in self.composites)
        many = f"composites of {left} digits" if len(self.composites) > 1 else f"a composite of {left} digits"
        found = " · ".join(known) if len(known) <= MOST_SHOWN else f"{len(known)} primes"
        return f"{found}; left for volunteers: {many}" if known else f"no factor; left for volunteers: {many}"


def groundwork(number: str) -> Groundwork:
    """Begin to factor a number, as typed. Raises UsageError for what the factor project does not take on."""
    trial = construct(Factor, {"n": number})
    first = trial.next_job()
    result = trial.result
    composites = [] if first is None else [c["digits"] for c in trial.progress()["composites"]]
    return Groundwork(
        n=result["n"], factors=result["factors"], unfinished=result["unfinished"], composites=sorted(composites)
    )
