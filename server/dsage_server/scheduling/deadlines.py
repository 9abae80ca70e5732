"""How long one copy may be away, from the host's own measured speed and the share of time it is on."""

from __future__ import annotations

from typing import Final

from dsage_server.scheduling.record import HostRecord
from dsage_server.scheduling.terms import REFERENCE_S_PER_MILLI

SHORTEST_S: Final = 60.0
LEAST_S: Final = 10.0
"""Nobody gets less than a minute, unless the unit's author asked for less, and never less than this: hosts that hold
short leases call three times in each."""
TIGHTEST: Final = 0.25
LOOSEST: Final = 4.0
"""A fast host gets no less than this share of the researcher's time, a slow one no more than this multiple of it,
unless it needs more by its own measure."""
EXPECTED: Final = 2.0
"""A host gets this many times what its processor is expected to take, and what its answers usually took in all."""


def deadline_s(unit_deadline_s: float, credit_milli: int, record: HostRecord) -> float:
    """Return the seconds that a host has for a unit; `unit_deadline_s` is for the reference computer, always on."""
    pace = record.speed * record.on_fraction
    work_s = credit_milli * REFERENCE_S_PER_MILLI
    scaled = unit_deadline_s * min(LOOSEST, max(TIGHTEST, 1.0 / pace))
    usual = min(EXPECTED * work_s * (record.turnaround or 0.0), LOOSEST * unit_deadline_s)
    shortest = min(SHORTEST_S, max(unit_deadline_s, LEAST_S))
    return max(scaled, shortest, EXPECTED * work_s / pace, usual)
