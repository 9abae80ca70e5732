"""Efficiency: the time that the units alone would take on two workers, over the time that the run took.

A unit uses a fixed time of a processor, so whatever else runs on the machine meanwhile counts too: servers and drivers
of the system itself, and other programs. The row of bare processes says what these cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import psutil
from figures import figure, say

from sdk.systems import SYSTEMS, WORKERS, Map
from sdk.work import busy

UNIT_S: Final = (0.1, 1.0, 10.0)
BARS: Final = {
    "local()": {0.1: 90.0, 1.0: 98.0, 10.0: 99.0},
    "volunteers, quorum 1": {0.1: 70.0, 1.0: 95.0, 10.0: 99.0},
}
PEERS: Final = ("Dask alone", "ipyparallel")
CEILING: Final = "two bare processes"
DISTURBED_PERCENT: Final = 95.0
"""If bare processes stay below this, other programs had a good part of the machine."""


def efficiency(units: Mapping[float, int], peers: Mapping[float, int]) -> None:
    """Print the efficiency of our places with so many units of each length (s), and of the others with so many.

    A length without units is left out; so is a system that is not installed.
    """
    found: dict[tuple[str, float], float] = {}
    for name, system in SYSTEMS.items():
        counts = units if name in BARS else peers
        if not any(counts.values()):
            continue
        try:
            with system() as run:
                run(busy, [0.0] * 2 * WORKERS)
                for unit_s, count in counts.items():
                    if count:
                        found[name, unit_s] = _measured(name, run, unit_s, count)
        except ImportError as error:
            say(f"     {name} is not here: {error}")
    for (name, unit_s), percent in found.items():
        beside = max((found.get((peer, unit_s), 0.0), peer) for peer in PEERS)
        ours = name in BARS
        figure(
            f"efficiency: {name}, {(units if ours else peers)[unit_s]} units of {unit_s:g} s", percent, "%",
            bar=BARS[name][unit_s] if ours else None, better="higher",
            peer=(beside[1], beside[0]) if ours and beside[0] else None,
        )  # fmt: skip


def _measured(name: str, run: Map, unit_s: float, count: int) -> float:
    begin, before = time.perf_counter(), _machine_cpu_s()
    used = run(busy, [unit_s] * count)
    took, machine = time.perf_counter() - begin, _machine_cpu_s() - before
    if len(used) != count or min(used) < unit_s:
        raise RuntimeError(f"{name}: {len(used)} of {count} units were done, the shortest in {min(used)} s")
    percent = 100 * unit_s * count / WORKERS / took
    besides = max(0.0, machine - sum(used)) / took
    disturbed = "   DISTURBED by other programs" if name == CEILING and percent < DISTURBED_PERCENT else ""
    say(f"     {name:22} {count:4} units of {unit_s:4g} s: {took:6.2f} s, {percent:.1f} %"
        f"   besides units the machine used {besides:.2f} cores{disturbed}")  # fmt: skip
    return percent


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)
