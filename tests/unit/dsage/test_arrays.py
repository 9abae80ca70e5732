"""numpy arrays as data: the same bytes for the same numbers, whatever their layout in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from dsage import codec

PLAIN = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes(
    sizes=(16, 32, 64)
) | hnp.complex_number_dtypes(sizes=(64, 128)) | hnp.unicode_string_dtypes() | hnp.byte_string_dtypes()  # fmt: skip
RECORDS = hnp.array_dtypes(PLAIN, allow_subarrays=True)


def back(array: Any) -> Any:
    return codec.decode(codec.encode(array))


@given(hnp.arrays(PLAIN | RECORDS, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_arrays_come_back(array: Any) -> None:
    again = back(array)
    assert again.shape == array.shape
    assert str(again) == str(array)
    assert codec.encode(again) == codec.encode(array)
    assert again.flags.writeable
    assert again.flags.owndata


@pytest.mark.parametrize(
    "other",
    [
        np.arange(6).reshape(2, 3).astype(">i8"),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(12).reshape(2, 6)[:, ::2] // 2,
        np.arange(6)[::-1][::-1].reshape(2, 3),
    ],
)
def test_order_and_layout_in_memory_do_not_matter(other: Any) -> None:
    assert codec.encode(other) == codec.encode(np.arange(6).reshape(2, 3))


def test_every_nan_is_one_and_padding_is_left_out() -> None:
    odd = np.array([0xFFF8000000000001], dtype="u8").view("f8")
    assert codec.encode(odd) == codec.encode(np.array([np.nan]))
    assert odd.view("u8")[0] == 0xFFF8000000000001
    assert codec.encode(odd.astype("c16")) == codec.encode(np.array([np.nan + 0j]))
    kind = np.dtype([("a", "i1"), ("b", "<f8"), ("c", [("d", "<f4", (2,))])], align=True)
    one, two = np.zeros(3, kind), np.frombuffer(b"\xff" * 3 * kind.itemsize, kind).copy()
    two["a"], two["b"], two["c"]["d"] = 0, 0.0, 0.0
    assert codec.encode(one) == codec.encode(two)
    two["b"], one["b"] = odd[0], np.nan
    assert codec.encode(one) == codec.encode(two)


def test_dates_and_single_numbers() -> None:
    for value in (np.datetime64("2020-02-03T04:05", "ns"), np.timedelta64(3, "D"), np.array(2.5), np.float16(0.1)):
        assert np.array_equal(back(value), value)
    assert back(np.datetime64("NaT")).dtype == np.dtype("<M8")
    assert back({"a": [np.zeros((0, 3))]})["a"][0].shape == (0, 3)
