"""One composite's climb up the ladder: which curves were given out, and which level it really stands on.

Units are made ahead of the answers, so the level that new units come from (`level`) may lie above the lowest one whose
answers are not all in (`standing`). People are told of the latter.
"""

from __future__ import annotations

from typing import Any, TypedDict

from dsage_projects.factor import ladder
from dsage_projects.factor.ladder import Level


class Composite(TypedDict):
    """A part of the number that units work on. At the ladder's top, its last level is climbed again and again."""

    n: int
    multiplicity: int
    group: str
    fixed: list[int]  # [b1, curves] of the one level there is; empty to climb the ladder
    level: int  # that new units come from
    issued: int  # curves given out at it
    passed: list[int]  # curves of each level whose answers are in, or that were given up
    sieve: str  # "", "running" or "failed"
    minus: str  # the same of p-1: "", "running" or "done"


def begin(n: int, multiplicity: int, group: str, fixed: list[int], heir_of: Composite | None) -> Composite:
    """Return a part where its climb begins. A cofactor has had all that was done to what it divides."""
    level = standing(heir_of) if heir_of else 0
    passed = list(heir_of["passed"]) if heir_of else [0]
    minus = "done" if heir_of and heir_of["minus"] == "done" else ""
    return {
        "n": n, "multiplicity": multiplicity, "group": group, "fixed": fixed,
        "level": level, "issued": passed[level], "passed": passed, "sieve": "", "minus": minus,
    }  # fmt: skip


def level_at(composite: Composite, index: int) -> Level:
    """Return a level of this composite's ladder; beyond the top it is the last."""
    if composite["fixed"]:
        return Level(0, *composite["fixed"])
    levels = ladder.levels(composite["n"])
    return levels[min(index, len(levels) - 1)]


def standing(composite: Composite) -> int:
    """Return the lowest level that is not climbed yet: at most the one that new units come from."""
    passed = composite["passed"]
    missing = (i for i in range(composite["level"]) if passed[i] < level_at(composite, i).curves)
    return next(missing, composite["level"])


def take(composite: Composite, most: int) -> int:
    """Give out up to so many curves of the present level, and return how many that were."""
    curves = max(min(most, level_at(composite, composite["level"]).curves - composite["issued"]), 0)
    composite["issued"] += curves
    return curves


def rise(composite: Composite) -> None:
    """Let new units come from the next level, of which some curves may have been run on a larger number."""
    composite["level"] += 1
    if len(composite["passed"]) == composite["level"]:
        composite["passed"].append(0)
    composite["issued"] = composite["passed"][composite["level"]]


def count(composite: Composite, b1: int, curves: int) -> None:
    """Count curves at a bound for the lowest level with it that is not full."""
    passed = composite["passed"]
    known = [i for i in range(len(passed)) if level_at(composite, i).b1 == b1]
    open_ = [i for i in known if passed[i] < level_at(composite, i).curves]
    if known:
        passed[(open_ or known[-1:])[0]] += curves


def climbed(composite: Composite) -> float:
    """Return the share (0..1) of the ladder that this composite has climbed."""
    rungs = 1 if composite["fixed"] else len(ladder.levels(composite["n"]))
    index = standing(composite)
    return min((index + min(composite["passed"][index] / level_at(composite, index).curves, 1)) / rungs, 1.0)


def left_s(composite: Composite) -> float:
    """Return the reference seconds that are left of the level it stands on, or of its sieve."""
    if composite["sieve"] == "running":
        return ladder.sieve_s(composite["n"])
    index = standing(composite)
    level = level_at(composite, index)
    return max(level.curves - composite["passed"][index], 0) * ladder.curve_s(composite["n"], level.b1)


def view(composite: Composite) -> dict[str, Any]:
    """Return what a page shows of it."""
    index = standing(composite)
    level = level_at(composite, index)
    return {
        "digits": ladder.digits(composite["n"]),
        "b1": level.b1,
        "curves": level.curves,
        "curves_done": composite["passed"][index],
        "sieve": composite["sieve"] == "running",
    }
