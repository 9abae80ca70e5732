"""May this computer compute now, how much of it, and if not, why and until when? Values in, values out.

Each step looks at one thing and either says why nothing may run or lets the next one look. What was seen before, as far
as it matters, is a `Memory`: it keeps the work from being stopped and started all the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Final, TypeGuard

import msgspec

from dsage_client.guest import pauses, schedule
from dsage_client.guest.choices import Choices
from dsage_client.guest.preferences import Part, Preferences, Window
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Seen

HELD_S: Final = 300.0
"""After so long, what is stopped is ended, so that its memory is given back; it goes on from its last checkpoint."""
WAKING_S: Final = 15.0
"""A computer that has just come back from sleep was woken by somebody, whatever the sensors say."""
BUSY_AFTER_S: Final = 30.0
QUIET_AFTER_S: Final = 60.0
COOL_AFTER_S: Final = 60.0
COOLER_C: Final = 10.0
"""Stopping lowers the temperature at once; going on at once would raise it again."""
LITTLE_MEMORY: Final = 0.08
ENOUGH_MEMORY: Final = 0.15
ROOMY_AFTER_S: Final = 300.0
"""Ending units frees what they took, so that there is room at once; others shall have the first use of it."""
LONGEST_ALWAYS_S: Final = 25 * 3600.0
"""The longest local day. What is further ahead comes from a clock that was set."""


@dataclass(frozen=True, slots=True)
class Latch:
    """A condition that holds only after it was seen for a while, and holds on until it was gone for a while.

    `since` is the `up` at which what is seen began to differ from `on`, None while it does not.
    """

    on: bool = False
    since: float | None = None

    def seen(self, true: bool | None, up: float, *, on_after_s: float, off_after_s: float) -> Latch:
        """Return it after one more look at `up`. Unknown (None) changes nothing and begins the wait anew."""
        if true is None or true == self.on:
            return Latch(self.on)
        since = up if self.since is None else min(self.since, up)
        if up - since >= (on_after_s if true else off_after_s):
            return Latch(true)
        return Latch(self.on, since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered from one decision to the next, on the clock `up`: when somebody last used the computer
    (`used`), since when units are held without a break (`held`), and what wears off slowly."""

    used: float | None = None
    held: float | None = None
    busy: Latch = field(default=Latch())
    hot: Latch = field(default=Latch())
    short: Latch = field(default=Latch())


def decide(
    preferences: Preferences,
    choices: Choices,
    seen: Seen,
    memory: Memory,
    *,
    running: int = 0,
    zone: tzinfo | None = None,
) -> tuple[Standing, Memory]:
    """Return what may be done now, and what to remember for the next time.

    `running` is how many units are begun and not ended, held ones and those to be resumed included. Without a zone, the
    computer's own local time holds.
    """
    standing, memory = _decided(preferences, choices, seen, _looked(preferences, seen, memory), running, zone)
    if schedule.is_open(preferences.network_hours, seen.now, zone):
        return standing, memory
    return msgspec.structs.replace(standing, send=False), memory


def _decided(
    preferences: Preferences, choices: Choices, seen: Seen, memory: Memory, running: int, zone: tzinfo | None
) -> tuple[Standing, Memory]:
    if choices.finish and not running:
        return Standing(work=Work.FINISH, reason=Reason.FINISHED, fetch=False), replace(memory, held=None)
    case = _Case(preferences=preferences, choices=choices, seen=seen, memory=memory, running=running, zone=zone)
    stop = next((stop for step in _STEPS if (stop := step(case))), None)
    if stop is None:
        return _allowed(case), replace(memory, held=None)
    held = seen.up if memory.held is None else min(memory.held, seen.up)
    leave = seen.up - held >= HELD_S or memory.short.on or (seen.on_battery and not preferences.on_battery)
    work = Work.LEAVE if leave else Work.HOLD
    standing = Standing(work=work, reason=stop.reason, said=stop.said, until=_after(seen.now, stop.until), fetch=False)
    return standing, replace(memory, held=held)


def spread(part: Part, cores: int) -> tuple[int, int]:
    """Return how to use a part of so many cores: how many threads, and how many percent of a core each may take.

    Fewer threads come first, for they cost nothing; only what is left over is taken from the time of each.
    """
    cores = max(1, cores)
    share = min(part.cores or cores, cores) * part.percent
    threads = max(1, math.ceil(share / 100))
    return threads, max(1, share // threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """All that a step may look at."""

    preferences: Preferences
    choices: Choices
    seen: Seen
    memory: Memory
    running: int
    zone: tzinfo | None

    @property
    def window(self) -> Window | None:
        return schedule.window_at(self.preferences.hours, self.seen.now, self.zone)

    @property
    def always_until(self) -> float | None:
        """When computing beside the user ends, if the owner chose it for today."""
        until = self.choices.always_until
        return until if until is not None and 0 < until - self.seen.now <= LONGEST_ALWAYS_S else None

    @property
    def beside(self) -> bool:
        """Whether units may run beside somebody who uses the computer."""
        return self.preferences.when == "always" or self.always_until is not None

    def wall(self, up: float | None) -> float | None:
        """Return the Unix seconds of a moment on the clock `up`."""
        return None if up is None else self.seen.now + (up - self.seen.up)


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why nothing may run, until when (Unix seconds) if that is known, and what the sentence names."""

    reason: Reason
    until: float | None = None
    said: dict[str, str | float] = field(default_factory=dict)


def _looked(preferences: Preferences, seen: Seen, memory: Memory) -> Memory:
    """Return the memory after a look at what is seen now."""
    up = seen.up
    uses = [up - max(0.0, each.idle_s) for each in seen.presence if _known(each.idle_s)]
    uses += [up for each in seen.presence if each.film]
    uses += [] if memory.used is None else [min(memory.used, up)]
    others = None if not _known(seen.others) else seen.others * 100 > preferences.others_percent
    return replace(
        memory,
        used=max(uses, default=None),
        busy=memory.busy.seen(others, up, on_after_s=BUSY_AFTER_S, off_after_s=QUIET_AFTER_S),
        hot=memory.hot.seen(_hot(preferences, seen, memory), up, on_after_s=0.0, off_after_s=COOL_AFTER_S),
        short=memory.short.seen(_short(seen, memory), up, on_after_s=0.0, off_after_s=ROOMY_AFTER_S),
    )


def _hot(preferences: Preferences, seen: Seen, memory: Memory) -> bool | None:
    if not preferences.hottest_c:
        return False
    if not _known(seen.celsius):
        return None
    return seen.celsius >= preferences.hottest_c - (COOLER_C if memory.hot.on else 0.0)


def _short(seen: Seen, memory: Memory) -> bool | None:
    if seen.pressed:
        return True
    if not _known(seen.memory):
        return None
    return seen.memory < (ENOUGH_MEMORY if memory.short.on else LITTLE_MEMORY)


# What may stop the work, the weightiest first: what its owner said, then who is there, then what the computer can bear.


def _paused(case: _Case) -> _Stop | None:
    """1. The owner has paused it."""
    pause, seen = case.choices.pause, case.seen
    if pause is None or pauses.is_over(pause, now=seen.now, up=seen.up, boot=seen.boot):
        return None
    return _Stop(Reason.PAUSED, pauses.ends(pause, now=seen.now, up=seen.up, boot=seen.boot))


def _never(case: _Case) -> _Stop | None:
    """2. The owner wants nothing computed; but a choice for today is newer than that."""
    return _Stop(Reason.NEVER) if case.preferences.when == "never" and not case.beside else None


def _schedule(case: _Case) -> _Stop | None:
    """3. It is not the hour for it."""
    hours, now = case.preferences.hours, case.seen.now
    if schedule.is_open(hours, now, case.zone):
        return None
    return _Stop(Reason.SCHEDULE, schedule.next_change(hours, now, case.zone))


def _battery(case: _Case) -> _Stop | None:
    """4. The computer runs on its battery."""
    return _Stop(Reason.BATTERY) if case.seen.on_battery and not case.preferences.on_battery else None


def _in_use(case: _Case) -> _Stop | None:
    """5. Somebody is there, or may be."""
    return None if case.beside else _use(case)


def _full_screen(case: _Case) -> _Stop | None:
    """6. A program fills the screen, if the owner minds. What is under a locked screen, nobody sees."""
    full = any(each.full_screen and not each.locked for each in case.seen.presence)
    return _Stop(Reason.FULL_SCREEN) if full and case.preferences.full_screen else None


def _exclusive_app(case: _Case) -> _Stop | None:
    """7. A program runs beside which the owner wants nothing computed."""
    return _Stop(Reason.EXCLUSIVE_APP, said={"program": min(case.seen.apps)}) if case.seen.apps else None


def _hot_stop(case: _Case) -> _Stop | None:
    """8. The computer is hot."""
    latch = case.memory.hot
    if not latch.on:
        return None
    said: dict[str, str | float] = {"celsius": case.seen.celsius} if _known(case.seen.celsius) else {}
    return _Stop(Reason.HOT, _off(case, latch, COOL_AFTER_S), said)


def _memory(case: _Case) -> _Stop | None:
    """9. Memory is short."""
    latch = case.memory.short
    return _Stop(Reason.MEMORY, _off(case, latch, ROOMY_AFTER_S)) if latch.on else None


def _busy(case: _Case) -> _Stop | None:
    """10. Other programs need the processor. Who computes beside them by choice does so at the lowest priority."""
    if case.beside:
        return None
    latch = case.memory.busy
    return _Stop(Reason.BUSY, _off(case, latch, QUIET_AFTER_S)) if latch.on else None


_STEPS: Final[tuple[Callable[[_Case], _Stop | None], ...]] = (
    _paused,
    _never,
    _schedule,
    _battery,
    _in_use,
    _full_screen,
    _exclusive_app,
    _hot_stop,
    _memory,
    _busy,
)


def _use(case: _Case) -> _Stop | None:
    """Say how it looks as if somebody used the computer; None if nobody does. Unknown is use."""
    seen, idle_after_s = case.seen, case.preferences.idle_after_s
    if seen.awake_s is not None and not seen.awake_s >= WAKING_S:
        return _Stop(Reason.WAKING, seen.now + WAKING_S - max(0.0, seen.awake_s))
    film = next((each.film for each in seen.presence if each.film), "")
    if film:
        return _Stop(Reason.FILM, said={"program": film})
    used = case.memory.used
    if used is not None and seen.up - used < idle_after_s:
        return _Stop(Reason.IN_USE, case.wall(used + idle_after_s), {"idle_s": idle_after_s})
    if not seen.presence or not all(_known(each.idle_s) for each in seen.presence):
        return _Stop(Reason.UNKNOWN_USE)
    return None


def _allowed(case: _Case) -> Standing:
    """11. Nothing stops it: with how much of the computer, and may new work come?"""
    preferences, seen, use = case.preferences, case.seen, _use(case)
    part = preferences.idle if use is None else preferences.in_use
    window = case.window
    cores, percent = spread((window and window.part) or part, seen.cores)
    online = schedule.is_open(preferences.network_hours, seen.now, case.zone)
    network = schedule.next_change(preferences.network_hours, seen.now, case.zone)
    until = [_part_changes(case, part, use), None if case.choices.finish or seen.disk_full else network]
    said: dict[str, str | float] = {}
    work, reason = Work.RUN, Reason.WORKING
    if case.choices.finish:
        work, reason = Work.FINISH, Reason.FINISHING
    elif not case.running and seen.disk_full:
        reason, until, said = Reason.DISK, [], {"read_only": 1.0} if seen.read_only else {}
    elif not case.running and not online:
        reason, until = Reason.NETWORK_HOURS, [network]
    return Standing(
        work=work,
        reason=reason,
        said=said,
        until=_after(seen.now, min((each for each in until if each is not None), default=None)),
        fetch=online and not seen.disk_full and not case.choices.finish,
        cores=cores,
        percent=percent,
    )


def _part_changes(case: _Case, part: Part, use: _Stop | None) -> float | None:
    """Return when units may have another part of the computer than now, if nothing else changes."""

    def share(window: Window | None, part: Part = part) -> tuple[int, int] | None:
        return None if window is None else spread(window.part or part, case.seen.cores)

    changes = [schedule.next_change(case.preferences.hours, case.seen.now, case.zone, of=share)]
    if use is not None or case.preferences.when == "never":
        changes.append(None if case.preferences.when == "always" else case.always_until)
    hour = case.window or Window()
    if use is not None and share(hour) != share(hour, case.preferences.idle):
        changes.append(use.until)
    return min((each for each in changes if each is not None), default=None)


def _off(case: _Case, latch: Latch, off_after_s: float) -> float | None:
    """Return when a condition will have worn off, if it is not seen again."""
    return None if latch.since is None else case.wall(latch.since + off_after_s)


def _after(now: float, until: float | None) -> float | None:
    return until if until is not None and until > now else None


def _known(value: float | None) -> TypeGuard[float]:
    """Say whether something was read. What is no number was not."""
    return value is not None and not math.isnan(value)
