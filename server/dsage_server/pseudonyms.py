"""Two friendly words and a number: a volunteer's public name until they choose another."""

from __future__ import annotations

import secrets
from typing import Final

_FIRST = """
amber brisk calm clever coral daring eager early fabled gentle golden happy hidden honest humble jolly keen
kind lively lucky mellow merry misty noble patient placid proud quick quiet rapid ruby silver sleepy steady
sunny swift tidy velvet vivid witty
"""
_SECOND = """
acorn badger beacon birch comet condor curlew dolphin falcon fern fjord gecko glacier harbor heron ibis
juniper kestrel lagoon lantern lark maple marten meadow meteor nebula orchid otter pebble petrel quasar raven
river sparrow spruce thistle tundra walnut willow wren
"""
FIRST: Final = tuple(_FIRST.split())
SECOND: Final = tuple(_SECOND.split())


def is_pseudonym(name: str) -> bool:
    """Say whether a name is one that `pseudonym` may return: nobody is called by words of their own choice."""
    first, _, rest = name.partition("-")
    second, _, number = rest.partition("-")
    return first in FIRST and second in SECOND and number.isascii() and number.isdecimal() and 100 <= int(number) < 1000


def pseudonym() -> str:
    """Return a name such as "steady-otter-417"."""
    return f"{secrets.choice(FIRST)}-{secrets.choice(SECOND)}-{secrets.randbelow(900) + 100}"
