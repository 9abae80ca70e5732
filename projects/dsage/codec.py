"""Values as bytes: the one encoding for arguments, results, checkpoints and driver state.

A value is None, bool, int of any size, float, str, bytes, list, tuple, or dict with text keys. The encoding is
MessagePack with sorted keys and shortest forms, so equal values give equal bytes on every machine: that is what
lets a quorum compare answers as bytes. An integer beyond 64 bits travels as extension type 1, big-endian two's
complement, shortest form. A tuple comes back as a list. Nothing here can name a class or run code.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, TypeAlias

import msgspec

from dsage.errors import CodecError

Value: TypeAlias = Any
"""None, bool, int, float, str, bytes, or lists and dicts of them."""

BIG_INTEGER: Final = 1
MAX_DEPTH: Final = 32
"""Deeper nesting than any answer needs, and far from any stack limit."""
MAX_ITEMS: Final = 1 << 19
"""Single values in one: a byte of input can become 80 bytes of objects, so they are counted before they are made."""
SMALL_BYTES: Final = 1 << 16
"""Too short to hold many values."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def encode(value: Value) -> bytes:
    """Return the canonical bytes of `value`. Raises CodecError for anything that is not data."""
    try:
        data = _encoder.encode(_plain(value, 0))
    except UnicodeEncodeError as error:
        raise CodecError(f"text that is not Unicode cannot travel: {error.reason}") from None
    _check_count(data, MAX_ITEMS)
    return data


def decode(data: bytes, *, max_bytes: int | None = None, max_items: int = MAX_ITEMS) -> Value:
    """Return the value that `data` encodes. Raises CodecError for malformed, too deep or too long input."""
    if max_bytes is not None and len(data) > max_bytes:
        raise CodecError(f"{len(data)} bytes are more than the {max_bytes} allowed here")
    _check_count(data, max_items)
    try:
        return _checked(_decoder.decode(data), 0)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
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
        width = _LENGTH_BYTES[first]
        if width:
            position += int.from_bytes(data[position + 1 : position + 1 + width], "big")
        position += _FIXED[first]


def _plain(value: Value, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise CodecError(f"nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else msgspec.msgpack.Ext(BIG_INTEGER, _big(value))
    if kind in (list, tuple):
        return [_plain(item, depth + 1) for item in value]
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise CodecError(f"the dict key {key!r} is not text")
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    raise CodecError(f"a {kind.__module__}.{kind.__qualname__} is not data that can travel")


def _checked(value: Value, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise CodecError(f"nested deeper than {MAX_DEPTH} levels")
    if type(value) is list:
        for item in value:
            _checked(item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise CodecError(f"the dict key {key!r} is not text")
            _checked(item, depth + 1)
    elif value is not None and type(value) not in (bool, int, float, str, bytes):
        raise CodecError(f"a {type(value).__name__} is not data")
    return value


def _big(value: int) -> bytes:
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)


def _extension(code: int, data: memoryview) -> int:
    if code != BIG_INTEGER:
        raise CodecError(f"unknown extension type {code}")
    value = int.from_bytes(data, "big", signed=True)
    if -(2**63) <= value < 2**64 or _big(value) != data:
        raise CodecError("an integer that is not in its shortest form")
    return value


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
