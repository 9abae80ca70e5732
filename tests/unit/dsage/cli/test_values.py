"""Values between people and programs."""

from __future__ import annotations

from array import array
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.cli.values import as_json, as_text, decimal, parse_params, shown
from dsage.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n=5", 5),
        ("n=-007", -7),
        ("n=+3", 3),
        ("n=11^150+1", "11^150+1"),
        ("n=", ""),
        ("n=a=b", "a=b"),
        ("n=1.5", "1.5"),
        ("n=1_000", "1_000"),
        ("n=٣", "٣"),
        ("n=0x10", "0x10"),
    ],
)
def test_a_parameter_is_an_integer_if_it_looks_like_one(text: str, value: object) -> None:
    assert parse_params((text,)) == {"n": value}


@pytest.mark.parametrize("pairs", [("n",), ("=5",), ("1n=5",), ("n-m=5",), ("_n=5",), ("n=1", "n=2"), ("",)])
def test_what_is_no_parameter(pairs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        parse_params(pairs)


def test_ten_thousand_digits_are_ordinary() -> None:
    digits = "7" * 10_000
    number = parse_params((f"n={digits}",))["n"]
    assert decimal(number) == digits
    assert as_json({"n": [number]}) == {"n": [digits]}
    assert as_text(number) == digits


@given(st.integers(-(2**70), 2**70))
def test_json_integers_are_exact_or_strings(number: int) -> None:
    told = as_json(number)
    assert told == (number if abs(number) <= 2**53 else str(number))
    assert as_json((True, None, b"x")) == [True, None, b"x"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Fraction(2**60, 3), f"{2**60}/3"),
        (1 - 2j, [1.0, -2.0]),
        ({(1, 2): 3, 4: {5}}, {"[1, 2]": 3, "4": [5]}),
        ({3, 1, 2}, [1, 2, 3]),
        (array("d", [0.5, 1.5]), [0.5, 1.5]),
    ],
)
def test_what_json_has_no_word_for(value: object, told: object) -> None:
    assert as_json(value) == told
    assert as_text(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (15, "15"),
        ("fifteen", "fifteen"),
        (bytes(1500), "1,500 bytes"),
        (None, "null"),
        (True, "true"),
        (2.5, "2.5"),
        ([1, [2, "x"]], "1\n[2, x]"),
        ({"factors": [[2**60, 1]], "unfinished": []}, "factors: [[1152921504606846976, 1]]\nunfinished: []"),
        ([{"a": 1}], "{a: 1}"),
        ({"n": 6, "summary": "6 = 2 · 3\n\x1b[2Junfinished"}, "6 = 2 · 3\n [2Junfinished"),
        ({"summary": 6}, "summary: 6"),
    ],
)
def test_answers_as_text(value: Any, text: str) -> None:
    assert as_text(value) == text


@given(st.text(), st.integers(1, 50))
def test_no_terminal_takes_what_is_shown_for_a_command(text: str, most: int) -> None:
    line = shown(text, most)
    assert len(line) <= most
    assert all(c.isprintable() for c in line)
