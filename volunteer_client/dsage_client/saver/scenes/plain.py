"""Leaves placed as plants do it, each turned by the golden angle from the last; as many shine as are done."""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import Final

from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import BACK, Dot, Picture, mixed, through

DOTS: Final = 233
GOLDEN: Final = pi * (3 - sqrt(5))
TURN: Final = 0.012
"""Radians a second."""
MOVES_S: Final = 0.6
"""How often each dot moves; they take turns."""
CALM_MOVES_S: Final = 8.0
COLOURS: Final = ("#f0e6b0", "#a9d6a0", "#4fae8d", "#2a7f86")


def picture(sight: Sight, seconds: float) -> Picture:
    """Return the plant at a time."""
    every = CALM_MOVES_S if sight.calm else MOVES_S
    reach = 0.47 * min(sight.width, sight.height)
    lit = sight.fraction * DOTS if sight.awake else 0.0
    shapes: Picture = {}
    for index in range(DOTS):
        turn = index % 6 / 6
        at = ((seconds / every + turn) // 1 - turn) * every
        out = sqrt((index + 0.6) / DOTS)
        angle = index * GOLDEN + at * TURN + sight.seed
        breath = 1 + 0.04 * sin(0.35 * at + 5 * out)
        x = sight.width / 2 + 1.35 * reach * out * breath * cos(angle)
        y = sight.height / 2 + reach * out * breath * sin(angle)
        share = min(max(lit - index, 0.0), 1.0)
        colour = mixed("#132126", through(COLOURS, out), share)
        if not sight.awake:
            colour = mixed(BACK, "#1d3236", 0.6 + 0.4 * sin(0.2 * at + 6 * out))
        radius = max(1, round(reach * (0.010 + 0.016 * out) * (1.0 if share else 0.7)))
        shapes[str(index)] = Dot(round(x), round(y), radius, colour)
    return shapes
