"""The rule `detections`: two lists of what was found, of which only the faintest may be missing in one."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from dsage.agreement.rule import Rule, Unfit, amount, declared, is_number

Row: TypeAlias = tuple[float, ...]

MAX_ROWS: Final = 10_000
MAX_COLUMNS: Final = 64
MAX_STEPS: Final = 300_000
"""Looks at a possible partner, of one side: lists so crowded that this is not enough say nothing."""


class Detections(Rule, frozen=True, tag="detections"):
    """Rows are matched one to one; see `detections`."""

    threshold: float
    tolerance: tuple[float, ...]
    rtol: float

    def __post_init__(self) -> None:
        if not is_number(self.threshold) or not math.isfinite(self.threshold):
            raise ValueError(f"threshold={self.threshold!r} cannot be: it is a finite number")
        if not 0 < len(self.tolerance) < MAX_COLUMNS:
            raise ValueError(f"tolerance={self.tolerance!r} cannot be: it is a number, or one for each position")
        for each in self.tolerance:
            amount("tolerance", each)
        amount("rtol", self.rtol, below=1.0)
        if not any(self.tolerance) and not self.rtol:
            raise ValueError("tolerance=0 and rtol=0 leave nothing to tolerate: without a rule, equal bytes are asked")

    def read(self, value: Any) -> list[Row]:
        """Return the rows, sorted. Raises Unfit for what is no list of rows of numbers."""
        if hasattr(value, "dtype"):
            if value.dtype.names is not None or value.dtype.kind not in "iuf" or value.ndim != 2:
                raise Unfit(f"is an array of {value.dtype} in {value.ndim} dimensions, where rows of numbers belong")
            if value.shape[1] > MAX_COLUMNS:
                raise Unfit(f"has detections of {value.shape[1]} numbers; at most {MAX_COLUMNS} are compared")
            value = value[: MAX_ROWS + 1].tolist()
        if type(value) is not list:
            raise Unfit(f"is a {type(value).__name__}, where a list of detections belongs")
        if len(value) > MAX_ROWS:
            raise Unfit(f"has more than {MAX_ROWS} detections")
        rows = [self._row(each, index) for index, each in enumerate(value)]
        if len({len(row) for row in rows}) > 1:
            raise Unfit("has detections of several lengths")
        return sorted(rows)

    def same(self, a: list[Row], b: list[Row]) -> bool:
        """Say whether a matching covers all that must be there, on both sides.

        Where one matching covers the ones of `a` and another those of `b`, there is one that covers both. Source:
        Mendelsohn & Dulmage 1958, "Some generalizations of the problem of distinct representatives".
        """
        return a == b or (self._covered(a, b) and self._covered(b, a))

    def _row(self, row: Any, index: int) -> Row:
        if type(row) is not list or not 2 <= len(row) <= MAX_COLUMNS:
            raise Unfit(f"has as detection {index} no list of one or more positions and a strength")
        if len(self.tolerance) not in (1, len(row) - 1):
            raise Unfit(f"has {len(row) - 1} positions in detection {index}; the rule knows {len(self.tolerance)}")
        numbers = tuple([float(each) if is_number(each) else math.nan for each in row])
        if not all(map(math.isfinite, numbers)):
            raise Unfit(f"has in detection {index} something that is no finite number")
        return numbers

    def _must(self, row: Row) -> bool:
        return abs(row[-1] - self.threshold) > self.rtol * max(abs(row[-1]), abs(self.threshold))

    def _near(self, a: Row, b: Row) -> bool:
        if len(a) != len(b):
            return False
        tolerance = self.tolerance * (len(a) - 1) if len(self.tolerance) == 1 else self.tolerance
        places = zip(a, b, tolerance, strict=False)
        return all(abs(x - y) <= most for x, y, most in places) and math.isclose(a[-1], b[-1], rel_tol=self.rtol)

    def _covered(self, a: Sequence[Row], b: Sequence[Row]) -> bool:
        """Say whether each row of `a` that must be there has a partner in `b` of its own."""
        firsts = [row[0] for row in b]
        reach = self.tolerance[0]
        matching = _Matching()
        for index, row in enumerate(a):
            if not self._must(row):
                continue
            first = row[0]
            near = []
            for other in range(bisect_left(firsts, -reach, key=lambda x: x - first), len(b)):
                if firsts[other] - first > reach or not matching.step():
                    break
                if self._near(row, b[other]):
                    near.append(other)
            if not matching.add(index, near):
                return False
        return True


class _Matching:
    """Rows and their partners, one each; `owner` by partner and `partner` by owner."""

    def __init__(self) -> None:
        self._owner: dict[int, int] = {}
        self._partner: dict[int, int] = {}
        self._near: dict[int, list[int]] = {}
        self._left = MAX_STEPS

    def step(self) -> bool:
        """Count a step; False when there were too many."""
        self._left -= 1
        return self._left >= 0

    def add(self, start: int, near: list[int]) -> bool:
        """Find a row a partner among those near, moving others to another of theirs where need be.

        Source: Kuhn 1955, "The Hungarian method for the assignment problem"; breadth first, so that no stack grows.
        """
        self._near[start] = near
        came: dict[int, int] = {}
        waiting = [start]
        for index in waiting:
            for other in self._near[index]:
                if not self.step():
                    return False
                if other in came:
                    continue
                came[other] = index
                if other not in self._owner:
                    self._move(other, came)
                    return True
                waiting.append(self._owner[other])
        return False

    def _move(self, free: int, came: dict[int, int]) -> None:
        """Give each row on the way to the free partner the one through which it was passed."""
        place: int | None = free
        while place is not None:
            row = came[place]
            before = self._partner.get(row)
            self._owner[place], self._partner[row] = row, place
            place = before


def detections(*, threshold: float, tolerance: float | Sequence[float], rtol: float = 0.0) -> Detections:
    """Return the rule that two lists of detections are the same if they can be matched one to one.

    A detection is a row of one or more positions and, last, its strength; an answer is a list of rows or an array of
    two dimensions, in any order. Two match if each position is within `tolerance` (one number, or one for each
    position) and the strength within `rtol` of the larger. One whose strength is within `rtol` of `threshold` may be
    missing in either list. Raises UsageError for numbers that are negative or not finite, an rtol of 1 or more, and
    where nothing is tolerated.
    """
    each = tuple(tolerance) if isinstance(tolerance, Sequence) else (tolerance,)
    found: Detections = declared(Detections, threshold=threshold, tolerance=each, rtol=rtol)
    return found
