"""The tray's icons: a leaf of sage, and a mark that tells the state by its shape. Drawn here, at any size.

A shape is a signed distance: how far a point is from its edge, negative inside, in units of the icon's width. Its
coverage of a pixel follows from that (source: Inigo Quilez, "2D distance functions", 2008 onwards, for the formulas).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from math import hypot
from typing import Final, TypeAlias

from dsage_client.tray.model import Look

Shape: TypeAlias = Callable[[float, float], float]
Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
_Layers: TypeAlias = list[tuple[Shape, Colour]]

GREEN: Final = (63, 163, 90)
GREY: Final = (138, 144, 152)
AMBER: Final = (224, 152, 0)
BLUE: Final = (64, 140, 224)
RED: Final = (224, 72, 68)

_GAP: Final = 0.06  # what is cut out of the leaf around a mark


def disc(x: float, y: float, radius: float) -> Shape:
    """A filled circle."""
    return lambda px, py: hypot(px - x, py - y) - radius


def line(start: Point, end: Point, width: float) -> Shape:
    """A stroke with round ends."""
    (ax, ay), (bx, by) = start, end
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy

    def distance(px: float, py: float) -> float:
        along = min(1.0, max(0.0, ((px - ax) * dx + (py - ay) * dy) / length))
        return hypot(px - ax - along * dx, py - ay - along * dy) - width / 2

    return distance


def polygon(*points: Point) -> Shape:
    """A filled polygon, its corners in order."""
    edges = list(zip(points, points[1:] + points[:1], strict=True))

    def distance(px: float, py: float) -> float:
        nearest, inside = 9.0, False
        for (ax, ay), (bx, by) in edges:
            dx, dy = bx - ax, by - ay
            along = min(1.0, max(0.0, ((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)))
            nearest = min(nearest, hypot(px - ax - along * dx, py - ay - along * dy))
            if (ay > py) != (by > py) and px < ax + (py - ay) / dy * dx:
                inside = not inside
        return -nearest if inside else nearest

    return distance


def both(first: Shape, second: Shape) -> Shape:
    """Where two shapes overlap."""
    return lambda px, py: max(first(px, py), second(px, py))


def either(*shapes: Shape) -> Shape:
    """Where any of some shapes is."""
    return lambda px, py: min(shape(px, py) for shape in shapes)


def outside(shape: Shape, by: float = 0.0) -> Shape:
    """All but a shape and what is nearer to it than `by`."""
    return lambda px, py: by - shape(px, py)


def outline(shape: Shape, width: float) -> Shape:
    """The edge of a shape, drawn inwards."""
    return lambda px, py: abs(shape(px, py) + width / 2) - width / 2


_BLADE: Final = both(disc(0.20, 0.20, 0.665), disc(0.80, 0.80, 0.665))
_STEM: Final = line((0.06, 0.94), (0.30, 0.70), 0.09)
_VEIN: Final = line((0.30, 0.70), (0.66, 0.34), 0.06)
_FULL: Final = either(both(_BLADE, outside(_VEIN)), _STEM)
_HOLLOW: Final = either(outline(_BLADE, 0.085), _STEM)

_CLOCK: Final = either(
    outline(disc(0.72, 0.72, 0.27), 0.085),
    line((0.72, 0.73), (0.72, 0.58), 0.07),
    line((0.72, 0.73), (0.83, 0.73), 0.07),
)
_BARS: Final = either(line((0.60, 0.55), (0.60, 0.90), 0.15), line((0.86, 0.55), (0.86, 0.90), 0.15))
_BOLT: Final = polygon((0.80, 0.42), (0.50, 0.77), (0.70, 0.77), (0.62, 1.00), (0.97, 0.62), (0.75, 0.62))
_TRIANGLE: Final = polygon((0.70, 0.40), (0.99, 0.97), (0.41, 0.97))
_BANG: Final = either(line((0.70, 0.62), (0.70, 0.76), 0.08), disc(0.70, 0.87, 0.045))
_SLASH: Final = line((0.14, 0.14), (0.86, 0.86), 0.11)


def _marked(leaf: Shape, leaf_colour: Colour, mark: Shape, colour: Colour, *, around: Shape | None = None) -> _Layers:
    return [(both(leaf, outside(around or mark, _GAP)), leaf_colour), (mark, colour)]


_LAYERS: Final[dict[Look, _Layers]] = {
    Look.WORKING: [(_FULL, GREEN)],
    Look.WAITING: _marked(_HOLLOW, GREEN, _CLOCK, GREY, around=disc(0.72, 0.72, 0.27)),
    Look.PAUSED: _marked(_HOLLOW, GREY, _BARS, AMBER),
    Look.HELD: _marked(_HOLLOW, GREY, _BOLT, BLUE),
    Look.TROUBLE: _marked(_HOLLOW, GREY, both(_TRIANGLE, outside(_BANG)), RED, around=_TRIANGLE),
    Look.AWAY: _marked(_HOLLOW, GREY, _SLASH, GREY),
}

SIZES: Final = (22, 44)
"""Edges in pixels that desktops are given: a usual panel and one of doubled resolution."""


@lru_cache(maxsize=32)
def rgba(look: Look, size: int) -> bytes:
    """Return the icon as rows of red, green, blue, alpha (not premultiplied), `size` pixels each way."""
    out = bytearray(4 * size * size)
    layers = _LAYERS[look]
    at = 0
    for row in range(size):
        y = (row + 0.5) / size
        for column in range(size):
            x = (column + 0.5) / size
            red = green = blue = alpha = 0.0
            for shape, colour in layers:
                cover = min(1.0, max(0.0, 0.5 - shape(x, y) * size))
                if cover:
                    below = alpha * (1 - cover)
                    alpha = cover + below
                    red, green, blue = (
                        (new * cover + old * below) / alpha for new, old in zip(colour, (red, green, blue), strict=True)
                    )
            if alpha:
                out[at : at + 4] = bytes((round(red), round(green), round(blue), round(255 * alpha)))
            at += 4
    return bytes(out)


@lru_cache(maxsize=32)
def argb(look: Look, size: int) -> bytes:
    """Return the icon as StatusNotifierItem wants it: 32-bit words in network byte order, alpha first."""
    source, out = rgba(look, size), bytearray(4 * size * size)
    out[0::4], out[1::4], out[2::4], out[3::4] = source[3::4], source[0::4], source[1::4], source[2::4]
    return bytes(out)


def png(look: Look, size: int) -> bytes:
    """Return the icon as a PNG file (source: PNG specification, third edition; 8-bit RGBA, no filter)."""
    stride, pixels = 4 * size, rgba(look, size)
    rows = b"".join(b"\0" + pixels[start : start + stride] for start in range(0, len(pixels), stride))
    header = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
