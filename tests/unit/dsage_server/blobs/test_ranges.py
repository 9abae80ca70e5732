"""Ranges as RFC 9110 has them; what makes no sense is answered with everything, never with an error of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_server.blobs.ranges import Unsatisfiable, parse


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None), ("", None), ("bytes=0-0", (0, 1)), ("bytes=0-9", (0, 10)), ("bytes=0-99", (0, 10)),
        ("bytes=3-", (3, 10)), ("bytes=-3", (7, 10)), ("bytes=-30", (0, 10)), ("bytes = 3 - 5", (3, 6)),
        ("bytes=5-3", None), ("bytes=0-1,4-5", None), ("bytes=0-1, 4-5", None), ("items=0-1", None), ("bytes=-", None),
        ("bytes=--1", None), ("bytes=a-b", None), ("bytes=1.5-2", None), ("bytes=\u0661-\u0662", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)  # fmt: skip
def test_the_part_that_is_asked_for(header: str | None, part: tuple[int, int] | None) -> None:
    assert parse(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999999999-"])
def test_parts_behind_the_end(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse(header, 10)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5", "bytes=0-0"])
def test_nothing_has_no_part(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse(header, 0)


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d{0,30}-\d{0,30}"), st.integers(0, 1 << 40))
def test_any_part_lies_inside(header: str, size: int) -> None:
    try:
        part = parse(header, size)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= size
