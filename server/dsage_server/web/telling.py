"""The server's own sentences in a visitor's language, as text and as HTML.

What the tables hold in English is found in the table of sentences and said anew. What is not there was written by
somebody: it stays as it is, and translators of browsers are told to leave it alone too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup, escape

from dsage_server.sentences.found import Found, find
from dsage_server.sentences.sentence import PLACE, Sentence
from dsage_server.store.discoveries import NOBODY
from dsage_server.web.speech import Speech

MAX_BRIEF: Final = 200
"""Characters of a page's description; whoever shows a link beside it has room for no more."""
MAX_TEXT: Final = 4000
"""Longer texts and hexadecimal numbers in a value are cut on the page; its JSON twin has all of them."""
NESTED: Final = frozenset({"why", "state"})
"""Places at which a sentence or a word of the table stands."""
COUNTS: Final = frozenset({"n", "bytes", "credits"})
"""Places at which a number stands as English writes it."""
DEEPEST: Final = 3
MOST_PARTS: Final = 8
COMMAND: Final = re.compile(r"`[^`]+`")
_NUMBER: Final = re.compile(r"\d{1,3}(,\d{3})*(\.\d+)?")


class Telling:
    """Tells texts in one language."""

    def __init__(self, speech: Speech) -> None:
        self._words = speech.words
        self._number = speech.digits

    def plain(self, text: str) -> str:
        """Return a text in this language, for attributes, titles and pictures."""
        return self._told(text, 0, str, str)

    def html(self, text: str) -> Markup:
        """Return a text in this language; commands `in backticks` are set as code."""
        return Markup(self._told(text, 0, coded, _own))

    def opening(self, text: str) -> Markup:
        """Return what an error says, with a capital at its beginning; in English if it is no sentence of the table."""
        told = self.html(text) if find(text) else coded(text)
        return Markup(told[:1].upper()) + Markup(told[1:]) if told[:1].isalpha() else told

    def who(self, name: str) -> Markup:
        """Return how somebody is called: by their name, or in this language if they would rather not be named."""
        return escape(self._words.gettext(name)) if name == NOBODY else own(name)

    def say(self, sentence: Sentence, **values: object) -> str:
        """Return a sentence in this language."""
        return self._form(sentence, values) % values

    def _told(self, text: str, depth: int, form: Callable[[str], str], own: Callable[[str], str]) -> str:
        found = find(text) if depth < DEEPEST else None
        if found is not None:
            return self._filled(found, depth, form, own)
        if pair := _parted(text) if depth < DEEPEST else None:
            head, rest = (self._told(part, depth + 1, form, own) for part in pair)
            return head + "; " + rest
        return own(text)

    def _filled(self, found: Found, depth: int, form: Callable[[str], str], own: Callable[[str], str]) -> str:
        values: dict[str, Any] = {}
        wholes = {name for name, kind in PLACE.findall(found.sentence.one) if kind == "d"}
        for name, value in found.values.items():
            if name in wholes:
                values[name] = int(value)
            elif name in NESTED:
                values[name] = self._told(value, depth + 1, form, own)
            else:
                values[name] = self._number(value) if name in COUNTS and _NUMBER.fullmatch(value) else own(value)
        return form(self._form(found.sentence, values)) % values

    def _form(self, sentence: Sentence, values: Mapping[str, Any]) -> str:
        if sentence.many:
            return self._words.ngettext(sentence.one, sentence.many, int(values["n"]))
        return self._words.gettext(sentence.one)


def coded(text: str) -> Markup:
    """Return a text with the commands that stand `in backticks` set as code."""
    parts = [escape(part) for part in cut(text).split("`")]
    if len(parts) % 2 == 0:
        return escape(cut(text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def cut(text: str) -> str:
    """Return a text, or its beginning if it is very long."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def brief(text: str) -> str:
    """Return a text on one line, or the words at its beginning if there is no room for more."""
    line = " ".join(text.split())
    if len(line) <= MAX_BRIEF:
        return line
    start, space, _ = line[: MAX_BRIEF - 1].rpartition(" ")
    return f"{start}{space}…" if start else line[: MAX_BRIEF - 1] + "…"


def own(text: str) -> Markup:
    """Return what somebody wrote, or what is called so in every language, with a direction of its own."""
    return Markup('<bdi translate="no">{}</bdi>').format(cut(text))


def _own(text: str) -> Markup:
    """Return the same of what may have commands in it; one that is a command is nothing else."""
    if COMMAND.fullmatch(text):
        return coded(text)
    return Markup('<bdi translate="no">{}</bdi>').format(coded(text))


def _parted(text: str) -> tuple[str, str] | None:
    """Return two texts that were put together, if one of them is a sentence."""
    parts = text.split("; ")
    for place in range(1, len(parts) if len(parts) <= MOST_PARTS else 1):
        pair = "; ".join(parts[:place]), "; ".join(parts[place:])
        if any(find(part) for part in pair):
            return pair
    return None
