"""Hours of local time: whether a moment lies in them, and when that changes next, also across summer time.

A moment lies in a window by what the clock on the wall shows. So in the night when an hour comes twice, a window in it
opens twice; and one that begins in an hour that is left out opens when that hour has been left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from dsage_client.guest.preferences import DAYS, Window

AHEAD: Final = timedelta(days=8)
"""A week's windows have all opened and closed within this time, whatever the day."""


def window_at(windows: tuple[Window, ...], at: float, zone: tzinfo | None = None) -> Window | None:
    """Return the first window in which `at` (Unix seconds) lies. Without a zone, the computer's own is meant."""
    wall = _wall(at, zone)
    return next((window for window in windows if _holds(window, wall)), None)


def is_open(windows: tuple[Window, ...], at: float, zone: tzinfo | None = None) -> bool:
    """Say whether `at` (Unix seconds) lies in one of the windows; no windows at all means any time."""
    return not windows or window_at(windows, at, zone) is not None


def next_change(
    windows: tuple[Window, ...],
    at: float,
    zone: tzinfo | None = None,
    *,
    of: Callable[[Window | None], Hashable] = lambda window: window is not None,
) -> float | None:
    """Return the first moment after `at` (Unix seconds) when what the window at that time means to the caller, `of`,
    is no longer what it is at `at`. None if that never happens."""
    if not windows:
        return None
    now = of(window_at(windows, at, zone))
    changes = sorted({moment for moment in _borders(windows, at, zone) if moment > at})
    return next((moment for moment in changes if of(window_at(windows, moment, zone)) != now), None)


def midnight(at: float, zone: tzinfo | None = None) -> float:
    """Return when the next local day begins after `at`, in Unix seconds."""
    day = _wall(at, zone).date() + timedelta(days=1)
    first = datetime.combine(day, time(), zone).timestamp()
    if _wall(first, zone).date() < day:  # the day begins later than at 0:00, because that hour is left out
        return _shift(at, first + 86400, zone)
    return first


def _wall(at: float, zone: tzinfo | None) -> datetime:
    """Return what the clock on the wall shows."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None)


def _holds(window: Window, wall: datetime) -> bool:
    minute = f"{wall.hour:02}:{wall.minute:02}"
    today = DAYS[wall.weekday()] in window.days
    if window.start < window.end:
        return today and window.start <= minute < window.end
    yesterday = DAYS[wall.weekday() - 1] in window.days
    return (today and minute >= window.start) or (yesterday and minute < window.end)


def _borders(windows: tuple[Window, ...], at: float, zone: tzinfo | None) -> Iterator[float]:
    """Give the moments at which any window may open or close, from now to AHEAD, in any order."""
    clocks = {time.fromisoformat(clock) for window in windows for clock in (window.start, window.end)}
    today = _wall(at, zone).date()
    end = at + AHEAD.total_seconds()
    if _offset(at, zone) != _offset(end, zone):
        yield _shift(at, end, zone)
    for day in range(AHEAD.days + 1):
        for clock in clocks:
            border = datetime.combine(today + timedelta(days=day), clock, zone)
            yield border.timestamp()
            yield border.replace(fold=1).timestamp()


def _offset(at: float, zone: tzinfo | None) -> timedelta:
    return _wall(at, zone) - _wall(at, UTC)


def _shift(low: float, high: float, zone: tzinfo | None) -> float:
    """Return the moment between two others with different offsets from UTC at which the clocks are put on or back."""
    before = _offset(low, zone)
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
    return float(round(high))
