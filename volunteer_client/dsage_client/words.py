"""The words that owners of computers read, in their language."""

from __future__ import annotations

import gettext
import os
from pathlib import Path
from typing import Final

LOCALES: Final = Path(__file__).parent / "locale"
DOMAIN: Final = "client"
SOURCE: Final = "en"
"""The language of the texts in the code, which needs no catalogue."""
PSEUDO: Final = "en_XA"
"""English that looks foreign and is longer: it shows what was not made to be translated. Nobody is offered it."""
LANGUAGES: Final = (SOURCE, "de", PSEUDO)

_chosen: gettext.NullTranslations = gettext.NullTranslations()


def speak(language: str = "") -> None:
    """Use a language from now on ("" for that of the session); English where there is no catalogue."""
    global _chosen
    _chosen = _best([language] if language else _session())


def language() -> str:
    """Return the language in force, as HTML names it."""
    return _chosen.info().get("language", SOURCE).replace("_", "-")


def _(text: str) -> str:
    """Return a text in the language in force."""
    return _chosen.gettext(text) if text else ""


def n_(one: str, many: str, n: int) -> str:
    """Return the form for a number."""
    return _chosen.ngettext(one, many, n)


def _session() -> list[str]:
    """Return the languages that the session wants, the dearest first."""
    names = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    return next((value.split(":") for name in names if (value := os.environ.get(name))), [])


def _best(wanted: list[str]) -> gettext.NullTranslations:
    """Return the first language that there is. Who wants English gets it, whatever else they would understand."""
    for name in wanted:
        try:
            return gettext.translation(DOMAIN, LOCALES, [name])
        except (OSError, ValueError):
            if name.split(".")[0].split("_")[0] in (SOURCE, "C", "POSIX"):
                break
    return gettext.NullTranslations()
