"""The map of the world: an outline for each country, a point for those too small to have one, by ISO 3166 codes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = Path(__file__).parent / "world.json"
"""Drawn by packaging/world/draw.py."""
MOST_STEPS: Final = 5
"""Shades that a map has at most: more are not told apart."""


class World(msgspec.Struct, kw_only=True, frozen=True):
    """The map, `width` x `height` units, Equal Earth: `shapes` are the data of SVG paths, `points` places."""

    width: int
    height: int
    shapes: dict[str, str]
    points: dict[str, tuple[int, int]]


@cache
def world() -> World:
    """Return the map."""
    return msgspec.json.decode(FILE.read_bytes(), type=World)


def steps(least: int, most: int) -> list[int]:
    """Return where each shade of a map begins, for values from `least` to `most`: round numbers, each some 2 to 2.5
    times the one before, or more if there would be too many of them."""
    found = [least]
    mark = 1
    while mark <= most:
        found += [n for n in (mark, 2 * mark, 5 * mark) if least < n <= most]
        mark *= 10
    return found[:: -(-len(found) // MOST_STEPS)]
