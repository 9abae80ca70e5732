"""Values of every kind on pages: bounded, plain, and never an error of the page."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

from dsage import codec
from dsage_server.web import plain


class Document(msgspec.Struct):
    value: plain.Opened


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({1: {2}, (1, 2): "a"}, {"1": [2], "(1, 2)": "a"}),
        ([Fraction(1, 3), 2j, Decimal("1.50"), date(2020, 2, 3)], ["1/3", "2j", "1.50", "2020-02-03"]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({"a": np.zeros(2, [("x", "<f8"), ("y", "<M8[D]")])}, {"a": [[0.0, "1970-01-01"]] * 2}),
    ],
)
def test_every_value_can_be_shown(value: Any, shown: Any) -> None:
    opened = plain.opened(codec.encode(value), "here")
    assert (opened.value, opened.note) == (shown, "")
    assert msgspec.json.decode(plain.to_json("s", Document(opened)))["data"]["value"]["value"] == shown


def test_what_is_too_much_for_a_page_is_only_named() -> None:
    opened = plain.opened(codec.encode(np.zeros(20_000, "i1")), "here")
    assert opened.value is None
    assert "20,000 numbers" in opened.note
