"""Many calls that cost nothing: how many a second a map over them gets through."""

from __future__ import annotations

import statistics
import time
from typing import Final

from figures import figure, say

from sdk.systems import PATIENCE_S, Map, System, distributed_map, ipyparallel_map, local
from sdk.work import same

ITEMS: Final = 10_000
ROUNDS: Final = 3
WARM: Final = 100
CHUNK: Final = 50


def small(items: int) -> None:
    """Print the rate of `local().map` over so many items, beside those of peers in this run."""
    items = items or ITEMS
    with local() as grid:
        rate = _rate(lambda function, numbers: grid.map(function, numbers).wait(PATIENCE_S), items, ROUNDS)
    peers: dict[str, tuple[System, int]] = {
        "ipyparallel, load-balanced map": (ipyparallel_map, 1),
        f"ipyparallel, chunks of {CHUNK}": (lambda: ipyparallel_map(CHUNK), ROUNDS),
        "Dask's client.map": (distributed_map, 1),
    }
    for name, (system, rounds) in peers.items():
        try:
            with system() as run:
                beside = _rate(run, items, rounds)
        except ImportError as error:
            say(f"     {name} is not here: {error}")
            continue
        bar = beside if system is ipyparallel_map else None
        figure(f"local(): map of {items:,} trivial items", rate, "items/s", bar=bar, better="higher",
               peer=(name, beside))  # fmt: skip


def _rate(run: Map, items: int, rounds: int) -> float:
    """Return items a second, the median of some rounds, after a short one."""
    numbers = range(items)
    seconds = []
    for count in (min(WARM, items), *[items] * rounds):
        begin = time.perf_counter()
        if run(same, numbers[:count]) != list(numbers[:count]):
            raise RuntimeError("the map did not return what it should")
        seconds.append(time.perf_counter() - begin)
    return items / statistics.median(seconds[1:])
