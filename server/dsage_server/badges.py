"""Badges, streaks and steadiness: pure, from a volunteer's days, so that the same days always give the same.

Days are UTC days since 1970 and weeks run from Monday to Sunday, UTC: no summer time, no time zone and no year's end
changes how long either is. A quarter has the weeks whose Thursday is in it, as ISO 8601 gives a week to a year.
What is earned stays earned; credit that is taken back takes along what it earned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from html import escape
from itertools import accumulate
from textwrap import wrap
from typing import Final

LEVELS: Final = (1, 10, 60, 600, 6_000, 30_000, 100_000, 500_000, 2_000_000, 10_000_000)
"""Credits of an app for each of its ten badges: the first comes within minutes, the last in lifetimes."""
FREE: Final = 2
"""Weeks of a quarter that may pass without a valid answer: a computer may be switched off, a person on holiday."""
STEADY_WEEKS: Final = 26
FIRST: Final = "first-result"
YEAR: Final = "one-year"
EVENTS: Final = {
    FIRST: ("First result", "a first answer was found right"),
    YEAR: ("One year", "an answer was found right a year or more after the first"),
}
"""Events that have a badge: its title, and what it is for."""
_EPOCH: Final = date(1970, 1, 1).toordinal()
MOST_LINES: Final = 3
"""Lines of a title, and of what a badge is for, that find room on its picture."""
MOST_FOOT: Final = 46
_COLOURS: Final = ("#b87333", "#a8a9ad", "#d4af37")


@dataclass(frozen=True, slots=True)
class Streak:
    """Weeks with a valid answer, one after the other: now, the longest ever, and the free weeks left this quarter."""

    now: int
    longest: int
    free: int


def level(amount_milli: int) -> int:
    """Return the badge, 0 (none) to 10, that so much credit of an app earns; `amount_milli` is in thousandths."""
    return sum(amount_milli >= 1000 * credits_ for credits_ in LEVELS)


def levels(days: Iterable[tuple[int, int]]) -> list[int]:
    """Return the days on which each badge of an app was earned, from (day, thousandths) in the order of days."""
    rows = list(days)
    sums = list(accumulate(amount for _, amount in rows))
    earned = level(sums[-1]) if sums else 0
    found = []
    for credits_ in LEVELS[:earned]:
        below = [n for n, amount in enumerate(sums) if amount < 1000 * credits_]
        found.append(rows[below[-1] + 1 if below else 0][0])
    return found


def events(days: Collection[int]) -> dict[str, int]:
    """Return the day of each event, by its name, from the days that have a valid answer."""
    if not days:
        return {}
    first = min(days)
    found = {FIRST: first}
    if later := [day for day in days if day >= anniversary(first)]:
        found[YEAR] = min(later)
    return found


def anniversary(day: int) -> int:
    """Return the day a year later; the first of March for the last of February in a leap year."""
    then = date.fromordinal(day + _EPOCH)
    try:
        return then.replace(year=then.year + 1).toordinal() - _EPOCH
    except ValueError:
        return date(then.year + 1, 3, 1).toordinal() - _EPOCH


def week_of(day: int) -> int:
    """Return the week of a day: weeks are counted on from that of 1 January 1970, which was a Thursday."""
    return (day + 3) // 7


def quarter_of(week: int) -> int:
    """Return the quarter of a week's Thursday, counted on from the year 0."""
    thursday = date.fromordinal(7 * week + _EPOCH)
    return thursday.year * 4 + (thursday.month - 1) // 3


def streak(weeks: Collection[int], this_week: int) -> Streak:
    """Return how many weeks in a row have a valid answer: a week without one counts for nothing, and ends the streak if
    more than FREE weeks of its quarter passed so. The week that is not over yet ends none."""
    wanted = sorted(week for week in set(weeks) if week <= this_week)
    if not wanted:
        return Streak(0, 0, FREE)
    run = longest = 1
    used: dict[int, int] = {}
    before = wanted[0]
    for week in [*wanted[1:], this_week]:
        missed = range(before + 1, week)
        if _spend(used, missed):
            run += week in weeks and week != before
        else:
            run, used = int(week in weeks), {}
        longest = max(longest, run)
        before = week
    return Streak(run, longest, FREE - used.get(quarter_of(this_week), 0))


def _spend(used: dict[int, int], missed: range) -> bool:
    """Use up free weeks, by quarter, for those that were missed; say whether there were enough."""
    if len(missed) > 2 * FREE:
        return False
    for week in missed:
        quarter = quarter_of(week)
        used[quarter] = used.get(quarter, 0) + 1
        if used[quarter] > FREE:
            return False
    return True


def steady(weeks: Collection[int], this_week: int) -> int:
    """Return how many of the last STEADY_WEEKS weeks that are over have a valid answer."""
    return sum(this_week - STEADY_WEEKS <= week < this_week for week in set(weeks))


def steady_days(today: int) -> range:
    """Return the days of the last STEADY_WEEKS weeks that are over."""
    monday = 7 * week_of(today) - 3
    return range(monday - 7 * STEADY_WEEKS, monday)


def picture(title: str, criterion: str, rank: int, given_by: str) -> str:
    """Return a badge as SVG to print, with its title, what it is for and who gave it as text; `rank` is 1 to 10, 0 for
    an event."""
    ring = _COLOURS[min(max(rank - 1, 0) // 4, 2)] if rank else "#1f5fa8"
    star = f'<path d="m160 74 14 30 33 4-24 23 6 33-29-16-29 16 6-33-24-23 33-4z" fill="{ring}"/>'
    number = f'<text x="160" y="147" font-size="68" font-weight="bold" fill="#17202a">{rank}</text>'
    words = [(title, 22, 24, "bold", "#17202a"), (criterion, 34, 16, "normal", "#44525f")]
    y, written = 276, []
    for told, wide, size, weight, colour in words:
        for line in wrap(told, wide)[:MOST_LINES]:
            look = f'font-size="{size}" font-weight="{weight}" fill="{colour}"'
            written.append(f'<text x="160" y="{y}" {look}>{escape(line)}</text>')
            y += size + 8
    foot = f'<text x="160" y="400" font-size="13" fill="#44525f">{escape(given_by[:MOST_FOOT])}</text>'
    said = escape(f"{title}: {criterion}")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 420" width="320" height="420" role="img" '
        f'aria-label="{said}"><title>{said}</title>'
        f'<rect x="4" y="4" width="312" height="412" rx="18" fill="#ffffff" stroke="{ring}" stroke-width="4"/>'
        f'<path d="M118 180 98 232 122 226 134 246 152 196ZM202 180 222 232 198 226 186 246 168 196Z" fill="#1d4f6e"/>'
        f'<circle cx="160" cy="124" r="80" fill="#ffffff" stroke="{ring}" stroke-width="14"/>'
        f'<circle cx="160" cy="124" r="64" fill="none" stroke="{ring}" stroke-width="2"/>'
        f'<g font-family="Georgia, \'DejaVu Serif\', serif" text-anchor="middle">'
        f"{number if rank else star}{''.join(written)}{foot}</g></svg>\n"
    )
