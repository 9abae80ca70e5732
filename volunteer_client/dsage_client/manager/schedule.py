"""Hours of the week: how windows stand in a form, what they cover, and how they are said in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dsage_client.guest.preferences import DAYS, Window
from dsage_client.words import _

Span: TypeAlias = tuple[int, int]
"""Minutes of a day, from and to."""

DAY: Final = 24 * 60
MAX_WINDOWS: Final = 50
CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


@dataclass(slots=True)
class Row:
    """A window as it stands in a form: text, right or wrong. `own` says that it has limits of its own."""

    days: tuple[str, ...] = DAYS
    start: str = "00:00"
    end: str = "00:00"
    own: bool = False
    cores: str = "0"
    percent: str = "100"


def row_of(window: Window) -> Row:
    """Return a window as it stands in a form."""
    row = Row(window.days, window.start, window.end, window.part is not None)
    if window.part is not None:
        row.cores, row.percent = str(window.part.cores), str(window.part.percent)
    return row


def read_rows(name: str, fields: Iterable[tuple[str, str]]) -> list[Row]:
    """Return the windows of the editor `name` in the order of the form; numbers in it may have gaps."""
    found: dict[str, dict[str, list[str]]] = {}
    for key, value in fields:
        editor, _dash, rest = key.partition("-")
        number, dash, part = rest.partition("-")
        if editor == name and dash and number.isdecimal() and len(found) <= MAX_WINDOWS:
            found.setdefault(number, {}).setdefault(part, []).append(value)
    return [
        Row(
            days=tuple(day for day in DAYS if day in parts.get("day", ())),
            start=_last(parts, "start", ""),
            end=_last(parts, "end", ""),
            own="own" in parts,
            cores=_last(parts, "cores", "0"),
            percent=_last(parts, "percent", "100"),
        )
        for parts in found.values()
    ]


def spans(windows: Iterable[Window | Row]) -> dict[str, list[Span]]:
    """Return the minutes of each day that windows cover, merged; what is no window yet covers nothing."""
    covered: dict[str, list[Span]] = {day: [] for day in DAYS}
    for window in windows:
        if not (CLOCK.fullmatch(window.start) and CLOCK.fullmatch(window.end)):
            continue
        start, end = minutes(window.start), minutes(window.end)
        for day in window.days:
            if end > start:
                covered[day].append((start, end))
            else:
                covered[day].append((start, DAY))
                covered[DAYS[(DAYS.index(day) + 1) % 7]].append((0, end))
    return {day: list(_merged(found)) for day, found in covered.items()}


def minutes(clock: str) -> int:
    """Return the minute of the day of "HH:MM"."""
    return int(clock[:2]) * 60 + int(clock[3:])


def said(windows: Iterable[Window | Row]) -> str:
    """Return windows in one line: "Mon, Tue 18:00-08:00; Sun 00:00-24:00"."""
    names = day_names()
    return "; ".join(
        f"{_days(window.days, names)} {window.start}–{window.end if window.end != '00:00' else '24:00'}"
        for window in windows
    )


def day_names() -> dict[str, str]:
    """Return the short names of the days."""
    return dict(zip(DAYS, (_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun")), strict=True))


def long_day_names() -> dict[str, str]:
    """Return the names of the days."""
    names = (_("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday"), _("Sunday"))
    return dict(zip(DAYS, names, strict=True))


def _days(days: tuple[str, ...], names: dict[str, str]) -> str:
    if len(days) == len(DAYS):
        return _("every day")
    at = [DAYS.index(day) for day in days]
    if len(at) > 2 and at[-1] - at[0] == len(at) - 1:
        return f"{names[days[0]]}–{names[days[-1]]}"
    return ", ".join(names[day] for day in days)


def _merged(found: list[Span]) -> Iterator[Span]:
    at: Span | None = None
    for start, end in sorted(found):
        if start == end:
            continue
        if at is not None and start <= at[1]:
            at = (at[0], max(at[1], end))
            continue
        if at is not None:
            yield at
        at = (start, end)
    if at is not None:
        yield at


def _last(parts: dict[str, list[Any]], name: str, usual: str) -> str:
    return str(parts.get(name, [usual])[-1])
