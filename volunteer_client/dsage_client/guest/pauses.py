"""Pauses: how long an owner wants one, and whether it is over.

A pause is measured on a clock that goes on during sleep and is never set, so that setting the computer's clock neither
ends nor prolongs it. Only after a restart, when that clock has begun anew, the time of day counts.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import Final

from dsage.errors import UsageError
from dsage_client.guest.choices import Pause
from dsage_client.guest.schedule import midnight

TOMORROW: Final = "tomorrow"
LONGEST_S: Final = 31 * 86400.0
_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_HINT: Final = "Say how long, as 30m, 1h or 2d (31d at most), or `tomorrow`, or nothing: until you resume."


def begin(duration: str, *, now: float, up: float, boot: str, zone: tzinfo | None = None) -> Pause:
    """Return a pause that begins now and lasts for `30m`, `1h30m`, `2d`, until the next local midnight (`tomorrow`) or
    until the owner resumes (""). `now`, `up` and `boot` are as in `Seen`. Raises UsageError for what is no duration."""
    text = duration.strip().lower()
    if not text:
        return Pause()
    lasts_s = midnight(now, zone) - now if text == TOMORROW else seconds(text)
    return Pause(boot=boot, up=up + lasts_s, until=now + lasts_s)


def seconds(duration: str) -> float:
    """Return how many seconds `30m`, `1h30m` or `2d` are. Raises UsageError for what is no duration or is too long."""
    parts = re.fullmatch(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?", duration, re.ASCII)
    if not parts or not duration:
        raise UsageError(f"{duration[:40]!r} is no time to pause for", hint=_HINT)
    total = sum(int(number or 0) * _UNITS[unit] for number, unit in zip(parts.groups(), "dhm", strict=True))
    if not 0 < total <= LONGEST_S:
        raise UsageError(f"{duration[:40]!r} is {'too long' if total else 'no time'} to pause for", hint=_HINT)
    return total


def ends(pause: Pause, *, now: float, up: float, boot: str) -> float | None:
    """Return when a pause ends, in Unix seconds of the clock as it is set now: not later than `now` if it is over, None
    if only its owner ends it."""
    if pause.up is not None and pause.boot and pause.boot == boot:
        return now + (pause.up - up)
    return pause.until


def is_over(pause: Pause, *, now: float, up: float, boot: str) -> bool:
    """Say whether a pause has ended by itself."""
    end = ends(pause, now=now, up=up, boot=boot)
    return end is not None and end <= now
