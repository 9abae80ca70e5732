"""The words that owners of computers read, in their language."""

from __future__ import annotations

import gettext
from pathlib import Path
from typing import Final

LOCALES: Final = Path(__file__).parent / "locale"
DOMAIN: Final = "client"

_chosen: gettext.NullTranslations = gettext.NullTranslations()


def speak(language: str = "") -> None:
    """Use a language from now on ("" for that of the session); English where there is no catalogue."""
    global _chosen
    _chosen = gettext.translation(DOMAIN, LOCALES, [language] if language else None, fallback=True)


def _(text: str) -> str:
    """Return a text in the language in force."""
    return _chosen.gettext(text)


def n_(one: str, many: str, n: int) -> str:
    """Return the form for a number."""
    return _chosen.ngettext(one, many, n)
