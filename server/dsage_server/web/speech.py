"""Numbers and times as a language writes them."""

from __future__ import annotations

import gettext
from functools import cache
from typing import Final

from babel import Locale

from dsage_server.web.words import PSEUDO, SOURCE, Language, language, pseudo

FAST: Final = "\u00a0"
"""The space between a number and its unit, at which no line is broken."""
_PARTS: Final = ((86400, 10**9), (3600, 24), (60, 60), (1, 60))
"""Seconds in a day, an hour, a minute, a second, and after how many of each the next larger one is counted."""
_SIZES: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class Speech:
    """How one language says them."""

    def __init__(self, spoken: Language) -> None:
        self._locale = Locale.parse(SOURCE if spoken.code in PSEUDO else spoken.code)
        symbols = self._locale.number_symbols["latn"]
        self._marks = str.maketrans({",": symbols["group"], ".": symbols["decimal"]})
        self._pseudo = spoken.code in PSEUDO
        self.spoken = spoken
        self._ = spoken.words.gettext

    @property
    def words(self) -> gettext.NullTranslations:
        """The texts of the language."""
        return self.spoken.words

    def count(self, number: int) -> str:
        """Return a count with thousands separated."""
        return f"{number:,}".translate(self._marks)

    def digits(self, number: str) -> str:
        """Return a number that English writes so, such as 1,234.5."""
        return number.translate(self._marks)

    def credit(self, amount: float) -> str:
        """Return credits: two decimals below a thousand, one above; of less than a hundredth, the thousandths."""
        if 0.0005 <= abs(amount) < 0.005:
            return f"{amount:.3f}".translate(self._marks)
        return (f"{amount:,.2f}" if abs(amount) < 1000 else f"{amount:,.1f}").translate(self._marks)

    def percent(self, share: float) -> str:
        """Return a share as a percentage that says 100 only when all is done."""
        return f"100{FAST}%" if share >= 1 else f"{min(share * 100, 99.9):.1f}{FAST}%".translate(self._marks)

    def size(self, length: int) -> str:
        """Return a length in bytes in the largest unit of which it has one."""
        worth, unit = next(((worth, unit) for worth, unit in _SIZES if length >= worth), (1, "B"))
        return f"{self.digits(f'{length / worth:,.1f}') if worth > 1 else length}{FAST}{unit}"

    def lasting(self, seconds: float) -> str:
        """Return a duration in its two largest units."""
        if seconds < 10:
            return f"{max(seconds, 0):.1f}{FAST}{self._units()[-1]}".translate(self._marks)
        whole = round(seconds)
        parts = [(whole // size % most, unit) for (size, most), unit in zip(_PARTS, self._units(), strict=True)]
        first = next(index for index, (number, _) in enumerate(parts) if number)
        return " ".join(f"{self.count(number)}{FAST}{unit}" for number, unit in parts[first : first + 2] if number)

    def ago(self, now: float, at: float) -> str:
        """Return how long before `now` something was, coarsely, so that it changes seldom."""
        seconds = now - at
        for (size, _), unit in zip(_PARTS[:3], self._units(), strict=False):
            if seconds >= size:
                return self._("%(time)s ago") % {"time": f"{self.count(int(seconds // size))}{FAST}{unit}"}
        return self._("just now")

    def country(self, code: str) -> str:
        """Return the name of a country by its ISO 3166 code."""
        name = str(self._locale.territories.get(code, code))
        return pseudo(name) if self._pseudo else name

    def _units(self) -> tuple[str, str, str, str]:
        return self._("d"), self._("h"), self._("min"), self._("s")


@cache
def speech_of(code: str) -> Speech:
    """Return how a language that `words.wanted` named says them."""
    return Speech(language(code))
