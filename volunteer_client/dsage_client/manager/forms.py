"""The form of all preferences: what stands in its fields, what is wrong with them, and what they change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from dsage_client.guest.preferences import Preferences
from dsage_client.manager.schedule import CLOCK, Row, read_rows, row_of
from dsage_client.words import LANGUAGES, _

NAMES: Final = {"en": "English", "de": "Deutsch"}
"""What languages call themselves; one without a name is for tests."""
MAX_APPS: Final = 100
MAX_NAME: Final = 100
NUMBER: Final = re.compile(r"\d{1,12}([.,]\d{1,6})?")


@dataclass(frozen=True, slots=True)
class Number:
    """A field for a number: the preference it sets, as a path; its bounds in the field's own unit, which is `scale`
    times the preference's."""

    name: str
    low: float
    high: float
    scale: float = 1
    whole: bool = True
    step: str = "1"

    def shown(self, value: float) -> str:
        """Return the preference's value as it stands in the field."""
        return f"{round(value / self.scale, 3):.10g}"

    def read(self, text: str) -> float | None:
        """Return the preference's value, None if the text is no number within the bounds."""
        number = as_number(text)
        if number is None or not self.low <= number <= self.high:
            return None
        value = number * self.scale
        return round(value) if self.whole else value

    def wrong(self) -> str:
        """Return what to do about a text that cannot be read."""
        return _("Enter a number from %(low)s to %(high)s.") % {"low": f"{self.low:.10g}", "high": f"{self.high:.10g}"}


NUMBERS: Final = {
    number.name: number
    for number in (
        Number("idle_after_s", 0.1, 1440, scale=60, whole=False, step="any"),
        Number("idle.cores", 0, 1024),
        Number("idle.percent", 1, 100),
        Number("in_use.cores", 0, 1024),
        Number("in_use.percent", 1, 100),
        Number("others_percent", 1, 100),
        Number("memory_percent", 1, 100),
        Number("hottest_c", 0, 150, whole=False, step="any"),
        Number("disk_bytes", 0, 1_000_000, scale=1 << 30, step="any"),
        Number("network_bytes_s", 0, 100_000_000, scale=1000, step="any"),
    )
}
CORES: Final = NUMBERS["idle.cores"]
PERCENT: Final = NUMBERS["idle.percent"]
SHARE: Final = Number("share", 0, 1000)
FLAGS: Final = ("on_battery", "full_screen")
CHOICES: Final = {"when": ("idle", "always", "never"), "screen": ("full", "calm")}
EDITORS: Final = ("hours", "network_hours")


@dataclass(slots=True)
class Draft:
    """A form as it was filled: the text of each field, the rows of the two editors of hours, and what is wrong, by the
    name of the field that has to change."""

    texts: dict[str, str]
    rows: dict[str, list[Row]]
    errors: dict[str, str] = field(default_factory=dict)


def draft_of(preferences: Preferences) -> Draft:
    """Return the form of the preferences as they are."""
    plain = msgspec.to_builtins(preferences)
    texts = {name: number.shown(_at(plain, name)) for name, number in NUMBERS.items()}
    texts |= {name: "on" if plain[name] else "" for name in FLAGS}
    texts |= {name: plain[name] for name in (*CHOICES, "language")}
    texts["exclusive_apps"] = "\n".join(preferences.exclusive_apps)
    rows = {name: [row_of(window) for window in getattr(preferences, name)] for name in EDITORS}
    return Draft(texts, rows)


def read_draft(fields: Iterable[tuple[str, str]]) -> Draft:
    """Return a form as it was sent; fields that are not of it are left out."""
    sent = list(fields)
    names = {*NUMBERS, *FLAGS, *CHOICES, "language", "exclusive_apps"}
    texts = dict.fromkeys(names, "") | {name: value for name, value in sent if name in names}
    return Draft(texts, {name: read_rows(name, sent) for name in EDITORS})


def changes_of(draft: Draft, preferences: Preferences) -> dict[str, Any]:
    """Return what a form changes, as `Preferences.changed` takes it; what is wrong is noted in the draft."""
    wanted: dict[str, Any] = {name: bool(draft.texts[name]) for name in FLAGS}
    for name, number in NUMBERS.items():
        whole, _dot, part = name.partition(".")
        value = number.read(draft.texts[name])
        if value is None:
            draft.errors[name] = number.wrong()
        elif part:
            wanted.setdefault(whole, {})[part] = value
        elif number.shown(getattr(preferences, name)) != draft.texts[name]:
            wanted[name] = value  # what only looks the same, being rounded, stays as it is
    for name, allowed in (CHOICES | {"language": ("", *languages())}).items():
        wanted[name] = draft.texts[name]
        if draft.texts[name] not in allowed:
            draft.errors[name] = _("Choose one of these.")
    wanted["exclusive_apps"] = _apps(draft)
    for name in EDITORS:
        wanted[name] = [_window(draft, f"{name}-{i}", row) for i, row in enumerate(draft.rows[name])]
    if draft.errors:
        return {}
    now = msgspec.to_builtins(preferences)
    plain = msgspec.to_builtins(msgspec.convert(now | wanted, Preferences))
    return {name: plain[name] for name in wanted if plain[name] != now[name]}


def languages() -> dict[str, str]:
    """Return the languages that there are words in: their own names by their codes."""
    return {code: NAMES[code] for code in LANGUAGES if code in NAMES}


def as_number(text: str) -> float | None:
    """Return the number that a person typed, with a point or a comma."""
    text = text.strip()
    if not NUMBER.fullmatch(text) or not text.isascii():
        return None
    number = float(text.replace(",", "."))
    return number if math.isfinite(number) else None


def _at(plain: dict[str, Any], path: str) -> Any:
    whole, _dot, part = path.partition(".")
    return plain[whole][part] if part else plain[whole]


def _apps(draft: Draft) -> list[str]:
    names = [line.strip() for line in draft.texts["exclusive_apps"].splitlines() if line.strip()]
    if len(names) > MAX_APPS or any(len(name) > MAX_NAME for name in names):
        draft.errors["exclusive_apps"] = _("Write at most 100 names of at most 100 characters.")
    return list(dict.fromkeys(names))


def _window(draft: Draft, name: str, row: Row) -> dict[str, Any]:
    """Return a window as plain data, and note what is wrong with it."""
    if not row.days:
        draft.errors[f"{name}-day"] = _("Choose at least one day, or remove these hours.")
    for part, text in (("start", row.start), ("end", row.end)):
        if not CLOCK.fullmatch(text):
            draft.errors[f"{name}-{part}"] = _("Enter a time like 18:30.")
    window: dict[str, Any] = {"days": list(row.days), "start": row.start, "end": row.end}
    if row.own:
        cores, percent = CORES.read(row.cores), PERCENT.read(row.percent)
        if cores is None:
            draft.errors[f"{name}-cores"] = CORES.wrong()
        if percent is None:
            draft.errors[f"{name}-percent"] = PERCENT.wrong()
        window["part"] = {"cores": cores, "percent": percent}
    return window


def labels(draft: Draft) -> dict[str, str]:
    """Return what the fields that have something wrong are called."""
    beside = _("beside you")
    names = {
        "when": _("This computer computes"),
        "idle_after_s": _("Count as unused after"),
        "idle.cores": _("Cores"),
        "idle.percent": _("Of each core"),
        "in_use.cores": f"{_('Cores')} ({beside})",
        "in_use.percent": f"{_('Of each core')} ({beside})",
        "others_percent": _("Stop when other programs use more than"),
        "memory_percent": _("Use at most"),
        "hottest_c": _("Stop at"),
        "exclusive_apps": _("Stop while one of these programs runs"),
        "disk_bytes": _("Disk for input files"),
        "network_bytes_s": _("Network rate"),
        "screen": _("The screensaver shows"),
        "language": _("Language"),
    }
    editors = {"hours": _("Hours of computing"), "network_hours": _("Hours of network")}
    found = {}
    for name in draft.errors:
        editor, _dash, rest = name.partition("-")
        number = rest.partition("-")[0]
        found[name] = f"{editors[editor]} {int(number) + 1}" if editor in editors else names.get(name, name)
    return found
