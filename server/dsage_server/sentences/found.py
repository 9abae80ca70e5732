"""Which sentence an English text is: what the tables hold is told in other languages by finding that out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from dsage_server.sentences import deeds, news, reasons, refusals
from dsage_server.sentences.sentence import LONGEST, Sentence

KEPT: Final = 4096
"""Texts whose sentence is remembered: pages tell the same ones again and again."""


class Found(NamedTuple):
    """A sentence, and what stands at its places."""

    sentence: Sentence
    values: dict[str, str]


def sentences_of(*rooms: object) -> Iterator[Sentence]:
    """Yield the sentences of modules, also those in their tables."""
    for room in rooms:
        for value in vars(room).values():
            yield from _sentences(value)


@lru_cache(KEPT)
def find(text: str) -> Found | None:
    """Return which sentence a text is; None for what somebody wrote, and for what is longer than any sentence."""
    if len(text) > LONGEST:
        return None
    for sentence in _BY_WEIGHT:
        values = sentence.values_in(text)
        if values is not None:
            return Found(sentence, values)
    return None


def _sentences(value: Any) -> Iterable[Sentence]:
    if isinstance(value, Sentence):
        return [value]
    held = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    return [each for each in held if isinstance(each, Sentence)]


ALL: Final = tuple(dict.fromkeys(sentences_of(news, reasons, refusals, deeds)))
"""Every sentence once."""
_BY_WEIGHT: Final = sorted(ALL, key=lambda each: -each.weight)
"""Those with most words of their own first."""
