"""What the researcher's side costs, beside Dask and ipyparallel. `make bench-sdk`, and `make bench-sdk-long`.

Everything is real: `dsage serve` and `dsage join` as processes, TLS, signatures, sandboxes, quorum where it is named.
Every system has two workers, and peers are measured in the same run. In the long one all 200 units take 10 s.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from figures import say
from sdk.efficiency import UNIT_S, efficiency
from sdk.million import million
from sdk.small import small
from sdk.startup import startup
from sdk.trips import trips

UNITS = 200
SHORT = {0.1: (UNITS, 100), 1.0: (UNITS, 20), 10.0: (20, 0)}
"""Units by their length (s): for our own places, and for peers."""
LONG = {10.0: (UNITS, UNITS)}
MILLION = 1_000_000


def main() -> None:
    """Run every part, or those named."""
    said = arguments()
    parts: dict[str, Callable[[], None]] = {
        "startup": lambda: startup(said.times),
        "trips": lambda: trips(said.times),
        "small": lambda: small(said.items),
        "million": lambda: million(said.run, said.profile),
        "efficiency": lambda: efficiency(*_units(said)),
    }
    for name in said.only or (["efficiency"] if said.long else parts):
        say(f"-- {name}")
        parts[name]()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], choices=["startup", "trips", "small", "million", "efficiency"],
        help="this part (may be repeated)",
    )  # fmt: skip
    parser.add_argument("--long", action="store_true", help=f"{UNITS} units of 10 s on each system, and nothing else")
    parser.add_argument("--times", type=int, default=0, help="round trips, and starts, of each kind")
    parser.add_argument("--items", type=int, default=0, help="items of the map")
    parser.add_argument("--run", type=int, default=MILLION, help=f"units of the long run (default {MILLION})")
    parser.add_argument("--units", type=int, help="units of each length that efficiency is measured with")
    parser.add_argument(
        "--seconds", type=float, action="append", choices=UNIT_S, help="only units of this length (may be repeated)"
    )
    parser.add_argument("--profile", type=Path, help="a file for a sampled profile of the driver (py-spy)")
    return parser.parse_args()


def _units(said: argparse.Namespace) -> tuple[dict[float, int], dict[float, int]]:
    """Return how many units of each length our places get, and how many the others."""
    wanted = LONG if said.long else SHORT
    wanted = {unit_s: counts for unit_s, counts in wanted.items() if unit_s in (said.seconds or wanted)}
    if said.units:
        wanted = dict.fromkeys(wanted, (said.units, said.units))
    return {s: own for s, (own, _) in wanted.items()}, {s: others for s, (_, others) in wanted.items()}


if __name__ == "__main__":
    main()
