"""A picture as a PNG file. Source: the PNG specification (ISO/IEC 15948), sections 5, 9.2 and 11.2."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise


def png(width: int, height: int, pixels: bytes) -> bytes:
    """Return rows of red, green and blue bytes as a PNG file."""
    size = 3 * width
    rows = [bytes(size), *(pixels[i * size : (i + 1) * size] for i in range(height))]
    filtered = (b"\2" + bytes((a - b) & 255 for a, b in zip(row, above, strict=True)) for above, row in pairwise(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(filtered), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
