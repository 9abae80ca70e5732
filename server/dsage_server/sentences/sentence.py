"""A sentence with places for what differs from time to time: said in English, and found again in an English text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

PLACE: Final = re.compile(r"%\(([a-z_]+)\)([ds])")
"""`%(name)d` is a whole number, `%(name)s` any text."""
LONGEST: Final = 600
"""Characters of a text at a place, so that looking for sentences in a hostile text ends soon."""


@dataclass(frozen=True)
class Sentence:
    """An English sentence; with `many`, the form for any `n` but 1.

    At the places `why` and `state` stand sentences and words of the table themselves.
    """

    one: str
    many: str = ""

    def __call__(self, **values: object) -> str:
        """Return it in English."""
        return self.form(values) % values

    @property
    def message(self) -> str | tuple[str, str]:
        """What a catalogue knows it by."""
        return (self.one, self.many) if self.many else self.one

    def form(self, values: Mapping[str, object]) -> str:
        """Return which English form is for these values."""
        return self.many if self.many and values["n"] not in (1, "1") else self.one

    def values_in(self, text: str) -> dict[str, str] | None:
        """Return what stands at the places of an English text, or None if the text is another sentence."""
        for form in self._forms:
            if match := form.fullmatch(text):
                return match.groupdict()
        return None

    @property
    def weight(self) -> int:
        """How many characters of it are its own: of two that fit a text, the one with more is meant."""
        return len(PLACE.sub("", self.one))

    @cached_property
    def _forms(self) -> tuple[re.Pattern[str], ...]:
        return tuple(_pattern(form) for form in (self.one, self.many) if form)


def _pattern(form: str) -> re.Pattern[str]:
    """Return a pattern of the texts that a form makes; a place that comes twice has the same in it."""
    parts, seen, at = [], set[str](), 0
    for place in PLACE.finditer(form):
        name, kind = place.groups()
        parts.append(re.escape(form[at : place.start()].replace("%%", "%")))
        free = r"-?\d{1,20}" if kind == "d" else f".{{0,{LONGEST}}}?"
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{free})")
        seen.add(name)
        at = place.end()
    return re.compile("".join([*parts, re.escape(form[at:].replace("%%", "%"))]), re.DOTALL)
