"""Draw the map of the site's page about countries: server/dsage_server/web/atlas/world.json.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    .venv/bin/python packaging/world/draw.py package/countries-110m.json package/countries-50m.json

The first file has the shapes; countries that are too small to have one are placed by the second, and become points.
Borders are simplified once for both sides, so that no gap opens between neighbours.
"""

from __future__ import annotations

import heapq
import json
import math
import sys
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import Any, Final

from babel.core import get_global

MAP: Final = Path(__file__).parents[2] / "server" / "dsage_server" / "web" / "atlas" / "world.json"
WIDTH: Final = 960
"""Units from the westernmost point to the easternmost; points are whole numbers of them."""
SMALLEST: Final = 1.0
"""A point that spans a smaller triangle with its neighbours is left out (square units)."""
LEFT_OUT: Final = {"AQ"}
"""Nobody lives there, and it would take a fifth of the height."""
NAMED: Final = {"Kosovo": "XK", "Somaliland": "SO", "N. Cyprus": "CY"}
"""Shapes without a number of their own."""
A: Final = (1.340264, -0.081106, 0.000893, 0.003796)
M: Final = math.sqrt(3) / 2

Point = tuple[float, float]


def equal_earth(longitude: float, latitude: float) -> Point:
    """Return a place (degrees) on the plane, north up. Source: Savric, Patterson and Jenny 2018, equations 1 to 3."""
    t = math.asin(M * math.sin(math.radians(latitude)))
    across = M * (A[0] + 3 * A[1] * t**2 + t**6 * (7 * A[2] + 9 * A[3] * t**2))
    x = math.radians(longitude) * math.cos(t) / across
    return x, -t * (A[0] + A[1] * t**2 + t**6 * (A[2] + A[3] * t**2))


def arcs(topology: Any) -> list[list[Point]]:
    """Return the lines of a topology, in degrees."""
    (sx, sy), (tx, ty) = topology["transform"]["scale"], topology["transform"]["translate"]
    found = []
    for arc in topology["arcs"]:
        x = y = 0
        line = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            line.append((x * sx + tx, y * sy + ty))
        found.append(line)
    return found


def code_of(geometry: Any) -> str:
    """Return the ISO 3166 code of a shape, or nothing."""
    known = get_global("territory_aliases").get(geometry.get("id", ""), [])
    return known[0] if known else NAMED.get(geometry["properties"]["name"], "")


def rings(geometry: Any) -> Iterator[list[int]]:
    """Give the outlines of a shape, each as the numbers of its lines (the complement of one: backwards)."""
    for polygon in [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry.get("arcs", []):
        yield from polygon


def joined(lines: list[list[Point]], ring: list[int]) -> list[Point]:
    """Return an outline's points without its first once more; one that goes around the back of the world goes on there
    to more than 180 degrees."""
    points: list[Point] = []
    for number in ring:
        line = lines[number] if number >= 0 else lines[~number][::-1]
        points += line[1:] if points else line
    before, turned = points[0][0], []
    for longitude, latitude in points[:-1]:
        before = longitude - 360 * round((longitude - before) / 360)
        turned.append((before, latitude))
    least = min(longitude for longitude, _ in turned)
    return [(longitude + (360 if least < -180 else 0), latitude) for longitude, latitude in turned]


def cut(ring: list[Point]) -> list[list[Point]]:
    """Return the parts of an outline on this side of the line where the map ends, and behind it, which are put where
    the map begins. Source: Sutherland and Hodgman 1974, for one straight edge."""
    if max(longitude for longitude, _ in ring) <= 180:
        return [ring]
    parts = []
    for side in (1, -1):
        part: list[Point] = []
        for (x0, y0), (x1, y1) in zip([ring[-1], *ring], ring, strict=False):
            if (side * (x0 - 180) <= 0) != (side * (x1 - 180) <= 0):
                part.append((180, y0 + (y1 - y0) * (180 - x0) / (x1 - x0)))
            if side * (x1 - 180) <= 0:
                part.append((x1, y1))
        parts.append(part if side == 1 else [(x - 360, y) for x, y in part])
    return [part for part in parts if part]


def kept(line: list[tuple[int, int]]) -> list[bool]:
    """Return which points of a line are more than a hardly seen bend. Source: Visvalingam and Whyatt 1993."""
    before = [index - 1 for index in range(len(line))]
    after = [index + 1 for index in range(len(line))]

    def area(i: int) -> float:
        (x0, y0), (x1, y1), (x2, y2) = line[before[i]], line[i], line[after[i]]
        return abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2

    left = [True] * len(line)
    heap = [(area(i), i) for i in range(1, len(line) - 1)]
    heapq.heapify(heap)
    while heap:
        size, i = heapq.heappop(heap)
        if size >= SMALLEST:
            break
        if not left[i] or size != area(i):
            continue
        left[i] = False
        after[before[i]], before[after[i]] = after[i], before[i]
        for neighbour in (before[i], after[i]):
            if 0 < neighbour < len(line) - 1:
                heapq.heappush(heap, (area(neighbour), neighbour))
    return left


def path(points: list[tuple[int, int]]) -> str:
    """Return an outline as a closed path; nothing if it has no inside."""
    distinct = [point for n, point in enumerate(points) if point != points[n - 1]]
    if len(set(distinct)) < 3:
        return ""
    (x, y), steps = distinct[0], []
    said = f"M{x} {y}l"
    for nx, ny in distinct[1:]:
        steps.append(f"{nx - x}{'' if ny - y < 0 else ' '}{ny - y}")
        x, y = nx, ny
    return said + "".join(step if n == 0 or step[0] == "-" else f" {step}" for n, step in enumerate(steps)) + "z"


def main() -> None:
    """Draw it."""
    coarse, fine = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    lines = arcs(coarse)
    shapes = [(code_of(each), each) for each in coarse["objects"]["countries"]["geometries"]]
    shapes = [(code, each) for code, each in shapes if code and code not in LEFT_OUT]
    parts = [part for _, each in shapes for ring in rings(each) for part in cut(joined(lines, ring))]
    every = [equal_earth(*point) for part in parts for point in part]
    west, north = min(x for x, _ in every), min(y for _, y in every)
    scale = WIDTH / (max(x for x, _ in every) - west)

    def placed(point: Point) -> tuple[int, int]:
        x, y = equal_earth(*point)
        return round((x - west) * scale), round((y - north) * scale)

    lines = [list(compress(line, kept([placed(point) for point in line]))) for line in lines]
    found: dict[str, str] = {}
    for code, each in shapes:
        outlines = [part for ring in rings(each) for part in cut(joined(lines, ring))]
        found[code] = found.get(code, "") + "".join(path([placed(point) for point in part]) for part in outlines)
    points: dict[str, tuple[int, int]] = {}
    small = arcs(fine)
    for each in fine["objects"]["countries"]["geometries"]:
        code = code_of(each)
        if code and not found.get(code) and code not in LEFT_OUT:
            outline = max((joined(small, ring) for ring in rings(each)), key=len)
            (x0, x1), (y0, y1) = ((min(axis), max(axis)) for axis in zip(*outline, strict=True))
            points[code] = placed(((x0 + x1) / 2, (y0 + y1) / 2))
    world = {
        "width": WIDTH, "height": max(placed(point)[1] for part in parts for point in part),
        "shapes": {code: found[code] for code in sorted(found) if found[code]},
        "points": {code: points[code] for code in sorted(points)},
    }  # fmt: skip
    MAP.write_text(json.dumps(world, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
