"""The languages of the pages: which one a visitor wants, and the words of each.

English stands in the code. Two pseudo-locales show in tests what a translation does to a page: `en-XA` is accented and
two fifths longer, `ar-XB` is that, from right to left; they are found by whoever asks for them by name.
"""

from __future__ import annotations

import gettext
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

LOCALES: Final = Path(__file__).parent / "locale"
DOMAIN: Final = "web"
SOURCE: Final = "en"
LANGUAGES: Final = {"en": "English", "de": "Deutsch"}
"""What visitors may choose from, each under its own name."""
PSEUDO: Final = {"en-XA": "ltr", "ar-XB": "rtl"}
KEPT: Final = re.compile(r"%\([a-z_0-9]+\)[a-z]|%%|<[^<>]*>|&[a-z]+;|https?://\S+|`[^`]*`")
"""What a translation leaves as it is: places for values, tags, addresses, commands."""
_FOREIGN: Final = str.maketrans("aeiouycnszAEIOUYCNSZdghklrtw", "áéíóúýçñšžÁÉÍÓÚÝÇÑŠŽđğĥķļŕťŵ")
_WISH: Final = re.compile(r"\s*([A-Za-z-]{1,20})\s*(?:;\s*q=([0-9.]{1,5})\s*)?")


@dataclass(frozen=True, slots=True)
class Language:
    """One language; `code` is its BCP 47 tag, `direction` is ltr or rtl."""

    code: str
    direction: str
    words: gettext.NullTranslations


class _Spoken(gettext.GNUTranslations):
    """A text that has a plural elsewhere is found where it has none, as by Python 3.12 and later."""

    def gettext(self, message: str) -> str:
        said = super().gettext(message)
        return self.ngettext(message, message, 1) if said == message else said


class _Pseudo(gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return pseudo(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return pseudo(msgid1 if n == 1 else msgid2)


def pseudo(text: str) -> str:
    """Return a text as the pseudo-locales have it."""
    kept = KEPT.findall(text)
    parts = [part.translate(_FOREIGN) for part in KEPT.split(text)]
    said = "".join(part + held for part, held in zip(parts, [*kept, ""], strict=True))
    return f"{said}{' ·' * (len(text) // 5)}" if text.strip() else text


def wanted(cookie: str, accepted: str) -> str:
    """Return the code of the language to answer in: the one chosen before, else the best of an Accept-Language."""
    if cookie in LANGUAGES or cookie in PSEUDO:
        return cookie
    wishes = []
    for part in accepted[:1000].split(","):
        found = _WISH.fullmatch(part)
        if found and (quality := _quality(found[2])) > 0:
            wishes.append((-quality, found[1].lower()))
    for _, wish in sorted(wishes, key=lambda each: each[0]):
        for code in LANGUAGES:
            if wish == code or wish.startswith(code + "-"):
                return code
    return SOURCE


@cache
def language(code: str) -> Language:
    """Return a language that `wanted` named."""
    if code in PSEUDO:
        return Language(code, PSEUDO[code], _Pseudo())
    return Language(code, "ltr", gettext.translation(DOMAIN, LOCALES, [code], _Spoken, fallback=True))


def _quality(said: str | None) -> float:
    """How much something is wanted; what is said to be 0, or is no number, is not."""
    try:
        return 1.0 if said is None else float(said)
    except ValueError:
        return 0.0
