"""Rules of agreement on anything that can be an answer: no order of two matters, and nothing makes them fail."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage import codec
from dsage.agreement import Agreement, Rule, close, detections, image
from dsage.errors import UsageError

RULES: list[Rule] = [
    close(),
    close(rtol=0.5, atol=1e300),
    close(nan="never"),
    detections(threshold=5.0, tolerance=0.5, rtol=0.1),
    detections(threshold=5.0, tolerance=(0.5, 1e308), rtol=0.9),
    image(),
    image(tolerance=300, share=0.5),
]
FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1.7e308, -1.7e308, 5e-324])
ARRAYS = st.builds(
    lambda dtype, items: np.array(items).astype(dtype),
    st.sampled_from(["<f8", "<f4", "<f2", "<c16", "<c8", "<i8", "|b1", "|u1", "<u2", "|S3"]),
    st.lists(st.integers(0, 100), max_size=6) | st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3)),
)
RECORDS = st.builds(
    lambda x: np.array([(1, x, [x, 2.0])], dtype=[("n", "<i4"), ("x", "<f8"), ("xs", "<f8", (2,))]), FLOATS
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | FLOATS | st.complex_numbers() | st.text(max_size=5) | st.binary()
    | st.sampled_from([Decimal("sNaN"), Decimal("1.5"), Fraction(1, 3), timedelta(days=1), 2**70, {1, 1.5}, {True: 2}])
    | ARRAYS | RECORDS
)  # fmt: skip
ANSWERS: Any = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers() | FLOATS, inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.lists(st.lists(st.floats(0, 10), min_size=3, max_size=3), max_size=6)


def has_nan(value: Any) -> bool:
    """Look for a NaN without the help of the rule."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set):
        return any(map(has_nan, value))
    return isinstance(value, float | complex) and value != value


@settings(deadline=None)
@given(st.sampled_from(RULES), ANSWERS, ANSWERS)
def test_the_order_of_two_answers_never_matters_and_nothing_raises(rule: Rule, a: Any, b: Any) -> None:
    assert rule(None, a, b) is rule(None, b, a)


@settings(deadline=None)
@given(st.sampled_from(RULES), ROWS, ROWS)
def test_nor_that_of_two_lists_of_rows(rule: Rule, a: Any, b: Any) -> None:
    assert rule(None, a, b) is rule(None, b, a)


@settings(deadline=None)
@given(ANSWERS)
def test_an_answer_is_close_to_itself_and_so_it_is_after_it_has_travelled(value: Any) -> None:
    again = codec.decode(codec.encode(value))
    assert close()(None, value, again)
    assert close(nan="never")(None, value, again) is not has_nan(again)


@settings(deadline=None)
@given(ROWS)
def test_rows_match_themselves_in_any_order(rows: Any) -> None:
    assert detections(threshold=5.0, tolerance=0.0, rtol=1e-9)(None, rows, rows[::-1])


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_travels_as_data_and_is_written_as_one_writes_it(rule: Rule) -> None:
    assert msgspec.json.decode(msgspec.json.encode(rule), type=Agreement) == rule
    names = {"close": close, "detections": detections, "image": image}
    assert eval(str(rule), names) == rule


@pytest.mark.parametrize(
    "text",
    [
        "close(rtol=0)", "close(rtol=0.0, atol=0.0)", "close(rtol=-1e-9)", "close(rtol=1.0)", "close(rtol=nan)",
        "close(rtol=inf)", "close(atol=inf)", "close(atol=-1.0)", "close(atol=nan)", "close(atol=10**400)",
        "close(rtol=True)", "close(rtol='1e-9')", "close(nan='equal')", "close(nan=[])",
        "detections(threshold=nan, tolerance=1.0)", "detections(threshold=inf, tolerance=1.0)",
        "detections(threshold=5.0, tolerance=-1.0)", "detections(threshold=5.0, tolerance=inf)",
        "detections(threshold=5.0, tolerance=nan)", "detections(threshold=5.0, tolerance=())",
        "detections(threshold=5.0, tolerance=0.0)", "detections(threshold=5.0, tolerance=1.0, rtol=1.0)",
        "detections(threshold=5.0, tolerance='ab')", "detections(threshold=10**400, tolerance=1.0)",
        "image(tolerance=-1)", "image(tolerance=1.5)", "image(tolerance=True)", "image(share=1.0)",
        "image(share=nan)", "image(share=-0.1)", "image(tolerance=70000)",
    ],
)  # fmt: skip
def test_numbers_that_make_no_rule_are_refused_where_they_are_written_and_where_they_arrive(text: str) -> None:
    names = {"close": close, "detections": detections, "image": image, "nan": math.nan, "inf": math.inf}
    with pytest.raises(UsageError, match=r"cannot be|nothing to tolerate"):
        eval(text, names)


@pytest.mark.parametrize(
    "said",
    [
        b'{"rule":"close","rtol":2.0,"atol":0.0,"nan":"same"}', b'{"rule":"close","rtol":0.0,"atol":0,"nan":"same"}',
        b'{"rule":"close","rtol":null,"atol":0.0,"nan":"same"}', b'{"rule":"anything"}', b'{"rtol":0.1}',
        b'{"rule":"close","rtol":0.1,"atol":0.0,"nan":"same","more":1}', b'{"rule":"image","tolerance":-1,"share":0}',
        b'{"rule":"detections","threshold":1e999,"tolerance":[1.0],"rtol":0.1}',
    ],
)  # fmt: skip
def test_a_rule_that_arrives_is_as_carefully_read(said: bytes) -> None:
    with pytest.raises(msgspec.ValidationError if b"1e999" not in said else msgspec.DecodeError):
        msgspec.json.decode(said, type=Agreement)
