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

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def encode(value: Value) -> bytes:
    """Return the canonical bytes of `value`. Raises CodecError for anything that is not data."""
    return _encoder.encode(_plain(value, 0))


def decode(data: bytes, *, max_bytes: int | None = None) -> Value:
    """Return the value that `data` encodes. Raises CodecError for malformed, too deep or too long input."""
    if max_bytes is not None and len(data) > max_bytes:
        raise CodecError(f"{len(data)} bytes are more than the {max_bytes} allowed here")
    try:
        return _checked(_decoder.decode(data), 0)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CodecError(f"not a value: {error}") from None


def digest(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


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
