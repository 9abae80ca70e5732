"""Which runs a made-up server has had: those that lie in the tables, and the many older ones that were archived."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

from dsage.states import RunState
from dsage_server.seeding import words
from dsage_server.seeding.play import Plan

KEPT: Final = (
    Plan(project="factor", params={"n": "2^256+1", "b1": 700, "curves": 3000}, begins=0.62, lasts=0.3, units=60,
         credit=22.0),
    Plan(project="factor", params={"n": "2^227-1", "b1": 1000, "curves": 2000}, begins=0.4, lasts=0.16, units=40,
         credit=14.0),
    Plan(project="factor", params={"n": "2^523-1", "b1": 120, "curves": 9000}, begins=0.11, lasts=0.15, units=6,
         credit=45.0, ends=RunState.RUNNING),
    Plan(project="factor", params={"first": 1200, "last": 2300, "k": 0}, app="prp", begins=0.3, lasts=0.2, units=160,
         credit=9.0),
    Plan(project="pictures", params={"width": 160, "height": 90, "samples": 1, "bands": 45}, begins=0.5, lasts=0.12,
         units=45, credit=31.0),
    Plan(project="pictures", params={"width": 120, "height": 120, "samples": 1, "bands": 60}, begins=0.05, lasts=0.09,
         units=60, credit=26.0, ends=RunState.RUNNING),
    Plan(project="radio", params={"recording": 14, "beams": 300}, begins=0.38, lasts=0.12, units=220, credit=17.0,
         ends=RunState.FAILED, broken=0.02),
    Plan(project="radio", params={"recording": 15, "beams": 260}, begins=0.24, lasts=0.16, units=260, credit=17.0),
    Plan(project="radio", params={"recording": 16, "beams": 300}, begins=0.08, lasts=0.16, units=300, credit=17.0,
         ends=RunState.RUNNING),
    Plan(project="chance", params={"d": 5, "error": 0.035, "points": 10_000}, begins=0.25, lasts=0.2, units=160,
         credit=3.0),
    Plan(project="chance", params={"d": 9, "error": 0.02, "points": 10_000}, begins=0.19, lasts=0.08, units=150,
         credit=3.0, ends=RunState.CANCELLED),
    Plan(project="fields", params={"degree": 4, "bound": 30_000, "unit_s": 10.0}, begins=0.13, lasts=0.06, units=30,
         credit=12.0, ends=RunState.PAUSED),
)  # fmt: skip
"""`begins` and `lasts` are shares of the days that are filled."""
OLD_RUNS: Final = 4
"""Archived runs of each project, one after the other."""
SHARES: Final = {"factor": 5.0, "pictures": 2.0, "radio": 4.0, "chance": 0.6, "fields": 1.5}
"""How the volunteers' computers divide between the projects."""
OLD_CREDIT: Final = {"factor": 24.0, "pictures": 30.0, "radio": 17.0, "chance": 3.0, "fields": 12.0}
OLD_PARAMS: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "factor": ({"n": "2^137-1"}, {"n": "2^149-1"}, {"n": "2^163-1"}, {"n": "2^173-1"}),
    "pictures": tuple({"width": 640, "height": 360, "samples": samples} for samples in (2, 3, 4, 6)),
    "radio": tuple({"recording": number, "beams": 400} for number in (10, 11, 12, 13)),
    "chance": tuple({"d": d, "error": 0.001} for d in (2, 3, 4, 6)),
    "fields": tuple(
        {"degree": degree, "bound": bound} for degree, bound in ((3, 10**6), (3, 10**7), (4, 10**6), (5, 10**6))
    ),
}


@dataclass(slots=True)
class Old:
    """An archived run; `copies` are those that it paid."""

    project: words.Project
    params: dict[str, Any]
    begins: float
    ends: float
    credit: float
    number: int = 0
    copies: int = 0
    people: set[int] = field(default_factory=set)


def old_runs(begin: float, now: float, rng: random.Random) -> list[Old]:
    """Return the archived runs by the time they began; the last of each project ended just now."""
    found = []
    for project in words.PROJECTS:
        edges = sorted(rng.uniform(begin, now - 86400.0) for _ in range(OLD_RUNS - 1))
        bounds = [begin, *edges, now - rng.uniform(3600.0, 7200.0)]
        for params, start, end in zip(OLD_PARAMS[project.name], bounds, bounds[1:], strict=False):
            found.append(Old(project, params, start, end, OLD_CREDIT[project.name] * rng.uniform(0.7, 1.4)))
    return sorted(found, key=lambda old: old.begins)
