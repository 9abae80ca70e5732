"""A field of elliptic curves y^2 = x^3 + ax + b + c, c from curve to curve; on the brightest the multiples of a point.

The point is added to itself as factoring by elliptic curves does it, by the chord through two points (Silverman and
Tate, Rational Points on Elliptic Curves, 1.4), over the real numbers instead of modulo n. Each curve of a unit has a
field of its own.
"""

from __future__ import annotations

from math import isfinite, sin, sqrt
from typing import Final

from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import BACK, Dot, Line, Picture, mixed, through

LEVELS: Final = 12
"""Curves on each side of the bright one."""
APART: Final = 0.55
STEPS: Final = 60
LEFT, RIGHT, TALL = -2.7, 3.6, 3.9
"""The part of the plane that is shown: x from LEFT to RIGHT, y up to TALL either way."""
SHOWN: Final = 18
ROUND: Final = 60
HOP_S, CALM_HOP_S = 0.9, 6.0
MORPHS_S, CALM_MORPHS_S = 0.4, 6.0
"""How often each of the dim curves is drawn anew; they take turns."""
COLD: Final = ("#3d2a63", "#28457f", "#14595f", "#1d7a6b")
BRIGHT: Final = "#b9f0cf"
POINT: Final = "#ffd27d"


def picture(sight: Sight, seconds: float) -> Picture:
    """Return the field at a time."""
    shapes: Picture = {}
    curve = sight.seed + sight.number("curve")
    hop_s, morphs_s = (CALM_HOP_S, CALM_MORPHS_S) if sight.calm else (HOP_S, MORPHS_S)
    for level in sorted(range(-LEVELS, LEVELS + 1), key=lambda level: -abs(level)):
        near = 1 - abs(level) / (LEVELS + 1)
        pause = hop_s if level == 0 else morphs_s
        turn = level % 4 / 4
        at = (seconds // pause if level == 0 else (seconds / pause + turn) // 1 - turn) * pause
        a, b = _coefficients(curve, at)
        colour = BRIGHT if level == 0 else mixed(BACK, through(COLD, near), 0.30 + 0.70 * near)
        for part, points in enumerate(_parts(sight, a, b + level * APART)):
            shapes[f"{level}.{part}"] = Line(points, colour, 3 if level == 0 else 1)
    return shapes | _multiples(sight, curve, int(seconds / hop_s), hop_s)


def _coefficients(curve: float, seconds: float) -> tuple[float, float]:
    slow = seconds * 0.045
    return -1.7 + 0.75 * sin(slow + 1.9 * curve), 0.9 + 0.6 * sin(0.7 * slow + 2.3 * curve)


def _place(sight: Sight, x: float, y: float) -> tuple[int, int]:
    x = min(max(x, LEFT - 1), RIGHT + 1)
    y = min(max(y, -2 * TALL), 2 * TALL)
    return (
        round((x - LEFT) / (RIGHT - LEFT) * sight.width),
        round(sight.height * (0.5 - y / (2 * TALL))),
    )


def _parts(sight: Sight, a: float, b: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the branch to the right, and the egg if the curve has one: each a line from below round to above."""
    runs: list[list[tuple[float, float]]] = []
    step = (RIGHT - LEFT + 0.2) / STEPS
    before = -1.0
    for index in range(STEPS + 1):
        x = LEFT + index * step
        value = x * x * x + a * x + b
        if value > 0:
            if before <= 0:
                root = x - step * value / (value - before) if index else x
                runs.append([(root, 0.0), *_near(a, b, root, x)])
            runs[-1].append((x, sqrt(value)))
        elif before > 0:
            root = x - step * value / (value - before)
            runs[-1] += [*reversed(_near(a, b, root, x - step)), (root, 0.0)]
        before = value
    lines = [_outline(sight, run) for run in runs]
    off = (-9, -9, -9, -8)
    return (lines[-1] if lines else off), (lines[0] if len(lines) > 1 else off)


def _near(a: float, b: float, root: float, x: float) -> list[tuple[float, float]]:
    """Return points between a root and x: there the curve is steep."""
    places = [root + share * (x - root) for share in (0.03, 0.12, 0.3, 0.6)]
    return [(at, sqrt(value)) for at in places if (value := at**3 + a * at + b) > 0]


def _outline(sight: Sight, run: list[tuple[float, float]]) -> tuple[int, ...]:
    below = [_place(sight, x, -y) for x, y in reversed(run)]
    above = [_place(sight, x, y) for x, y in run]
    return tuple(number for point in below + above for number in point)


def _multiples(sight: Sight, curve: float, hop: int, hop_s: float) -> Picture:
    """Return the newest multiples of the point, and the chord that led to the last."""
    a, b = _coefficients(curve, hop * hop_s)
    points = multiples(a, b, SHOWN + hop % ROUND)
    first, last = points[0], points[-2] if len(points) > 1 else points[0]
    seen = [point for point in points if abs(point[1]) < TALL and LEFT < point[0] < RIGHT][-SHOWN:]
    shapes: Picture = {"chord": Line((*_chord(sight, first, last),), "#5c4a24")}
    size = max(2, sight.height // 150)
    for age in range(SHOWN):
        if age < len(seen):
            x, y = _place(sight, *seen[-1 - age])
            colour = mixed(POINT, BACK, 0.85 * age / SHOWN)
            shapes[f"point{age}"] = Dot(x, y, size + (3 if age == 0 else 0), colour)
        else:
            shapes[f"point{age}"] = Dot(-99, -99, size, BACK)
    return shapes


def _chord(sight: Sight, first: tuple[float, float], last: tuple[float, float]) -> tuple[int, int, int, int]:
    (x1, y1), (x2, y2) = first, last
    if abs(x2 - x1) < 1e-6:
        return (*_place(sight, x1, -2 * TALL), *_place(sight, x1, 2 * TALL))
    slope = (y2 - y1) / (x2 - x1)
    low, high = x1 + (-2 * TALL - y1) / (slope or 1e-9), x1 + (2 * TALL - y1) / (slope or 1e-9)
    left, right = max(min(low, high), LEFT - 1), min(max(low, high), RIGHT + 1)
    return (*_place(sight, left, y1 + slope * (left - x1)), *_place(sight, right, y1 + slope * (right - x1)))


def multiples(a: float, b: float, most: int) -> list[tuple[float, float]]:
    """Return P, 2P, 3P, ... on y^2 = x^3 + ax + b, up to `most` of them, for a point P that lies well to the right."""
    x = next(x / 4 for x in range(3, 99) if (x / 4) ** 3 + a * x / 4 + b > 0.3)
    first = (x, sqrt(x**3 + a * x + b))
    points = [first]
    while len(points) < most:
        x2, y2 = points[-1]
        x1, y1 = first
        if len(points) == 1:
            slope = (3 * x1 * x1 + a) / (2 * y1)
        elif abs(x2 - x1) < 1e-9:
            break
        else:
            slope = (y2 - y1) / (x2 - x1)
        x3 = slope * slope - x1 - x2
        y3 = slope * (x1 - x3) - y1
        if not (isfinite(x3) and isfinite(y3)) or abs(y3) > 1e9:
            break
        points.append((x3, y3))
    return points
