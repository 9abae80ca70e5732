"""The map of the world: every outline is whole and on it, and shades begin at round numbers."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from dsage_server.web.atlas import MOST_STEPS, steps, world
from dsage_server.web.personal.privacy import COUNTRIES

LONGEST = 120
"""Units of the longest straight line: the 49th parallel is one of them, a line across the map is not."""


def test_every_shape_is_of_a_country_that_people_may_choose() -> None:
    assert set(world().shapes) | set(world().points) <= set(COUNTRIES)
    assert not set(world().shapes) & set(world().points)
    assert {"DE", "NZ", "RU", "US", "FJ"} <= set(world().shapes)
    assert {"SG", "MT", "HK"} <= set(world().points)


@pytest.mark.parametrize("code", sorted(world().shapes))
def test_an_outline_stays_on_the_map_and_never_goes_around_its_back(code: str) -> None:
    drawn = world()
    outlines = re.findall(r"M(\d+) (\d+)l([-0-9 ]+)z", drawn.shapes[code])
    assert "".join("M{} {}l{}z".format(*each) for each in outlines) == drawn.shapes[code]
    for left, top, said in outlines:
        x, y = int(left), int(top)
        moves = [int(move) for move in re.findall(r"-?\d+", said)]
        for dx, dy in zip(moves[::2], moves[1::2], strict=True):
            x, y = x + dx, y + dy
            assert abs(dx) < LONGEST, code
            assert 0 <= x <= drawn.width, code
            assert 0 <= y <= drawn.height, code


def test_the_map_is_small() -> None:
    assert sum(map(len, world().shapes.values())) < 40_000


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, [5]), (5, [5]), (9, [5]), (10, [5, 10]), (43, [5, 10, 20]), (100, [5, 10, 20, 50, 100]),
        (200, [5, 20, 100]), (1999, [5, 20, 100, 500]), (100_000, [5, 50, 500, 5000, 50_000]),
    ],
)  # fmt: skip
def test_shades_begin_at_round_numbers(most: int, expected: list[int]) -> None:
    assert steps(5, most) == expected


@pytest.mark.parametrize("most", [5, 77, 5000, 10**6, 10**9])
def test_there_are_never_more_shades_than_can_be_told_apart(most: int) -> None:
    found = steps(5, most)
    assert len(found) <= MOST_STEPS
    assert all(before < after for before, after in pairwise(found))
