"""Values as bytes: the one encoding for arguments, results, checkpoints and driver state.

A value is None, bool, int of any size, float, complex, str, bytes, list, tuple, set, dict, Fraction, Decimal, date,
datetime, timedelta or a numpy array. The encoding is MessagePack with sorted keys and shortest forms, so equal values
give equal bytes on every machine: that is what lets a quorum compare answers as bytes. What MessagePack lacks travels
as an extension type (`dsage.extensions`). Nothing here can name a class or run code.

What comes back is data, not always of the same type: a tuple comes back as a list (but as a tuple where it is the
member of a set or the key of a dict), a dataclass or msgspec struct as a dict, a namedtuple as a list, an Enum as its
value, a number of numpy's as Python's, any NaN as the one NaN. Annotations turn it back: see `dsage.typed`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from dsage import extensions
from dsage.errors import CodecError
from dsage.extensions import BIG_INTEGER, NESTED, PAIRS, SET, Extension

Value: TypeAlias = Any
"""What the first paragraph above says."""

MAX_DEPTH: Final = 32
"""Deeper nesting than any answer needs, and far from any stack limit."""
MAX_ITEMS: Final = 1 << 19
"""Single values in one: a byte of input can become 80 bytes of objects, so they are counted before they are made."""
SMALL_BYTES: Final = 1 << 16
"""Too short to hold many values."""
FEW: Final = 16
"""Lists no longer than this are not worth a look as a whole."""
NAN: Final = float("nan")

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_ATOMS: Final = frozenset({type(None), bool, str, bytes})
_DECODED: Final = _ATOMS | {int, float}
"""Types of decoded values that need no further look."""


def encode(value: Value, *, name: str = "value") -> bytes:
    """Return the canonical bytes of `value`. Raises CodecError for anything that is not data, and says where it is
    in what the reader knows as `name`: `args[2].size is a function`."""
    try:
        data = _encoder.encode(_plain(value, 0))
    except UnicodeEncodeError as error:
        raise CodecError(f"text that is not Unicode cannot travel: {error.reason}") from None
    except CodecError as error:
        place, reason = _blamed(value, name, error)
        raise CodecError(f"{place} {reason}", hint=error.hint) from None
    _check_count(data, MAX_ITEMS)
    return data


def decode(data: bytes, *, max_bytes: int | None = None, max_items: int = MAX_ITEMS) -> Value:
    """Return the value that `data` encodes. Raises CodecError for malformed, too deep or too long input."""
    if max_bytes is not None and len(data) > max_bytes:
        raise CodecError(f"{len(data)} bytes are more than the {max_bytes} allowed here")
    _check_count(data, max_items)
    try:
        value = _decoder.decode(data)
        return value if type(value) in _DECODED else _checked(value, 0)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CodecError(f"not a value: {error}") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CodecError(f"not a value: {error}") from None


def digest(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def _check_count(data: bytes, most: int) -> None:
    """Raise CodecError if `data` holds more than `most` values: a walk from one to the next that makes no objects.

    Source of the lengths: github.com/msgpack/msgpack, spec.md, "Formats".
    """
    if len(data) <= min(most, SMALL_BYTES):
        return
    position, count, end = 0, 0, len(data)
    while position < end:
        count += 1
        if count > most:
            raise CodecError(f"more than {most} single values in one")
        first = data[position]
        fixed = _FIXED[first]
        width = _LENGTH_BYTES[first]
        code = _CODE_AT[first]
        if code and data[position + code : position + code + 1] in NESTED:
            fixed = code + 1
        elif width:
            position += int.from_bytes(data[position + 1 : position + 1 + width], "big")
        position += fixed


def _plain(value: Value, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise CodecError(f"is nested deeper than {MAX_DEPTH} levels", hint=FLATTER)
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else msgspec.msgpack.Ext(BIG_INTEGER, extensions.big(value))
    if kind is float:
        return value if value == value else NAN
    if kind is list or kind is tuple:
        if len(value) > FEW and _is_plain(value):
            return value
        return [item if type(item) in _ATOMS else _plain(item, depth + 1) for item in value]
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return _pairs(value, depth)
        return {key: item if type(item) in _ATOMS else _plain(item, depth + 1) for key, item in value.items()}
    if kind is set or kind is frozenset:
        members = sorted({_encoder.encode(_plain(member, depth + 1)) for member in value})
        return msgspec.msgpack.Ext(SET, _encoder.encode([msgspec.Raw(member) for member in members]))
    found = extensions.written(value)
    if type(found) is Extension:
        return msgspec.msgpack.Ext(found.code, found.content)
    return _plain(found, depth)


def _is_plain(items: Sequence[Any]) -> bool:
    """Say, faster than one by one, whether all are text and the like, or short integers, or floats without NaN."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return bool(min(items) >= -(2**63) and max(items) < 2**64)
    if kinds == {float}:
        return not math.isnan(sum(items))
    return kinds <= _ATOMS


def _pairs(value: dict[Any, Any], depth: int) -> Any:
    """Return a dict whose keys are not all text. Keys that look the same as data, like 1 and an Enum's 1, are none."""
    pairs = {
        _encoder.encode(_plain(key, depth + 1)): _encoder.encode(_plain(item, depth + 1)) for key, item in value.items()
    }
    if len(pairs) < len(value):
        raise CodecError("has keys that are the same as data", hint="Use keys of one type.")
    flat = [msgspec.Raw(part) for pair in sorted(pairs.items()) for part in pair]
    return msgspec.msgpack.Ext(PAIRS, _encoder.encode(flat))


def _checked(value: Value, depth: int) -> Value:
    """Return a decoded value with its extensions as what they stand for."""
    if depth > MAX_DEPTH:
        raise CodecError(f"nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if kind is list:
        for index, item in enumerate(value):
            if type(item) in _DECODED:
                continue
            checked = _checked(item, depth + 1)
            if checked is not item:
                value[index] = checked
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise CodecError(f"the dict key {key!r} is not text")
            if type(item) not in _DECODED:
                value[key] = _checked(item, depth + 1)
    elif kind is Extension:
        inner = None
        if value.is_nested:
            inner = _decoder.decode(value.content)
            if type(inner) is not list:
                raise CodecError("an extension that holds no list")
            inner = _checked(inner, depth)
        return extensions.read(value, inner)
    elif kind not in _DECODED:
        raise CodecError(f"a {kind.__name__} is not data")
    return value


def _blamed(value: Value, place: str, error: CodecError) -> tuple[str, str]:
    """Find which part of a value cannot travel: where it is, and what is wrong with it."""
    above: list[int] = []
    while True:
        for step, part in _parts(value):
            try:
                _plain(part, len(above) + 1)
            except CodecError as inner:
                above.append(id(value))
                place, value, error = place + step, part, inner
                break
        else:
            return place, error.message
        if id(value) in above:
            return place, "contains itself"


def _parts(value: Value) -> Iterable[tuple[str, Value]]:
    """Return the parts of a container and how each is reached."""
    if isinstance(value, dict):
        keys = [(f" key {_short(key)}", key) for key in value]
        return keys + [
            (f".{k}" if isinstance(k, str) and k.isidentifier() else f"[{_short(k)}]", value[k]) for k in value
        ]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [(f" member {_short(member)}", member) for member in value]
    fields = extensions.fields_of(value)
    return [] if fields is None else _parts(fields)


def _reached(key: Value) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{_short(key)}]"


def _short(value: Value) -> str:
    return repr(value)[:40]


FLATTER: Final = "Give plain data, not objects that refer to one another."


def _extension(code: int, data: memoryview) -> Extension:
    return Extension(code, bytes(data))


_decoder = msgspec.msgpack.Decoder(ext_hook=_extension)

_LENGTH_BYTES: Final = bytes(
    {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}.get(first, 0)
    for first in range(256)
)
"""By first byte: how many bytes hold the length of what follows (bin, ext and str)."""


def _fixed(first: int) -> int:
    if 0xA0 <= first <= 0xBF:
        return 1 + first - 0xA0
    sizes = {
        0xC4: 2, 0xC5: 3, 0xC6: 5, 0xC7: 3, 0xC8: 4, 0xC9: 6, 0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9,
        0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9, 0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18, 0xD9: 2, 0xDA: 3, 0xDB: 5,
        0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5,
    }  # fmt: skip
    return sizes.get(first, 1)


_FIXED: Final = bytes(map(_fixed, range(256)))
"""By first byte: the bytes of a value without what its length counts; of lists and dicts only the head."""

_CODE_AT: Final = bytes(
    {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}.get(first, 0) for first in range(256)
)
"""By first byte of an extension: where its type stands, just before its content."""
