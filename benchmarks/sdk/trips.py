"""The round trip of an eval: from the call to its value, in a program that is connected already."""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

from figures import figure, say

from dsage.grid import Grid
from sdk import systems

TRIPS: Final = 41
NEW_TRIPS: Final = 15
AWAY_BAR_MS: Final = 100.0
LOCAL_BAR_MS: Final = 20.0


def trips(count: int) -> None:
    """Print the median round trip of so many evals at each place, of the same source and of new source each time."""
    count = count or TRIPS
    new = min(count, NEW_TRIPS)
    with systems.volunteers() as grid:
        usual, once = _same(grid, count), _same(grid, count, quorum=1)
        holds = usual <= AWAY_BAR_MS
        figure('volunteers: eval("2+2"), p50', usual, "ms", bar=AWAY_BAR_MS if holds else None)
        figure('volunteers: eval("2+2") at quorum 1, p50', once, "ms", bar=None if holds else AWAY_BAR_MS)
        figure("volunteers: eval of new source at quorum 1, p50", _new(grid, new, quorum=1), "ms")
    with systems.local() as grid:
        figure('local(): eval("2+2"), p50', _same(grid, count), "ms", bar=LOCAL_BAR_MS)
        figure("local(): eval of new source, p50", _new(grid, new), "ms")
    try:
        with systems.dask() as grid:
            figure('dask(): eval("2+2"), p50', _same(grid, count), "ms")
            figure("dask(): eval of new source, p50", _new(grid, new), "ms")
    except ImportError as error:
        say(f"     Dask is not here: {error}")


def _same(grid: Grid, count: int, **options: Any) -> float:
    """Return the median of so many round trips in ms, after one to begin with."""
    return _median([_trip(grid, "2+2", 4, options) for _ in range(count + 1)][1:])


def _new(grid: Grid, count: int, **options: Any) -> float:
    return _median([_trip(grid, f"2+{number}", 2 + number, options) for number in range(1000, 1000 + count)])


def _trip(grid: Grid, source: str, right: int, options: Any) -> float:
    begin = time.perf_counter()
    value = grid.eval(source, **options).wait(systems.PATIENCE_S)
    took = time.perf_counter() - begin
    if value != right:
        raise RuntimeError(f"{source} is {value!r} there")
    return took


def _median(seconds: list[float]) -> float:
    return 1e3 * statistics.median(seconds)
