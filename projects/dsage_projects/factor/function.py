"""`Factor`: the driver of a factorisation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from dsage import DistributedFunction, Limits, Unit
from dsage.errors import DSageError, UsageError
from dsage_projects.factor import climb, groundwork, ladder, words, work
from dsage_projects.factor.algebra import refine
from dsage_projects.factor.climb import Composite
from dsage_projects.factor.groundwork import Nature

FIRST_SIGMA: Final = 1 << 32
"""Small sigmas give the same few curves to everybody, and some of them none at all."""
SPEED_KNOWN_S: Final = 1.0
"""Reference seconds of folded work before its speed says anything of the time left."""
MAX_FAILURES: Final = 25
"""So many units given up one after the other are no accident."""


class Factor(DistributedFunction):
    """The prime factors of an integer.

    `n` is an integer or text such as "11^150+1". A negative n has the extra factor -1; 1 has no factors; 0 raises
    UsageError, as does what cannot be finished: see `groundwork`. `budget_s`: stop after so many wall-clock seconds,
    counted from the first unit and through interruptions (0: never). `sigma`: the first curve (0: derived from n, so
    a second run with another budget should be given another one). `b1` and `curves`: instead of climbing the ladder,
    run exactly so many curves at that bound on what algebra leaves. `quorum`: how many must agree on finding nothing.

    The result, kept current all the time, is {"n", "factors": [[prime, multiplicity], ...] ascending and all proved,
    "found_by": [[prime, unit id], ...] for the primes that a unit's answer gave, "unfinished": [[cofactor,
    multiplicity], ...], "complete": whether nothing is unfinished, "summary": the same in words}.
    """

    title: ClassVar[str] = "Prime factors of an integer"
    shown_as: ClassVar[str] = "curves"
    needs: ClassVar[tuple[str, ...]] = ("gmpy2", "flint")
    limits: ClassVar[Limits] = Limits(cpu_s=30 * 86400.0, wall_s=90 * 86400.0)

    compute = staticmethod(work.compute)
    verify = staticmethod(work.verify)
    agree = staticmethod(work.agree)
    partial = staticmethod(work.partial)

    def __init__(
        self,
        n: int | str,
        *,
        budget_s: float = 0.0,
        b1: int = 0,
        curves: int = 0,
        sigma: int = 0,
        quorum: int = 2,
    ) -> None:
        super().__init__()
        number = groundwork.read(n)
        self.n = number.value
        self.budget_s = _at_least(0, "budget_s", budget_s)
        self.b1 = int(_at_least(0, "b1", b1))
        self.curves = int(_at_least(0, "curves", curves))
        self.quorum = int(_at_least(1, "quorum", quorum))
        self.sigma = int(_at_least(0, "sigma", sigma)) or _first_sigma(self.n)
        if bool(self.b1) != bool(self.curves):
            raise UsageError("b1 and curves go together", hint="Give both, or neither to climb the ladder.")
        self.parts = [list(part) for part in groundwork.prepare(number)]
        self.primes: list[list[int]] = []
        self.unproved: list[list[int]] = []
        self.composites: list[Composite] = []
        self.curves_done = 0
        self.failures = 0
        self.work_s = 0.0
        self.started_at = 0.0

    # -- making units ----------------------------------------------------------------------------------------

    def next_job(self) -> Unit | None:
        """Return the next unit: of the composite that has had the least work, and the smallest of those."""
        if not self.started_at:
            self._begin()
        self._look_at_the_clock()
        if self.done:
            return None
        for composite in sorted(self.composites, key=lambda c: (c["level"], c["n"])):
            unit = self._unit_for(composite)
            if unit is not None:
                return unit
        return None

    def _begin(self) -> None:
        self.started_at = time.time()
        self.wake_at = self.started_at + self.budget_s if self.budget_s else 0.0
        for base, multiplicity in self.parts:
            self._settle(base, multiplicity)
        self.parts = []
        self._conclude()

    def _unit_for(self, composite: Composite) -> Unit | None:
        n, group = composite["n"], composite["group"]
        level = climb.level_at(composite, composite["level"])
        if not self.b1 and composite["sieve"] != "failed" and ladder.sieve_now(n, level):
            if composite["sieve"] != "running":
                composite["sieve"] = "running"
                return ladder.sieve_unit(n, group=group)
            if not ladder.curves_beside(n):
                return None
        if not self.b1 and composite["level"] and not composite["minus"]:
            composite["minus"] = "running"
            return ladder.minus_unit(n, group=group, quorum=self.quorum)
        curves = climb.take(composite, ladder.curves_a_unit(n, level))
        if not curves:
            if self.b1:
                return None
            climb.rise(composite)
            return self._unit_for(composite)
        unit = ladder.curves_unit(n, level.b1, self.sigma, curves, group=group, quorum=self.quorum)
        self.sigma += curves
        return unit

    # -- folding answers -------------------------------------------------------------------------------------

    def process_result(self, unit: Unit, value: Any) -> None:
        """Fold one accepted answer. One that comes late still counts, for whatever is left of its number."""
        self.failures = 0
        self.work_s += ladder.unit_s(unit.args)
        if unit.args["kind"] == "flint":
            self._divide([p for p, _ in value["factors"]], unit)
        elif unit.args["kind"] == "minus":
            self._pass_minus(unit.args["n"])
            if value["factor"]:
                self._divide([value["factor"]], unit)
        else:
            self.curves_done += value["curve"] + (value["factor"] > 0)
            self._pass(unit.args, value["curve"])
            if value["factor"]:
                self._divide([value["factor"]], unit)
        self._conclude()
        self._look_at_the_clock()

    def unit_failed(self, unit: Unit, reason: str) -> None:
        """Go on without a unit that nobody could do: curves are only chances, and a sieve has an alternative."""
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            super().unit_failed(unit, f"{reason} ({self.failures} units failed in a row)")
        if unit.args["kind"] == "ecm":
            self._pass(unit.args, unit.args["curves"])
        for composite in self.composites:
            if composite["group"] == unit.group and unit.args["kind"] == "flint":
                composite["sieve"] = "failed"
        self._look_at_the_clock()

    def _pass(self, args: dict[str, Any], curves: int) -> None:
        """Count curves for every composite that they were run on: a curve on n is one on all divisors of n."""
        for composite in self.composites:
            if args["n"] % composite["n"] == 0:
                climb.count(composite, args["b1"], curves)

    def _pass_minus(self, n: int) -> None:
        """Note that p-1 was tried on n, and so on all divisors of n."""
        for composite in self.composites:
            if n % composite["n"] == 0:
                composite["minus"] = "done"

    def _divide(self, factors: Iterable[int], unit: Unit) -> None:
        """Split every composite that has a factor in common with the new ones, and stop the work on it."""
        found = list(factors)
        for composite in list(self.composites):
            parts = [(composite["n"], 1)]
            for factor in found:
                parts = refine(parts, factor)
            if parts == [(composite["n"], 1)]:
                continue
            self.composites.remove(composite)
            self.cancel(composite["group"])
            for base, multiplicity in parts:
                self._settle(base, multiplicity * composite["multiplicity"], unit.id, heir_of=composite)

    def _settle(self, n: int, multiplicity: int, unit: int = 0, heir_of: Composite | None = None) -> None:
        """Put a new part of the number where it belongs."""
        for nature, base, power in groundwork.settle(n):
            if nature is Nature.PRIME:
                self.primes.append([base, power * multiplicity, unit])
            elif nature is Nature.UNPROVED:
                self.unproved.append([base, power * multiplicity])
            else:
                group = f"C{ladder.digits(base)}-{_digest(base)[:8]}"
                fixed = [self.b1, self.curves] if self.b1 else []
                self.composites.append(climb.begin(base, power * multiplicity, group, fixed, heir_of))

    # -- ending ----------------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        """Bring the result up to date. Raises DSageError if its product is not n, which nothing can repair."""
        factors = sorted([p, e] for p, e, _ in self.primes)
        unfinished = sorted([*([c["n"], c["multiplicity"]] for c in self.composites), *self.unproved])
        if self.n < 0:
            factors.insert(0, [-1, 1])
        if groundwork.product([*factors, *unfinished]) != self.n:
            raise DSageError("the product of the factors is not the number: this is an error in the program")
        self.result = {
            "n": self.n,
            "factors": factors,
            "found_by": sorted([p, unit] for p, _, unit in self.primes if unit),
            "unfinished": unfinished,
            "complete": not unfinished,
            "summary": words.answer(self.n, factors, unfinished),
        }
        self.done = not self.composites

    def _look_at_the_clock(self) -> None:
        if self.budget_s and not self.done and time.time() >= self.started_at + self.budget_s:
            for composite in self.composites:
                self.cancel(composite["group"])
            self.done = True

    def progress(self) -> dict[str, Any]:
        """Return what a page shows: `composites` under work, `factors` so far (decimal text), `curves_done`, and
        `seconds_left_on_this_level` at the speed so far, when that is known. Nobody knows when a curve will be lucky,
        so `eta_s` is known only while nothing but sieves is left."""
        shown = {
            "phase": self._phase(),
            "fraction": self._fraction(),
            "eta_s": None,
            "curves_done": self.curves_done,
            "summary": words.standing(self.curves_done, len(self.primes)),
            "composites": [climb.view(composite) for composite in self.composites],
            "factors": [[str(p), e] for p, e, _ in sorted(self.primes)],
        }
        if self.work_s >= SPEED_KNOWN_S and self.composites:
            speed = self.work_s / max(time.time() - self.started_at, 0.001)
            shown["seconds_left_on_this_level"] = round(sum(map(climb.left_s, self.composites)) / speed)
            if all(composite["sieve"] == "running" for composite in self.composites):
                shown["eta_s"] = shown["seconds_left_on_this_level"]
        return shown

    def _phase(self) -> str:
        if not self.started_at:
            return "algebra and small primes"
        if self.done:
            return "stopped: the budget is spent" if self.composites else "done"
        hardest = max(self.composites, key=lambda c: c["n"])
        what = f"a composite of {ladder.digits(hardest['n'])} digits"
        if hardest["sieve"] == "running":
            return f"quadratic sieve on {what}"
        return f"curves at B1={climb.view(hardest)['b1']:,} on {what}"

    def _fraction(self) -> float:
        """Return the share of the number's length that is proved, plus a part of what has been tried on the rest."""
        length = max(abs(self.n).bit_length(), 1)
        open_bits = 0.0
        for composite in self.composites:
            weight = 1 - 0.9 * climb.climbed(composite)
            open_bits += weight * composite["multiplicity"] * composite["n"].bit_length()
        return max(0.0, min(1.0, 1 - open_bits / length)) if self.started_at else 0.0


def _first_sigma(n: int) -> int:
    """Return where this number's curves begin: the same in each attempt, far from other numbers' curves."""
    return FIRST_SIGMA + int(_digest(n)[:10], 16)


def _digest(n: int) -> str:
    return hashlib.sha256(f"{n:x}".encode()).hexdigest()


def _at_least(minimum: int, name: str, value: object) -> float:
    """Return a parameter as a number; the command line may give text. Raises UsageError."""
    try:
        number = float(value) if isinstance(value, int | float | str) else -1.0
    except ValueError:
        number = -1.0
    if not minimum <= number < 1e15:
        raise UsageError(f"{name} must be a number from {minimum} to 10^15")
    return number
