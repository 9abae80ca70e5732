from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage import codec
from dsage.errors import CodecError

VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=70_000),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=40,
)


def count(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(count, value.values()))
    return 1


@given(VALUES)
def test_values_are_counted_before_they_are_made(value: Any) -> None:
    data, number = codec.encode(value), count(value)
    assert codec.decode(data, max_items=number) == value
    if number > 1:
        with pytest.raises(CodecError, match="more than"):
            codec.decode(data, max_items=number - 1)


def test_half_a_million_small_values_are_the_most() -> None:
    with pytest.raises(CodecError, match="more than"):
        codec.encode([0] * codec.MAX_ITEMS)
    for head in (b"\xdd\x00\x10\x00\x00", b""):
        with pytest.raises(CodecError):
            codec.decode(head + b"\x90" * (1 << 20))
    assert codec.decode(codec.encode(bytes(1 << 20))) == bytes(1 << 20)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, [["a", "\ud83d"]]])
def test_text_that_is_not_unicode_cannot_travel(value: Any) -> None:
    with pytest.raises(CodecError, match="not Unicode"):
        codec.encode(value)
