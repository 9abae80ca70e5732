"""A small ray tracer: balls on a chequered floor, laid out like the seeds of a sunflower.

Every computer must paint the same bytes, or no two would agree. So it uses nothing but + - * / and the square root,
which IEEE 754 rounds in one way only, each in the order written here; sines and powers, which every mathematics
library rounds in its own way, are not needed (angles are unit vectors, x^64 is six squarings).
"""

from __future__ import annotations

from math import floor, sqrt
from typing import Final

Vector = tuple[float, float, float]

SEEDS: Final = 80
TURN: Final = (-0.7373688780783197, 0.6754902942615238)
"""Cosine and sine of the golden angle: 360 degrees (3 - sqrt 5) / 2."""
HUE: Final = (0.9659258262890683, 0.25881904510252074)
"""Cosine and sine of 15 degrees: how far the colour wheel turns from one ball to the next."""
EYE: Final = (-1.6, 4.6, -8.6)
LOOK_AT: Final = (0.1, 0.35, 0.0)
ZOOM: Final = 2.15
SUN: Final = (-6 / 7, 3 / 7, 2 / 7)
"""The direction to it, of length 1."""
SUN_SIZE: Final = 0.07
BOUNCES: Final = 4
NEAR: Final = 1e-6


def balls() -> tuple[tuple[float, float, float, float], ...]:
    """Return x, y, z and radius of each ball: a large one in the middle, the others in a spiral around it."""
    found = [(0.0, 1.1, 0.0, 1.1)]
    x, z = 1.0, 0.0
    for k in range(1, SEEDS):
        x, z = x * TURN[0] - z * TURN[1], x * TURN[1] + z * TURN[0]
        away = 0.75 + 0.47 * sqrt(k)
        radius = 0.15 + 0.0028 * k
        found.append((x * away, radius, z * away, radius))
    return tuple(found)


def colours() -> tuple[Vector, ...]:
    """Return each ball's colour; the large one is a mirror."""
    found = [(0.92, 0.94, 1.0)]
    u, v = 1.0, 0.0
    for _ in range(1, SEEDS):
        u, v = u * HUE[0] - v * HUE[1], u * HUE[1] + v * HUE[0]
        found.append((0.5 + 0.42 * u, 0.42 + 0.3 * (0.87 * v - 0.5 * u), 0.5 - 0.42 * (0.87 * v + 0.5 * u)))
    return tuple(found)


def unit(x: float, y: float, z: float) -> Vector:
    """Return the vector of length 1 in a direction."""
    length = sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


BALLS: Final = balls()
COLOURS: Final = colours()
FORWARD: Final = unit(LOOK_AT[0] - EYE[0], LOOK_AT[1] - EYE[1], LOOK_AT[2] - EYE[2])
RIGHT: Final = unit(FORWARD[2], 0.0, -FORWARD[0])
UP: Final = (
    FORWARD[1] * RIGHT[2] - FORWARD[2] * RIGHT[1],
    FORWARD[2] * RIGHT[0] - FORWARD[0] * RIGHT[2],
    FORWARD[0] * RIGHT[1] - FORWARD[1] * RIGHT[0],
)


def row(width: int, height: int, y: int, samples: int) -> bytes:
    """Return row y of the picture: 3 bytes a pixel, each the mean of samples^2 rays through it."""
    pixels = bytearray()
    for x in range(width):
        red = green = blue = 0.0
        for k in range(samples * samples):
            across = (2 * (x + (k % samples + 0.5) / samples) - width) / height / ZOOM
            upward = (height - 2 * (y + (k // samples + 0.5) / samples)) / height / ZOOM
            ray = unit(
                FORWARD[0] + across * RIGHT[0] + upward * UP[0],
                FORWARD[1] + across * RIGHT[1] + upward * UP[1],
                FORWARD[2] + across * RIGHT[2] + upward * UP[2],
            )
            seen = light(EYE, ray, _towards_the_sun(x, y, k, samples), BOUNCES)
            red, green, blue = red + seen[0], green + seen[1], blue + seen[2]
        for part in (red, green, blue):
            pixels.append(min(floor(255 * sqrt(part / (samples * samples)) + 0.5), 255))
    return bytes(pixels)


def light(start: Vector, ray: Vector, sun: Vector, bounces: int) -> Vector:
    """Return the light that comes to `start` against the direction of `ray`, as red, green and blue from 0 up."""
    distance, ball = nearest(start, ray)
    if ball < 0 and ray[1] >= -NEAR:
        return sky(ray)
    if ball < 0:
        distance = -start[1] / ray[1]
    point = (start[0] + distance * ray[0], start[1] + distance * ray[1], start[2] + distance * ray[2])
    if ball < 0:
        normal, mirror = (0.0, 1.0, 0.0), 0.12
        dark = (floor(point[0] / 1.2) + floor(point[2] / 1.2)) % 2
        colour = (0.10, 0.13, 0.19) if dark else (0.80, 0.74, 0.64)
    else:
        x, y, z, radius = BALLS[ball]
        normal = ((point[0] - x) / radius, (point[1] - y) / radius, (point[2] - z) / radius)
        colour, mirror = COLOURS[ball], 0.06 if ball else 0.86
    facing = -(ray[0] * normal[0] + ray[1] * normal[1] + ray[2] * normal[2])
    grazing = 1 - max(facing, 0.0)
    squared = grazing * grazing
    mirror += (1 - mirror) * squared * squared * grazing * 0.8
    bounced = (
        ray[0] + 2 * facing * normal[0], ray[1] + 2 * facing * normal[1], ray[2] + 2 * facing * normal[2]
    )  # fmt: skip
    above = (point[0] + NEAR * normal[0], point[1] + NEAR * normal[1], point[2] + NEAR * normal[2])
    open_sky = 0.5 + 0.5 * normal[1]
    bright, glint = 0.0, 0.0
    falling = normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2]
    if falling > 0 and nearest(above, sun)[1] < 0:
        bright = 1.6 * falling
        glint = _sixty_fourth(max(bounced[0] * sun[0] + bounced[1] * sun[1] + bounced[2] * sun[2], 0.0))
    mirrored = light(above, bounced, sun, bounces - 1) if bounces else sky(bounced)
    soft = (0.13 * open_sky + 0.03, 0.17 * open_sky + 0.03, 0.26 * open_sky + 0.03)
    haze = min(distance * distance / 2600, 1.0) if ball < 0 else 0.0
    far = sky((ray[0], 0.0, ray[2]))
    seen = [
        (1 - mirror) * colour[i] * (soft[i] + bright * (1.0, 0.93, 0.8)[i]) + mirror * mirrored[i] * (
            colour[i] if ball == 0 else 1.0
        ) + 0.9 * glint
        for i in range(3)
    ]  # fmt: skip
    return (
        seen[0] + haze * (far[0] - seen[0]), seen[1] + haze * (far[1] - seen[1]), seen[2] + haze * (far[2] - seen[2])
    )  # fmt: skip


def nearest(start: Vector, ray: Vector) -> tuple[float, int]:
    """Return how far the first ball is in the ray's direction, and which one; -1 if there is none."""
    ox, oy, oz = start
    dx, dy, dz = ray
    best, which = 1e30, -1
    for number, (x, y, z, radius) in enumerate(BALLS):
        px, py, pz = x - ox, y - oy, z - oz
        along = px * dx + py * dy + pz * dz
        if along > 0:
            beside = radius * radius - (px * px + py * py + pz * pz - along * along)
            if beside > 0:
                distance = along - sqrt(beside)
                if NEAR < distance < best:
                    best, which = distance, number
    return best, which


def sky(ray: Vector) -> Vector:
    """Return the light of the sky: pale at the horizon, blue above, and the sun's glow."""
    height = sqrt(max(ray[1], 0.0))
    glow = 1.4 * _sixty_fourth(max(ray[0] * SUN[0] + ray[1] * SUN[1] + ray[2] * SUN[2], 0.0))
    return 0.66 - 0.6 * height + glow, 0.7 - 0.52 * height + 0.85 * glow, 0.8 - 0.3 * height + 0.5 * glow


def _towards_the_sun(x: int, y: int, k: int, samples: int) -> Vector:
    """Return the direction to a point of the sun's disc, another for each ray: that softens the edge of a shadow."""
    grain = (5 * x + 3 * y) % 8 / 8
    a = ((k % samples + grain) / samples - 0.5) * SUN_SIZE
    b = ((k // samples + (grain * 5 + 0.125) % 1.0) / samples - 0.5) * SUN_SIZE
    return unit(SUN[0] + a, SUN[1], SUN[2] + b)


def _sixty_fourth(x: float) -> float:
    for _ in range(6):
        x *= x
    return x
