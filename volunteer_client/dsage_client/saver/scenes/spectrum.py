"""A waterfall of spectra: the newest in front, each older one farther away."""

from __future__ import annotations

import random
from functools import lru_cache
from math import exp, sin
from typing import Final

from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import BACK, Area, Line, Picture, mixed, through

ROWS: Final = 22
SAMPLES: Final = 84
ROW_S: Final = 1.1
CALM_ROW_S: Final = 4.0
HORIZON: Final = 0.16
"""Where the farthest rows stand, as a share of the window's height from its top."""
COLOURS: Final = ("#c9f7e2", "#5fd0b0", "#2c8fa3", "#2b5a9c", "#2a2f6b", "#15163a")


def picture(sight: Sight, seconds: float) -> Picture:
    """Return the waterfall at a time. Its tallest line stands where the unit is, from left to right."""
    every = CALM_ROW_S if sight.calm else ROW_S
    newest, passed = divmod(seconds, every)
    offset = 0.0 if sight.calm else passed / every
    shapes: Picture = {}
    for back in range(ROWS - 1, -1, -1):
        depth = back + offset
        near = 1 / (1 + 0.13 * depth)
        far = 1 / (1 + 0.13 * (ROWS + 1))
        base = sight.height * (HORIZON + (1.02 - HORIZON) * (near - far) / (1 - far))
        fade = min(1.0, (ROWS - depth) / 4)
        edge = mixed(BACK, through(COLOURS, depth / ROWS), fade * (1.0 if sight.awake else 0.3))
        row = _row(sight.seed % 1024, int(newest) - back, round(sight.fraction, 2) if sight.awake else -1.0)
        line, below = _outline(sight, row, near, base)
        shapes[f"ground{back}"] = Area((*line, *below), BACK, BACK)
        shapes[f"line{back}"] = Line(line, edge, 2 if back < 4 else 1)
    return shapes


def _outline(
    sight: Sight, row: tuple[float, ...], near: float, base: float
) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
    """Return the line of a spectrum, and the two points below it that close the ground which hides what is behind."""
    middle, wide, tall = sight.width / 2, sight.width * 1.25 * near**0.55, 0.34 * sight.height * near
    left, step = middle - wide / 2, wide / (SAMPLES - 1)
    low = round(base + 0.22 * sight.height * near)
    points: list[int] = []
    for index, value in enumerate(row):
        points += (round(left + index * step), round(base - value * tall))
    return tuple(points), (round(left + wide), low, round(left), low)


@lru_cache(maxsize=4 * ROWS)
def _row(seed: int, number: int, fraction: float) -> tuple[float, ...]:
    """Return the strengths (0..1) of one spectrum."""
    noise = random.Random(seed << 32 ^ number)
    lines = [
        (0.5 + 0.42 * sin(0.011 * number * (1 + 0.37 * k) + 2.1 * k + seed), 0.22 + 0.14 * sin(0.05 * number + k))
        for k in range(3)
    ]
    if fraction >= 0:
        lines.append((0.12 + 0.76 * fraction, 0.72))
    values = []
    for index in range(SAMPLES):
        at = index / (SAMPLES - 1)
        edge = min(1.0, 7 * min(at, 1 - at))
        hills = sum(height * exp(-(((at - middle) / 0.02) ** 2)) for middle, height in lines)
        swell = 0.05 + 0.05 * sin(9 * at + 0.07 * number)
        values.append(edge * (hills + swell + 0.07 * noise.random()))
    return tuple(values)
