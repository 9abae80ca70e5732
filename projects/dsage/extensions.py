"""What MessagePack has no form for: extension types, and objects that are plain data in disguise.

| type | what | content |
|---|---|---|
| 1 | an integer beyond 64 bits | big-endian two's complement, shortest form |
| 2 | a set | a list of its members, sorted by their bytes |
| 3 | a dict whose keys are not all text | a list of key, value, key, value, ..., sorted by the keys' bytes |
| 4 | a numpy array | a list: kind, shape, content (see `dsage.arrays`) |
| 5 | a complex number | two big-endian doubles |
| 6 | a Fraction | a list: numerator, denominator, in lowest terms |
| 7 | a Decimal | its text |
| 8 | a date or datetime | its ISO 8601 text; an aware one keeps its offset |
| 9 | a timedelta | a list: days, seconds, microseconds |
"""

from __future__ import annotations

import operator
import struct
import sys
import types
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Rational
from typing import Any, Final

import msgspec

from dsage.errors import CodecError

BIG_INTEGER: Final = 1
SET: Final = 2
PAIRS: Final = 3
ARRAY: Final = 4
COMPLEX: Final = 5
FRACTION: Final = 6
DECIMAL: Final = 7
TIME: Final = 8
DURATION: Final = 9
NESTED: Final = frozenset(bytes([code]) for code in (SET, PAIRS, ARRAY, FRACTION, DURATION))
"""Types whose content is a value itself: a list."""
MAX_SAME_HASH: Final = 64
"""Members of one set that have the same hash: otherwise a few megabytes of chosen numbers keep a computer busy for
hours."""

_TWO_DOUBLES: Final = struct.Struct(">dd")
_NAN: Final = float("nan")


@dataclass(slots=True, eq=False)
class Extension:
    """An extension type as it travels; no key of a dict, so it cannot be hashed."""

    code: int
    content: bytes

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_nested(self) -> bool:
        """Whether the content is a list of values."""
        return bytes([self.code & 0xFF]) in NESTED


def big(value: int) -> bytes:
    """Return an integer as big-endian two's complement in its shortest form."""
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)


# -- on the way in ---------------------------------------------------------------------------------------------------


def written(value: Any) -> Any:
    """Return an Extension, or a plainer value that stands for this one. Raises CodecError if it is not data."""
    kind = type(value)
    if kind is complex:
        return Extension(COMPLEX, _TWO_DOUBLES.pack(*(x if x == x else _NAN for x in (value.real, value.imag))))
    if kind is Fraction:
        return Extension(FRACTION, _list([value.numerator, value.denominator]))
    if kind is Decimal:
        return Extension(DECIMAL, str(value).encode())
    if isinstance(value, datetime):
        return Extension(TIME, _offset_only(value).isoformat().encode())
    if isinstance(value, date):
        return Extension(TIME, value.isoformat().encode())
    if isinstance(value, timedelta):
        return Extension(DURATION, _list([value.days, value.seconds, value.microseconds]))
    parts = fields_of(value)
    return parts if parts is not None else _simpler(value)


def fields_of(value: Any) -> dict[str, Any] | list[Any] | None:
    """Return a dataclass or msgspec struct as data: as a dict, or a list where it is defined as one."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        config = kind.__struct_config__
        items = [getattr(value, name) for name in kind.__struct_fields__]
        if config.array_like:
            return items if config.tag is None else [config.tag, *items]
        tagged = {} if config.tag is None else {config.tag_field: config.tag}
        return tagged | dict(zip(kind.__struct_encode_fields__, items, strict=True))
    if not is_dataclass(value) or isinstance(value, type):
        return None
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _simpler(value: Any) -> Any:
    """Return what an object of another type stands for."""
    if isinstance(value, Enum):
        return value.value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _from_numpy(value, numpy)
    for plain in _PLAIN:
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    try:
        return operator.index(value)
    except TypeError:
        pass
    if isinstance(value, Rational):
        parts = (part() if callable(part) else part for part in (value.numerator, value.denominator))
        return Fraction(*map(int, parts))
    raise _no_data(value)


_PLAIN: Final[tuple[Any, ...]] = (str, bytes, float, complex, list, tuple, dict, set, frozenset)
"""Types whose subclasses travel as they themselves do."""


def _from_numpy(value: Any, numpy: Any) -> Any:
    """Return a number of numpy's as Python's, so that it is the same data whichever of them it was."""
    if isinstance(value, numpy.generic) and value.dtype.kind in "biufcSU" and value.dtype.char not in "gG":
        return value.item()
    from dsage import arrays

    return Extension(ARRAY, _list(arrays.packed(numpy.asanyarray(value))))


def _offset_only(value: datetime) -> datetime:
    """Return a datetime whose zone, if it has one, is nothing but its offset at that time."""
    offset = value.utcoffset()
    zone = None if offset is None else timezone(offset)
    return datetime.combine(value.date(), value.time(), zone)


def _list(values: Any) -> bytes:
    from dsage import codec

    return codec.encode(list(values))


def _no_data(value: Any) -> CodecError:
    kind = type(value)
    for types_, hint in _HINTS:
        if isinstance(value, types_):
            return CodecError(f"is a {kind.__name__}, which cannot travel", hint=hint)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return CodecError(f"is of type {name}, which is not data that can travel")


_HINTS: Final[list[tuple[Any, str]]] = [
    (
        (types.FunctionType, types.BuiltinFunctionType, types.MethodType),
        "Code does not travel as data: call it, or choose it by a name.",
    ),
    (types.GeneratorType, "Make a list of it: list(...)."),
    (range, "Make a list of it, or pass where it starts and ends."),
    (type, "Pass an instance, or choose the class by a name."),
    (types.ModuleType, "Import it where it is used."),
]


# -- on the way out --------------------------------------------------------------------------------------------------


def read(found: Extension, inner: list[Any] | None) -> Any:
    """Return the value of an extension; `inner` is its content where that is a list. Raises CodecError."""
    if inner is not None:
        return _read_nested(found.code, inner)
    if found.code == BIG_INTEGER:
        return _read_big(found.content)
    if found.code == COMPLEX and len(found.content) == _TWO_DOUBLES.size:
        return complex(*_TWO_DOUBLES.unpack(found.content))
    if found.code == DECIMAL:
        return Decimal(_text_of(found, str(Decimal(found.content.decode()))))
    if found.code == TIME:
        text = found.content.decode()
        when = datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
        _text_of(found, when.isoformat())
        return when
    raise CodecError(f"unknown extension type {found.code}")


def _text_of(found: Extension, text: str) -> str:
    if text.encode() != found.content:
        raise CodecError(f"{found.content[:40]!r} is not how a value of extension type {found.code} is written")
    return text


def _read_nested(code: int, inner: list[Any]) -> Any:
    if code == SET:
        members = [_frozen(member) for member in inner]
        _check_hashes(members)
        return _whole(set(members), len(inner))
    if code == PAIRS and len(inner) % 2 == 0:
        keys = [_frozen(key) for key in inner[::2]]
        _check_hashes(keys)
        return _whole(dict(zip(keys, inner[1::2], strict=True)), len(keys))
    if code == ARRAY and len(inner) == 3:
        from dsage import arrays

        return arrays.unpacked(*inner)
    if code == FRACTION and len(inner) == 2 and all(type(part) is int for part in inner):
        value = Fraction(*inner)
        if [value.numerator, value.denominator] == inner:
            return value
    if code == DURATION and len(inner) == 3 and all(type(part) is int for part in inner):
        length = timedelta(*inner)
        if [length.days, length.seconds, length.microseconds] == inner:
            return length
    raise CodecError(f"what extension type {code} holds is none of it")


def _read_big(data: bytes) -> int:
    value = int.from_bytes(data, "big", signed=True)
    if -(2**63) <= value < 2**64 or big(value) != data:
        raise CodecError("an integer that is not in its shortest form")
    return value


def _frozen(value: Any) -> Any:
    """Return a member of a set or a key of a dict as something that can be one."""
    kind = type(value)
    if kind is list:
        return tuple(map(_frozen, value))
    if kind is set:
        return frozenset(value)
    if kind is dict or not hasattr(value, "__hash__") or value.__hash__ is None:
        raise CodecError(f"a {kind.__name__} cannot be the member of a set or the key of a dict")
    return value


def _check_hashes(members: list[Any]) -> None:
    if len(members) > MAX_SAME_HASH and max(Counter(map(hash, members)).values()) > MAX_SAME_HASH:
        raise CodecError("a set or dict whose members were chosen to be slow")


def _whole(container: Any, expected: int) -> Any:
    if len(container) != expected:
        raise CodecError("a set or dict that holds a member twice")
    return container
