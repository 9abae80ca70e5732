"""`Search`: a search tree, one unit a branch; a branch that takes too long is split into its own branches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import prod
from typing import Any, ClassVar, Final

from dsage import DistributedFunction, Limits, Unit, checkpoint, progress, restored
from dsage.errors import UsageError
from dsage_projects.search.fields import polynomial, real_field, same_field
from dsage_projects.search.tree import Prefix, Shape, children, holds, leaves

Branch = dict[str, Any]
Fields = list[list[Any]]
"""[[discriminant, polynomial], ...], ascending: of each field the polynomial whose roots have the least squares."""

SECONDS: Final = {
    2: (1e-4, 0.0), 3: (2e-5, 1.5), 4: (7e-7, 3.6), 5: (2.7e-8, 5.3), 6: (5.3e-8, 5.6), 7: (4.7e-10, 8.0),
}  # fmt: skip
"""(c, e) by degree: c s^e seconds of the reference core for the branch [a, b], s being the squares of the roots less
trace^2/n: what remains when they are moved to the middle. Fitted to measurements within a factor of two."""
CHECKPOINT_S: Final = 1.0


class Search(DistributedFunction[Branch, Fields]):
    """All totally real number fields of a degree (2 to 7) with a discriminant of at most `bound`.

    `unit_s`: a unit that has used so many seconds of processor time is split. `reach`: see `Shape`. The result is
    {"fields": [[discriminant, [a_{n-1}, ..., a_0]], ...], "summary"}, one polynomial for each field.
    """

    title: ClassVar[str] = "Totally real number fields"
    shown_as: ClassVar[str] = "spectrum"
    needs: ClassVar[tuple[str, ...]] = ("flint",)
    limits: ClassVar[Limits] = Limits(cpu_s=86400.0, wall_s=10 * 86400.0)

    def __init__(self, degree: int = 6, bound: int = 735_091, *, reach: int = 1, unit_s: float = 600.0) -> None:
        super().__init__()
        self.degree, self.bound, self.reach, self.unit_s = int(degree), int(bound), int(reach), float(unit_s)
        if self.degree not in SECONDS or self.bound < 1 or self.reach < 1 or not 1 <= self.unit_s <= self.limits.cpu_s:
            raise UsageError(
                "the degree is 2 to 7, bound and reach are at least 1, unit_s is 1 second to a day",
                hint="dsage submit search -p degree=5 -p bound=102000",
            )
        self.searched_s = 0.0
        self.result = {"fields": [], "summary": "none"}

    def units(self) -> Iterator[Unit[Branch]]:
        """Yield the branches that fix two coefficients."""
        shape = self.shape()
        for first in children(shape, []):
            for branch in children(shape, first):
                yield self.unit(branch)

    def split(self, unit: Unit[Branch]) -> list[Unit[Branch]]:
        """Return the branches of a branch that took too long."""
        if len(unit.args["prefix"]) >= self.degree - 1:
            raise UsageError(f"one polynomial takes more than {self.unit_s} seconds", hint="Give a larger unit_s.")
        branches = children(self.shape(), unit.args["prefix"])
        if not branches:
            self.searched_s += seconds(self.shape(), unit.args["prefix"])
        return [self.unit(branch) for branch in branches]

    @staticmethod
    def compute(args: Branch) -> Fields:
        """Walk through a branch; a checkpoint is where it stands, and what it has found."""
        shape, prefix = Shape(*args["shape"]), args["prefix"]
        found: Fields
        after, found = restored() or [[], []]
        kept = time.monotonic()
        branches = children(shape, prefix) if len(prefix) < shape.n else [prefix]
        for leaf in leaves(shape, prefix, after):
            if discriminant := real_field(polynomial(leaf), shape.bound):
                found = merged(found, discriminant, leaf)
            if time.monotonic() - kept >= CHECKPOINT_S:
                checkpoint([leaf, found])
                progress(branches.index(leaf[: len(prefix) + 1]) / len(branches))
                kept = time.monotonic()
        return found

    @staticmethod
    def verify(args: Branch, value: Any) -> bool | None:
        """Return False if a field of the answer is none of this branch; that none is missing takes a second opinion."""
        shape = Shape(*args["shape"])
        right = type(value) is list and all(
            type(pair) is list
            and len(pair) == 2
            and type(pair[1]) is list
            and all(type(a) is int for a in pair[1])
            and holds(shape, args["prefix"], pair[1])
            and pair[0] == real_field(polynomial(pair[1]), shape.bound) > 0
            for pair in value
        )
        return None if right else False

    def process_result(self, unit: Unit[Branch], value: Fields) -> None:
        """Add what a branch holds; a field that several branches hold is kept once, whatever order they come in."""
        fields = self.result["fields"]
        for discriminant, coefficients in value:
            fields = merged(fields, discriminant, coefficients)
        self.searched_s += seconds(self.shape(), unit.args["prefix"])
        self.result = {"fields": fields, "summary": "\n".join(f"{d:>12}  {text(f)}" for d, f in fields) or "none"}

    def progress(self) -> dict[str, Any]:
        """Return the share of the tree that was searched, by the estimate that credit follows too."""
        shape = self.shape()
        whole = sum(seconds(shape, b) for first in children(shape, []) for b in children(shape, first))
        count = len(self.result["fields"])
        return {"fraction": min(self.searched_s / whole, 1.0) if whole else 1.0, "summary": f"{count} fields so far"}

    def shape(self) -> Shape:
        """Return what is looked for."""
        return Shape(self.degree, self.bound, self.reach)

    def unit(self, branch: Prefix) -> Unit[Branch]:
        """Return the unit that searches a branch."""
        return Unit(
            {"shape": list(self.shape()), "prefix": branch},
            key=",".join(map(str, branch)),
            credit=seconds(self.shape(), branch) / 60,
            deadline_s=60 + 10 * self.unit_s,
            limits=Limits(cpu_s=self.unit_s, wall_s=10 * self.unit_s),
        )


def merged(fields: Fields, discriminant: int, coefficients: Prefix) -> Fields:
    """Return the fields with one more, unless it is among them: then with the simpler polynomial of the two."""
    others: Fields = []
    twins: Fields = [[discriminant, coefficients]]
    for field in fields:
        same = field[0] == discriminant and same_field(polynomial(field[1]), polynomial(coefficients))
        (twins if same else others).append(field)
    return sorted([*others, min(twins, key=lambda field: simplicity(field[1]))])


def simplicity(coefficients: Prefix) -> tuple[int, Prefix]:
    """Return what polynomials are ordered by: the squares of the roots, then the coefficients."""
    return coefficients[0] ** 2 - 2 * coefficients[1], coefficients


def seconds(shape: Shape, branch: Prefix) -> float:
    """Return the seconds that a branch is estimated to take; the branches of one share its estimate evenly."""
    c, e = SECONDS[shape.n]
    a, b = branch[:2]
    shares = prod(len(children(shape, branch[:length])) for length in range(2, len(branch)))
    squares: float = a * a - 2 * b - a * a / shape.n
    return float(c * squares**e / shares)


def text(coefficients: Prefix) -> str:
    """Return a polynomial as people write it."""
    n = len(coefficients)
    terms = [f"x^{n}"]
    for power, a in zip(range(n - 1, -1, -1), coefficients, strict=True):
        size = "" if abs(a) == 1 and power else str(abs(a))
        x = "" if power == 0 else "x" if power == 1 else f"x^{power}"
        terms += [f"{'-' if a < 0 else '+'} {size}{x}"] * (a != 0)
    return " ".join(terms)
