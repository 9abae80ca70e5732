"""The rule `detections`, case by case, and its matching against trying every one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.agreement import Detections, detections
from dsage.agreement.matching import MAX_ROWS

RULE = detections(threshold=5.0, tolerance=(1.0, 0.1), rtol=0.1)
BRIGHT, OTHER = [10.0, 1.0, 50.0], [40.0, 1.0, 50.0]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([], [], True), ([BRIGHT, OTHER], [OTHER, BRIGHT], True), ([BRIGHT], [], False), ([BRIGHT], [BRIGHT, BRIGHT],
        False),
        ([BRIGHT], [[10.9, 1.05, 46.0]], True), ([BRIGHT], [[11.1, 1.0, 50.0]], False), ([BRIGHT],
        [[10.0, 1.2, 50.0]], False),
        ([BRIGHT], [[10.0, 1.0, 40.0]], False),
        ([BRIGHT, [70.0, 1.0, 5.3]], [BRIGHT], True), ([BRIGHT, [70.0, 1.0, 4.7]], [BRIGHT], True),
        ([BRIGHT, [70.0, 1.0, 5.7]], [BRIGHT], False), ([[70.0, 1.0, 5.3]], [[90.0, 1.0, 5.3]], True),
        ([[1.0, 1.0, 50.0], [1.8, 1.0, 50.0]], [[0.2, 1.0, 50.0], [1.0, 1.0, 50.0]], True),
        ([[1.0, 1.0, 5.7]], [[1.0, 1.0, 5.2]], True),
        ([[1.0, 1.0, 50.0]] * 30, [[1.5, 1.0, 50.0]] * 30, True),
        ([[1.0, 1.0, 50.0]] * 30, [[1.5, 1.0, 50.0]] * 31, False),
    ],
)  # fmt: skip
def test_detections(a: Any, b: Any, same: bool) -> None:
    assert RULE(None, a, b) is RULE(None, b, a) is same


@settings(deadline=None)
@given(*[st.lists(st.tuples(st.integers(0, 5), st.integers(4, 7)).map(list), max_size=3)] * 2)
def test_a_matching_is_found_if_there_is_one(a: Any, b: Any) -> None:
    rule = detections(threshold=5.0, tolerance=1.0, rtol=0.19)

    def fits(one: list[int], other: list[int] | None) -> bool:
        if other is None:
            return abs(one[1] - 5) <= 0.19 * max(one[1], 5)
        return abs(one[0] - other[0]) <= 1 and abs(one[1] - other[1]) <= 0.19 * max(one[1], other[1])

    def matched(partners: Any) -> bool:
        left = [row for i, row in enumerate(b) if i not in partners]
        return all(fits(row, None if i is None else b[i]) for row, i in zip(a, partners, strict=True)) and all(
            fits(row, None) for row in left
        )

    ways = itertools.permutations([*range(len(b)), *[None] * len(a)], len(a))
    assert rule(None, a, b) is any(map(matched, ways))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (5, "is a int, where a list"), ({"x": 1.0}, "is a dict"), (b"abc", "is a bytes"), ([1.0, 2.0],
        "no list of one"),
        ([[1.0]], "no list of one"), ([[1.0, 2.0]], "1 positions in detection 0; the rule knows 2"),
        ([BRIGHT, [1.0, 2.0, "x"]], "in detection 1 something that is no finite number"), ([[1.0, 2.0, True]],
        "no finite"),
        ([[1.0, 2.0, float("nan")]], "no finite"), ([[1.0, float("inf"), 1.0]], "no finite"), ([[1.0, 2.0, 10**400]],
        "no finite"),
        ([BRIGHT] * (MAX_ROWS + 1), f"more than {MAX_ROWS}"), (np.zeros((2, 2, 2)), "in 3 dimensions"),
        (np.array(["a"]), "where rows of numbers"), (np.zeros((2, 99)), "99 numbers"),
        (np.array([(1, 2.0)], [("n", "i4"), ("x", "f8")]), "where rows of numbers"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_detections_is_refused_with_the_reason(value: Any, why: str) -> None:
    assert why in RULE.unfit(value)
    assert not RULE(None, value, value)


def test_rows_of_several_lengths_are_none() -> None:
    assert "several lengths" in detections(threshold=5.0, tolerance=1.0).unfit([[1.0, 2.0], [1.0, 2.0, 3.0]])


def test_an_array_is_as_good_as_a_list() -> None:
    assert RULE(None, np.array([BRIGHT, OTHER]), [OTHER, BRIGHT])


def test_lists_made_to_be_slow_end_soon_and_are_not_the_same() -> None:
    crowd = [[1.0, 1.0, 50.0 + i / 1e6] for i in range(MAX_ROWS)]
    rule: Detections = detections(threshold=5.0, tolerance=1.0, rtol=0.5)
    assert rule(None, crowd, crowd)
    assert not rule(None, crowd, [[1.0, 1.0, 51.0], *crowd[1:]])


def test_many_detections_spread_out_are_compared() -> None:
    many = [[float(i), 1.0, 50.0] for i in range(MAX_ROWS)]
    moved = [[row[0] + 0.9, 1.0, 50.0] for row in many]
    rule = detections(threshold=5.0, tolerance=1.0, rtol=0.1)
    assert rule(None, many, moved)
    assert not rule(None, many, [*moved[:-1], [-5.0, 1.0, 50.0]])
