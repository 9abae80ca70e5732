"""What a picture is made of: shapes in pixels, by name, the hindmost first; and mixing colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

BACK: Final = "#05080a"


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points (x, y, x, y, ...)."""

    points: tuple[int, ...]
    colour: str
    width: int = 1


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon with an edge."""

    points: tuple[int, ...]
    fill: str
    edge: str
    width: int = 1


@dataclass(frozen=True, slots=True)
class Dot:
    """A disc."""

    x: int
    y: int
    radius: int
    colour: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    left: int
    top: int
    right: int
    bottom: int
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text that begins at its top left corner; `size` is its height in pixels."""

    x: int
    y: int
    text: str
    size: int
    colour: str
    bold: bool = False


Shape: TypeAlias = Line | Area | Dot | Box | Words
Picture: TypeAlias = dict[str, Shape]
"""Shapes by name. A scene keeps its names and their order for as long as its window keeps its size."""


def mixed(first: str, second: str, share: float) -> str:
    """Return the colour (#rrggbb) that lies at `share` (0..1) of the way from the first to the second."""
    share = min(max(share, 0.0), 1.0)
    parts = (round(int(first[i : i + 2], 16) * (1 - share) + int(second[i : i + 2], 16) * share) for i in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)


def through(colours: tuple[str, ...], share: float) -> str:
    """Return the colour at `share` (0..1) of a row of colours."""
    place = min(max(share, 0.0), 1.0) * (len(colours) - 1)
    first = min(int(place), len(colours) - 2)
    return mixed(colours[first], colours[first + 1], place - first)
