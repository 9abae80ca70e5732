from __future__ import annotations

import collections
import dataclasses
import enum
import struct
import sys
from datetime import UTC, timedelta, timezone
from fractions import Fraction
from typing import Any

import gmpy2
import msgspec
import numpy as np
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


# -- what MessagePack has no form for ------------------------------------------------------------------------------


@given(VALUES)
def test_what_messagepack_can_say_is_plain_messagepack(value: Any) -> None:
    if not any(type(part) is int and not -(2**63) <= part < 2**64 for part in parts(value)):
        assert codec.encode(value) == msgspec.msgpack.Encoder(order="deterministic").encode(value)


def parts(value: Any) -> list[Any]:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return [value, *(part for each in inner for part in parts(each))]


KEYS: Any = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.binary(max_size=9) | st.fractions() | st.dates(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=4,
)
DATA: Any = st.recursive(
    KEYS.filter(lambda key: not isinstance(key, tuple | frozenset))
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))))
    | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.sets(KEYS, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(DATA)
def test_data_comes_back_as_it_was(value: Any) -> None:
    data = codec.encode(value)
    back = codec.decode(data)
    assert back == value
    assert codec.encode(back) == data
    assert type(back) is type(value)


@given(st.sets(KEYS, min_size=2), st.randoms())
def test_the_order_in_which_a_set_was_filled_does_not_matter(members: set[Any], random: Any) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert codec.encode(set(shuffled)) == codec.encode(members)
    assert codec.encode(dict.fromkeys(shuffled, 1)) == codec.encode(dict.fromkeys(members, 1))


@dataclasses.dataclass
class Point:
    x: int
    tags: Any = None


class Struct(msgspec.Struct, tag="s", rename="camel"):
    long_name: int


Pair = collections.namedtuple("Pair", "a b")


class Colour(enum.Enum):
    RED = "red"


NAN = struct.pack(">d", float("nan"))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Point(1, [Point(2)]), {"x": 1, "tags": [{"x": 2, "tags": None}]}),
        (Struct(3), {"type": "s", "longName": 3}),
        (Pair(1, 2), [1, 2]),
        (Colour.RED, "red"),
        (collections.OrderedDict(a=1), {"a": 1}),
        (bytearray(b"ab"), b"ab"),
        ((1, (2,)), [1, [2]]),
        (frozenset({1}), {1}),
        (gmpy2.mpz(2**70), 2**70),
        (gmpy2.mpq(1, 3), Fraction(1, 3)),
        (np.float64(0.1), 0.1),
        (np.float32(1.5), 1.5),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.complex64(1j), 1j),
        (np.str_("x"), "x"),
    ],
)
def test_objects_that_are_data_travel_as_data(value: Any, plain: Any) -> None:
    assert codec.encode(value) == codec.encode(plain)
    back = codec.decode(codec.encode(value))
    assert (back, type(back)) == (plain, type(plain))


def test_there_is_one_nan_and_two_zeros() -> None:
    odd = struct.unpack(">d", b"\xff\xf8\x00\x00\x00\x00\x00\x01")[0]
    for value in (odd, [odd], [1.0] * 20 + [odd], {"a": odd}, complex(odd, odd), {odd}):
        data = codec.encode(value)
        assert b"\x00\x01" not in data
        assert NAN in data
    assert codec.encode(-0.0) != codec.encode(0.0)
    assert codec.encode([-0.0] * 20) != codec.encode([0.0] * 20)
    assert codec.encode([float("inf"), float("-inf")] * 20) == msgspec.msgpack.encode(
        [float("inf"), float("-inf")] * 20
    )


def cycle() -> Any:
    inner: list[Any] = [1]
    inner.append({"me": inner})
    return inner


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (print, "args is a builtin_function"),
        ([1, 2, {"name": lambda: 0}], "args[2].name is a function"),
        ({"a b": [object()]}, "args['a b'][0] is of type object"),
        (Point(1, {"k": [type]}), "args.tags.k[0] is a type"),
        ({(1, print): 2}, "args key (1, <built-in function print>)[1] is a builtin"),
        ([{1, Point}], "args[0] member <class"),
        (cycle(), "args[1].me contains itself"),
        ([0, (n for n in ())], "args[1] is a generator"),
        (np.array([object()]), "args is an array of dtype object"),
        ([np.longdouble(1)], "args[0] is an array of dtype float128"),
        ({1: "a", np.int64(1) + 0.5: 2, Colour.RED: 4, "red": 5}, "args has keys that are the same"),
    ],
)
def test_what_cannot_travel_is_named_by_its_place(value: Any, words: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.encode(value, name="args")
    assert words in caught.value.message
    assert caught.value.hint


def test_nesting_has_an_end() -> None:
    deep: Any = 0
    for _ in range(codec.MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(CodecError, match="nested deeper"):
        codec.encode(deep)


# -- hostile extensions ----------------------------------------------------------------------------------------------


def ext(code: int, value: Any) -> bytes:
    content = value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, content))


def nested(code: int, depth: int) -> bytes:
    data = b"\x90"
    for _ in range(depth):
        data = ext(code, b"\x91" + data)
    return data


def array(kind: Any, shape: Any, content: Any = b"") -> bytes:
    return ext(4, [kind, shape, content])


SAME_HASH = 2**61 - 1


@pytest.mark.parametrize(
    "data",
    [
        ext(0, b""), ext(10, b""), ext(-2, b"x"), ext(-1, b"\0\0\0\1"), ext(1, b""), ext(1, b"\0\0"),
        ext(2, b""), ext(2, {}), ext(2, [1, 1]), ext(2, [1, 1.0]), ext(2, [{}]), ext(2, b"\x91"), ext(2, b"\x90\x90"),
        ext(2, 7), ext(3, [1]), ext(3, [1, 2, 1, 3]), ext(3, [{"a": 1}, 2]), ext(3, {1: 2}),
        ext(5, b"12345678"), ext(6, [1]), ext(6, [1, 0]), ext(6, [2, 4]), ext(6, [1, -2]), ext(6, ["1", "2"]),
        ext(7, b"x"), ext(7, b"1_0"), ext(7, b" 1"), ext(7, b"\xff"), ext(8, b"2020-13-01"), ext(8, b"20200101"),
        ext(8, b"2020-01-01T00:00Z"), ext(9, [0, 90000, 0]), ext(9, [10**12, 0, 0]), ext(9, [0.5, 0, 0]),
        nested(2, 40), nested(2, 2000), nested(3, 500), b"\xc9\xff\xff\xff\xff\x02\x90", b"\xc7\x05\x02\x90",
        b"\x81\x01\x02", b"\x81\x90\x02", b"\x81" + ext(1, b"\x40" + bytes(8)) + b"\x00",
        array("|O", [1], b"12345678"), array("O", [1], b"12345678"), array("<f8", [2], b"12345678"),
        array("<f8", [-1], b""), array("<f8", [2**62, 4], b""), array("<f8", [0, 2**62], b""), array("<f8", 1, b""),
        array("<f8", [1.0], b"12345678"), array("<f8", [True], b"12345678"), array("<f8", [1] * 33, b"12345678"),
        array("<f8", [1], "12345678"), array("|S0", [2**40]), array("<U0", [9]), array("|V0", [2**40]), array([], [1]),
        array("<f16", [1], bytes(16)), array("f8,O", [1], bytes(16)), array("<f8,<f8", [1], bytes(16)),
        array([["a", "|O", []]], [1], bytes(8)), array([["a", "<f8"]], [1], bytes(8)), array([[b"a", "<f8", []]], [1]),
        array([["a", "<f8", []], ["a", "<f8", []]], [1], bytes(16)), array([["a", "<f8", [2**40]]], [1], bytes(8)),
        array(7, [1]), array({}, []), array("<M8[7years]", [1], bytes(8)), array("|b1\n", [1], b"1"), ext(4, []),
    ],
    ids=lambda data: data[:24].hex(),
)  # fmt: skip
def test_hostile_extensions_are_no_values(data: bytes) -> None:
    with pytest.raises(CodecError):
        codec.decode(data)
    with pytest.raises(CodecError):
        codec.decode(b"\x91" + data)


@pytest.mark.parametrize("code", [2, 3])
def test_numbers_chosen_to_be_slow_are_refused(code: int) -> None:
    members = [codec.encode(n * SAME_HASH) for n in range(1, 20_001)]
    with pytest.raises(CodecError, match="chosen to be slow"):
        codec.decode(ext(code, b"\xdc" + len(members).to_bytes(2, "big") + b"".join(members)))
    with pytest.raises(CodecError, match="map keys must be"):
        codec.decode(b"\xde" + (10_000).to_bytes(2, "big") + b"".join(members))


def test_values_in_extensions_are_counted_before_they_are_made() -> None:
    members = set(range(70_000))
    data = codec.encode(members)
    assert codec.decode(data, max_items=70_002) == members
    for few in (1000, 69_999):
        with pytest.raises(CodecError, match="more than"):
            codec.decode(data, max_items=few)
    with pytest.raises(CodecError, match="more than"):
        codec.encode(set(range(codec.MAX_ITEMS)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    for code in range(1, 10):
        try:
            codec.encode(codec.decode(ext(code, data)))
        except CodecError:
            continue


def test_an_array_needs_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.encode(np.arange(3))
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(CodecError, match="numpy is not installed") as caught:
        codec.decode(data)
    assert "numpy" in caught.value.hint
