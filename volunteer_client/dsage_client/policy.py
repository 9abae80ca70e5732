"""What a client decides: how much work to ask for, how long to wait. Values in, a value out; no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dsage.wire import MAX_BATCH, MAX_WAIT_S

SHORT_UNIT_S: Final = 10.0
"""Below this a slot would idle noticeably while the next unit is fetched, so one is kept in reserve."""
RESERVE_S: Final = 0.5
"""Work kept in reserve for very short units: several round trips to a server far away."""
MAX_RESERVE: Final = 20
RENEWAL_S: Final = 60.0
"""The longest that a client which holds work stays silent."""
RENEWALS_PER_DEADLINE: Final = 3.0
SHORTEST_S: Final = 1.0
"""However short its leases are, a server is not called more often than this for their sake."""
SOON_S: Final = 5.0
"""How soon the server hears of what a unit has printed that just began: somebody may be watching."""
LATER: Final = 0.05
"""What has run for long may print for long: the server hears of more after this share of its time."""
SMOOTHING: Final = 0.3
SHORTEST_HOLD_S: Final = 15.0
"""Where a call can only be held for less, it is not held at all."""
CHEAP_HOLD_S: Final = MAX_WAIT_S
"""Calls held one after another for less would be more than 2 MB a day (some 900 bytes each, headers included)."""
POLL_S: Final = 50.0
"""How often a client with work asks whose calls cannot be held."""
IDLE_POLL_S: Final = 300.0
"""How often a client without work begins a call where holding is dear: what is cut there while it is silent costs a new
connection each time (some 3,500 bytes), and a day of that shall stay below 2 MB."""
DISTRUST: Final = 5.0
"""How many times longer than others a wait grows after a server that could not be believed: each try costs a connection
and helps only once a person has done something."""
SURVIVING: Final = 0.8
"""A call is held for this part of the time after which the network ended one."""
TOLERATED_FAILURES: Final = 3
PROJECT_FAILURES: Final = 5
SHORTEST_REST_S: Final = 600.0
LONGEST_REST_S: Final = 86400.0
APPS_DOING: Final = frozenset({"exception", "crash", "codec", "cpu", "wall", "memory", "disk", "output", "processes"})
"""Reasons of a sandbox's Outcome that an app brings about."""
AUTHORS_FAULT_S: Final = 2.0


def reserve(*, slots: int, mean_unit_s: float | None) -> int:
    """Return how many units to hold beyond the slots: none while units are long or their length is unknown."""
    if mean_unit_s is None or mean_unit_s >= SHORT_UNIT_S:
        return 0
    return max(1, min(MAX_RESERVE, int(slots * RESERVE_S / max(mean_unit_s, 1e-3))))


def want(*, slots: int, held: int, mean_unit_s: float | None, storage_full: bool) -> int:
    """Return how many further units to ask for."""
    if storage_full:
        return 0
    return max(0, min(MAX_BATCH, slots + reserve(slots=slots, mean_unit_s=mean_unit_s) - held))


def surplus(*, slots: int, held: int, mean_unit_s: float | None, tight: bool = False) -> int:
    """Return how many units to hand back: those kept in reserve while units were short, now that they are long.

    Three times SHORT_UNIT_S, so that a length near the border does not fetch and hand back in turn. Where memory is
    `tight`, what has no room goes back however long units are: that was not known when it was asked for.
    """
    if tight:
        return max(0, held - slots - reserve(slots=slots, mean_unit_s=mean_unit_s))
    if mean_unit_s is None or mean_unit_s < 3 * SHORT_UNIT_S:
        return 0
    return max(0, held - slots)


def smoothed(mean: float | None, sample: float) -> float:
    """Return the running mean of unit lengths after one more sample."""
    return sample if mean is None else mean + SMOOTHING * (sample - mean)


def renewal_s(deadlines_s: Iterable[float]) -> float:
    """Return the longest silence that no lease with these deadlines would notice."""
    return max(SHORTEST_S, min((deadline / RENEWALS_PER_DEADLINE for deadline in deadlines_s), default=RENEWAL_S))


def hold_s(longest_s: float, deadlines_s: Iterable[float]) -> float:
    """Return how long the server may hold a call open."""
    return min(longest_s, RENEWAL_S, renewal_s(deadlines_s))


def spacing_s(longest_s: float, deadlines_s: Iterable[float], *, busy: bool) -> float:
    """Return how long after the beginning of one call to begin the next, where a call may be held for `longest_s` (0:
    not at all). `busy` is a client that holds work."""
    if busy:
        return 0.0 if longest_s else min(POLL_S, renewal_s(deadlines_s))
    return 0.0 if longest_s >= CHEAP_HOLD_S else IDLE_POLL_S


def surviving_s(*, asked_s: float, took_s: float) -> float:
    """Return for how long a call may be held on a network that ended one after `took_s`; 0 if holding is not worth
    while. One that was not ended but swallowed says nothing about how long it lived: half of it is tried."""
    survives = asked_s / 2 if took_s >= asked_s else took_s * SURVIVING
    return survives if survives >= SHORTEST_HOLD_S else 0.0


def tell_s(running_s: float) -> float:
    """Return after how long the server is to hear of what a unit prints that has run for so long."""
    return max(SOON_S, LATER * running_s)


def backoff_s(attempt: int, draw: float, *, low_s: float, high_s: float) -> float:
    """Return the wait before trying again: doubling from `low_s` to `high_s`, its upper half drawn (0..1), so
    that the clients of a server that comes back do not all return in the same instant."""
    ceiling = min(high_s, low_s * 2.0 ** min(attempt, 30))
    return ceiling * (0.5 + 0.5 * draw)


def return_s(attempt: int, draw: float, *, low_s: float, high_s: float, spread_s: float) -> float:
    """Return the wait before calling a server that is away: the first call of all its clients falls evenly into
    `spread_s`, which it named in good time, and each later one about `spread_s` after the one before."""
    spread = spread_s * (draw if attempt == 0 else 0.5 + draw)
    return max(spread, backoff_s(attempt, draw, low_s=low_s, high_s=high_s))


def failing_pause_s(failures_in_row: int, reason: str, *, low_s: float, high_s: float) -> float:
    """Return how long to take no new work after this many units in a row have failed here, the last for `reason`.

    A computer with a wrong clock or a broken library must not eat its way through a project. But what the app did
    itself may be its author's fault, and others' work shall not wait long for that; the server tells the two apart.
    """
    if failures_in_row < TOLERATED_FAILURES:
        return 0.0
    high_s = min(high_s, AUTHORS_FAULT_S) if reason in APPS_DOING else high_s
    return backoff_s(failures_in_row - TOLERATED_FAILURES, 1.0, low_s=min(low_s, high_s), high_s=high_s)


def project_rest_s(failures_in_row: int) -> float:
    """Return how long to take nothing of a project after this many of its units in a row have failed by this
    computer's fault: not at all before the fifth, then for ten minutes, and twice as long after each further one."""
    if failures_in_row < PROJECT_FAILURES:
        return 0.0
    return min(LONGEST_REST_S, SHORTEST_REST_S * 2.0 ** min(failures_in_row - PROJECT_FAILURES, 30))


def spinning(*, asked_s: float, took_s: float) -> bool:
    """Say whether a held call came back empty so early that asking again at once would only make noise."""
    return took_s < min(1.0, asked_s / 2)
