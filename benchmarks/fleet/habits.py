"""How simulated hosts behave. Shares lie between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What each host of a fleet does, again and again: fetch, work, report.

    With `work_s` = 0 the hosts report at once (a closed loop: the server sets the pace).
    """

    batch: int = 10
    """Copies asked for, and reported, in one call: 1 to 50."""
    wait_s: float = 50.0
    """How long the server may hold a call when there is no work."""
    work_s: float = 0.0
    """From fetching a batch to reporting it."""
    spread: float = 0.3
    """The speeds of hosts differ by up to this share either way."""
    failed: float = 0.0
    """Share of copies reported as failed."""
    wrong: float = 0.0
    """Share of copies with an answer that nobody else gives."""
    noise: float = 0.0
    """Answers are numbers that differ from the right one by up to this."""
    vanish: float = 0.0
    """Share of batches that a host takes along into an absence."""
    forget: float = 0.0
    """Share of absences after which the host has lost what it held, as with a new disk."""
    cut: float = 0.0
    """Share of reports whose connection breaks before the reply; they are sent again."""
    away_s: float = 5.0
    """An absence lasts up to this long."""
    back_s: float = 5.0
    """When the server is away hosts come back at a moment within this time."""
