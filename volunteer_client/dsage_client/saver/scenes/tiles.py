"""A mosaic that fills as a unit goes on: seeds of a sunflower, lit from the side."""

from __future__ import annotations

import random
from functools import lru_cache
from math import atan2, cos, hypot, sin
from typing import Final

from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import BACK, Box, Picture, mixed, through

COLUMNS, ROWS = 48, 27
SWEEP_S: Final = 9.6
"""How long the light takes across the picture; one column changes at a time."""
MOVES_S: Final = 90.0
COLOURS: Final = ("#06181c", "#0d3b3e", "#1f6f5c", "#7fae5a", "#e3b64d", "#d9713c")
EMPTY: Final = "#090f12"


def picture(sight: Sight, seconds: float) -> Picture:
    """Return the mosaic at a time: tiles that are done have their colour, the next one begins to."""
    moved = int(seconds // MOVES_S)
    slip = (moved * 7 % 13 - 6, moved * 5 % 11 - 5)
    done = round(sight.fraction * COLUMNS * ROWS, 1)
    shapes: Picture = {}
    for column in range(COLUMNS):
        # Each column keeps its light until the sweep has come round to it again.
        turn = 0.0 if sight.calm else (seconds / SWEEP_S - column / COLUMNS) // 1 + column / COLUMNS
        light = 0.72 + 0.28 * sin(2.1 * turn + column * 0.21)
        size = (sight.width, sight.height)
        shapes |= _column(column, size, slip, sight.seed % 64, done, round(light, 3), sight.awake)
    return shapes


@lru_cache(maxsize=4 * COLUMNS)
def _column(
    column: int, size: tuple[int, int], slip: tuple[int, int], seed: int, done: float, light: float, awake: bool
) -> Picture:
    colours, order = _mosaic(seed)
    wide, tall = size[0] / COLUMNS, size[1] / ROWS
    left, right = round(column * wide) + slip[0], round((column + 1) * wide) + slip[0] - 2
    shapes: Picture = {}
    for row in range(ROWS):
        index = column * ROWS + row
        share = min(max(done - order[index], 0.0), 1.0)
        colour = mixed(EMPTY, mixed(BACK, colours[index], light), share if awake else 0.25 * share)
        top, bottom = round(row * tall) + slip[1], round((row + 1) * tall) + slip[1] - 2
        shapes[f"{column}.{row}"] = Box(left, top, right, bottom, colour)
    return shapes


@lru_cache(maxsize=2)
def _mosaic(seed: int) -> tuple[list[str], list[int]]:
    """Return each tile's colour, and when its turn comes."""
    turn = seed * 0.7
    colours = [_colour(column, row, turn) for column in range(COLUMNS) for row in range(ROWS)]
    places = list(range(COLUMNS * ROWS))
    scatter = random.Random(seed)
    middle = (COLUMNS - 1) / 2, (ROWS - 1) / 2
    places.sort(
        key=lambda at: hypot((at // ROWS - middle[0]) * 0.6, at % ROWS - middle[1]) + scatter.uniform(-5.0, 5.0)
    )
    order = [0] * len(places)
    for when, place in enumerate(places):
        order[place] = when
    return colours, order


def _colour(column: int, row: int, turn: float) -> str:
    x, y = (column - (COLUMNS - 1) / 2) / ROWS, (row - (ROWS - 1) / 2) / ROWS
    distance, angle = hypot(x, y), atan2(y, x) + turn
    arms = cos(8 * angle - 13 * distance) * 0.5 + cos(13 * angle + 21 * distance) * 0.5
    glow = 0.86 - 0.78 * distance
    light = 0.16 * cos(angle - turn + 2.2) * min(1.0, 2 * distance)
    return through(COLOURS, glow + 0.17 * arms * min(1.0, 3 * distance) + light)
