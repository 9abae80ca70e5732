"""The rule `close`, case by case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest

from dsage.agreement import close
from dsage.agreement.closeness import NANS

INF, NAN, HUGE = math.inf, math.nan, 1.7e308
RULE = close(rtol=1e-6, atol=1e-9)


@dataclass
class Star:
    name: str
    flux: float


class Planet(msgspec.Struct):
    name: str
    flux: float


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1.0, 1.0 + 9e-7, True), (1.0, 1.0 + 1.1e-6, False), (1e-12, 0.0, True), (1e-8, 0.0, False),
        (0.0, -0.0, True), (INF, INF, True), (INF, -INF, False), (INF, HUGE, False), (HUGE, -HUGE, False),
        (NAN, NAN, True), (NAN, 0.0, False), (NAN, INF, False),
        (1, 1.0, False), (1, True, False), (1, 2, False), (10**9, 10**9 + 1, False), ("a", "b", False),
        (b"a", "a", False),
        ([1.0, 2.0], [1.0, 2.0 + 1e-7], True), ([1.0], [1.0, 2.0], False), ([1.0, 2.0], [2.0, 1.0], False),
        ({"a": 1.0}, {"a": 1.0 + 1e-7}, True), ({"a": 1.0}, {"b": 1.0}, False),
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}, False),
        ({1: 1.0}, {1: 1.0 + 1e-7}, True), ({1: 1.0}, {True: 1.0}, False), ({1: 1.0}, {1.0: 1.0}, False),
        ({1.5}, {1.5}, True), ({1.5}, {1.5 + 1e-7}, False),
        (1 + 1e-12j, 1 - 1e-12j, True), (1 + 1j, 1 + 1.1j, False), (complex(NAN, 1), complex(NAN, 1), True),
        (complex(NAN, 1), complex(1, NAN), False), (complex(INF, 1), complex(INF, 1 + 1e-7), True),
        (complex(HUGE, HUGE), 1j, False), (complex(HUGE, HUGE), complex(HUGE, -HUGE), False),
        (complex(HUGE, HUGE), complex(HUGE * (1 - 1e-8), HUGE), True),
        (Star("a", 1.0), Star("a", 1.0 + 1e-7), True), (Star("a", 1.0), Star("b", 1.0), False),
        (Planet("a", 1.0), Star("a", 1.0), True), ((1.0, 2), [1.0, 2], True),
    ],
)  # fmt: skip
def test_close(a: Any, b: Any, same: bool) -> None:
    assert RULE(None, a, b) is RULE(None, b, a) is same


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-7], True), ([1.0, 2.0], [1.0, 2.1], False), ([1.0, 0.0], [1.0, 1e-8], False),
        ([NAN, INF, -INF], [NAN, INF, -INF], True), ([NAN], [1.0], False), ([INF], [-INF], False), ([INF], [HUGE],
        False),
        ([HUGE], [-HUGE], False), ([0.0], [-0.0], True), ([], [], True), ([[1.0]], [1.0], False),
    ],
)  # fmt: skip
def test_arrays_are_compared_as_their_numbers_are(a: Any, b: Any, same: bool) -> None:
    for dtype in ("f8", "c16"):
        one, other = np.array(a, dtype), np.array(b, dtype)
        assert RULE(None, {"x": one}, {"x": other}) is RULE(None, {"x": other}, {"x": one}) is same


def test_the_distance_of_huge_complex_numbers_does_not_overflow() -> None:
    one, other = np.array([complex(HUGE, HUGE), 1j]), np.array([complex(HUGE, -HUGE), 1j])
    assert RULE(None, one, one.copy())
    assert not RULE(None, one, other)


def test_dtypes_shapes_and_what_is_no_fraction_are_the_same() -> None:
    one = np.arange(6.0)
    assert not RULE(None, one, one.astype("f4"))
    assert not RULE(None, one, one.reshape(2, 3))
    assert not RULE(None, one, one.tolist())
    assert not RULE(None, np.array([1, 2]), np.array([1, 3]))
    assert RULE(None, one.astype("f2"), one.astype("f2"))
    kind = [("n", "i4"), ("x", "f8")]
    assert RULE(None, np.array([(1, 2.0)], kind), np.array([(1, 2.0 + 1e-7)], kind))
    assert not RULE(None, np.array([(1, 2.0)], kind), np.array([(2, 2.0)], kind))


@pytest.mark.parametrize(
    "value",
    [NAN, [1.0, NAN], {"a": {"b": NAN}}, {NAN: 1}, {(1.0, NAN)}, complex(0, NAN), np.array([1.0, NAN]),
     np.array([complex(1, NAN)]), np.array([(1, NAN)], [("n", "i4"), ("x", "f8")])],
)  # fmt: skip
def test_an_answer_with_a_nan_is_none_where_none_may_be(value: Any) -> None:
    strict = close(nan="never")
    assert strict.unfit(value) == NANS
    assert not strict(None, value, value)
    assert not close().unfit(value)
    assert close()(None, value, value)
