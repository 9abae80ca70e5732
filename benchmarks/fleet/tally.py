"""What happened to a fleet: counts, latencies, and which reports were acknowledged."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts from one moment on. Latencies are in seconds."""

    calls: int = 0
    entered: int = 0
    """Logins."""
    leased: int = 0
    acks: Counter[str] = field(default_factory=Counter)
    """Reports by what became of them; "failed" are acknowledged failures, "ok" acknowledged answers."""
    troubles: Counter[str] = field(default_factory=Counter)
    """Refused calls by their status, and broken connections."""
    reporting: array[float] = field(default_factory=lambda: array("d"))
    """Latencies of calls that carried reports."""
    asking: array[float] = field(default_factory=lambda: array("d"))
    """Latencies of the other calls, held ones among them."""
    completing: array[float] = field(default_factory=lambda: array("d"))
    """Latencies of calls that brought the last needed answer of a unit, as far as this fleet can know."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of the values do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
