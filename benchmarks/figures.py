"""How benchmarks print: one JSON line a figure on standard output, and a sentence for people on standard error."""

from __future__ import annotations

import json
import sys


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    bar: float | None = None,
    better: str = "lower",
    peer: tuple[str, float] | None = None,
) -> None:
    """Print one figure; `bar` is what is demanded of it, `peer` a named other value measured in the same run."""
    document = {
        "figure": name, "value": round(value, 4), "unit": unit, "bar": bar, "better": better,
        "peer": {"name": peer[0], "value": round(peer[1], 4)} if peer else None,
    }  # fmt: skip
    print(json.dumps(document), flush=True)
    met = bar is None or (value <= bar if better == "lower" else value >= bar)
    demand = f", demanded {'at most' if better == 'lower' else 'at least'} {bar:g}" if bar is not None else ""
    beside = f"; {peer[0]}: {peer[1]:.4g} {unit}" if peer else ""
    say(f"{'ok  ' if met else 'MISS'} {name}: {value:.4g} {unit}{demand}{beside}")


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, file=sys.stderr, flush=True)
