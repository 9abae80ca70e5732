"""Length-prefixed messages between the host and one call inside a box.

Each has a kind (one byte) and a length (four bytes, big-endian) that is held against the kind's cap before a byte
of the body is read. What arrives is data from a stranger: only `dsage.codec` ever parses it.
"""

from __future__ import annotations

import math
import socket
import struct
from enum import IntEnum
from typing import Any, Final

from dsage import codec
from dsage.errors import CodecError, TooLarge
from dsage.running import MAX_SHOWS

HEADER: Final = struct.Struct("!BI")
FRACTION: Final = struct.Struct("!d")
MAX_DETAIL: Final = 4096
MAX_FAILURE: Final = 1 << 15
"""A reason and a detail of `MAX_DETAIL` characters, whatever alphabet they are in."""
CHUNK: Final = 1 << 18
EACH: Final = "[]"
"""Behind the name of a function: each argument is a list of encoded arguments, of a call of its own."""
MOST_SHOWN: Final = 16
LONGEST_SHOWN: Final = 120
"""Characters of a text that a picture may show; names have as many at most."""


class Kind(IntEnum):
    """What a frame holds."""

    REQUEST = 1
    PROGRESS = 2
    CHECKPOINT = 3
    RESULT = 4
    FAILURE = 5


def pack(kind: Kind, body: bytes) -> bytes:
    """Return the frame as it travels."""
    return HEADER.pack(kind, len(body)) + body


def caps(output_bytes: int) -> dict[Kind, int]:
    """Return the longest body the host takes from a call, by kind."""
    return {
        Kind.PROGRESS: FRACTION.size + MAX_SHOWS,
        Kind.CHECKPOINT: output_bytes,
        Kind.RESULT: output_bytes,
        Kind.FAILURE: MAX_FAILURE,
    }


def opened(header: bytes, allowed: dict[Kind, int]) -> tuple[Kind, int]:
    """Return kind and length that a header announces.

    Raises CodecError for a kind that is not allowed here and TooLarge for a body beyond its cap.
    """
    number, length = HEADER.unpack(header)
    try:
        kind = Kind(number)
        cap = allowed[kind]
    except (ValueError, KeyError):
        raise CodecError(f"a frame of kind {number} is not expected here") from None
    if length > cap:
        raise TooLarge(f"a {kind.name.lower()} of {length} bytes is longer than the {cap} allowed")
    return kind, length


def receive(channel: socket.socket, allowed: dict[Kind, int]) -> tuple[Kind, bytes] | None:
    """Return the next frame from a blocking socket, or None when the other side has closed."""
    header = _exactly(channel, HEADER.size)
    if header is None:
        return None
    kind, length = opened(header, allowed)
    body = _exactly(channel, length)
    return None if body is None else (kind, body)


def failure(body: bytes) -> tuple[str, str]:
    """Return (reason, detail) of a FAILURE frame. Raises CodecError if it holds anything else."""
    value = codec.decode(body)
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)):
        raise CodecError("a failure that is not a reason and a detail")
    return value[0], value[1][-MAX_DETAIL:]


def fraction(body: bytes) -> float | None:
    """Return the share done that a PROGRESS frame tells, None if it is not a number from 0 to 1."""
    if len(body) < FRACTION.size:
        return None
    share: float = FRACTION.unpack_from(body)[0]
    return share if math.isfinite(share) and 0.0 <= share <= 1.0 else None


def progressed(share: float, shows: dict[str, Any]) -> bytes:
    """Return the body of a PROGRESS frame. What is no data, or too much, is left out of it."""
    try:
        told = codec.encode(shows) if shows else b""
    except CodecError:
        told = b""
    return FRACTION.pack(share) + (told if len(told) <= MAX_SHOWS else b"")


def shown(body: bytes) -> dict[str, float | str]:
    """Return what a PROGRESS frame has for a picture: finite numbers and short printable text, `MOST_SHOWN` at most."""
    told = body[FRACTION.size :]
    if not told or len(told) > MAX_SHOWS:
        return {}
    try:
        shows = codec.decode(told)
    except CodecError:
        return {}
    if not isinstance(shows, dict):
        return {}
    good = {name: fact for name, fact in shows.items() if _is_text(name) and (_is_number(fact) or _is_text(fact))}
    return dict(list(good.items())[:MOST_SHOWN])


def _is_text(fact: Any) -> bool:
    return isinstance(fact, str) and len(fact) <= LONGEST_SHOWN and fact.isprintable()


def _is_number(fact: Any) -> bool:
    return isinstance(fact, int | float) and math.isfinite(fact) and abs(fact) < 1 << 53


def _exactly(channel: socket.socket, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        part = channel.recv(min(CHUNK, length - len(data)))
        if not part:
            return None
        data += part
    return bytes(data)
