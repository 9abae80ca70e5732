"""Reading PNG files that strangers made: nothing is unpacked before the header has said how much it may be.

Source: W3C Recommendation "Portable Network Graphics (PNG) Specification (Third Edition)", sections 5, 7 and 9.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MAX_PIXELS: Final = 1 << 24
"""Of one picture: 16 million."""
SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PALETTE: Final = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels from the top left, row by row, channel by channel, each from 0 to `most`."""

    width: int
    height: int
    channels: int
    most: int
    samples: Sequence[int]

    @property
    def form(self) -> tuple[int, int, int, int]:
        """What two pictures must share to be compared at all."""
        return self.width, self.height, self.channels, self.most


def read(data: bytes) -> Picture:
    """Return the pixels of a PNG file; a palette's as red, green, blue and opacity.

    Raises ValueError, whose message ends "the answer ...", for what is none, is interlaced or has more than MAX_PIXELS.
    """
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13 or chunks[-1][0] != b"IEND":
        raise ValueError("is a PNG file without its beginning or its end")
    width, height, depth, colour, method, filtering, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if not width or not height or width * height > MAX_PIXELS:
        raise ValueError(f"is a picture of {width} x {height} pixels; at most {MAX_PIXELS} are compared")
    if depth not in _DEPTHS.get(colour, ()) or method or filtering:
        raise ValueError("is a PNG file of no kind that is known")
    if interlaced:
        raise ValueError("is an interlaced PNG file, which is not read: write it without interlacing")
    channels = _CHANNELS[colour]
    length = (width * channels * depth + 7) // 8
    packed = b"".join(content for name, content in chunks if name == b"IDAT")
    lines = _unpacked(packed, height * (length + 1))
    flat = _unfiltered(lines, height, length, max(1, channels * depth // 8))
    samples = _samples(flat, width, height, channels, depth)
    if colour != PALETTE:
        return Picture(width, height, channels, (1 << depth) - 1, samples)
    return Picture(width, height, 4, 255, _coloured(samples, dict(chunks)))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        raise ValueError("is no PNG file")
    at = len(SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise ValueError("is a PNG file that ends too early")
        length, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) != 4 or zlib.crc32(name + content) != int.from_bytes(check, "big"):
            raise ValueError("is a PNG file that is damaged")
        yield name, content
        at += 12 + length


def _unpacked(packed: bytes, length: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        lines = unpacking.decompress(packed, length + 1)
    except zlib.error:
        raise ValueError("is a PNG file whose pixels cannot be unpacked") from None
    if len(lines) != length:
        raise ValueError("is a PNG file with more or fewer pixels than it says")
    return lines


def _unfiltered(lines: bytes, height: int, length: int, step: int) -> bytes:
    """Return the rows without their filter's byte. `step` is how many bytes to the left a pixel's neighbour lies."""
    above = bytearray(length)
    flat = bytearray()
    for start in range(0, height * (length + 1), length + 1):
        row = bytearray(lines[start + 1 : start + 1 + length])
        kind = lines[start]
        if kind == 1:
            for i in range(step, length):
                row[i] = (row[i] + row[i - step]) & 255
        elif kind == 2:
            row = bytearray([(x + y) & 255 for x, y in zip(row, above, strict=True)])
        elif kind == 3:
            for i in range(length):
                left = row[i - step] if i >= step else 0
                row[i] = (row[i] + ((left + above[i]) >> 1)) & 255
        elif kind == 4:
            _paeth(row, above, step)
        elif kind:
            raise ValueError("is a PNG file with a filter that there is not")
        flat += row
        above = row
    return bytes(flat)


def _paeth(row: bytearray, above: bytearray, step: int) -> None:
    """Undo the filter of the neighbour that is nearest to left + above - corner. Source: section 9.4."""
    for i in range(min(step, len(row))):
        row[i] = (row[i] + above[i]) & 255
    for i in range(step, len(row)):
        left, up, corner = row[i - step], above[i], above[i - step]
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        nearest = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
        row[i] = (row[i] + nearest) & 255


def _samples(flat: bytes, width: int, height: int, channels: int, depth: int) -> Sequence[int]:
    if depth == 8:
        return flat
    if depth == 16:
        wide = array("H", flat)
        if sys.byteorder == "little":
            wide.byteswap()
        return wide
    length = len(flat) // height
    each = [[(byte >> shift) & ((1 << depth) - 1) for shift in range(8 - depth, -1, -depth)] for byte in range(256)]
    samples = bytearray()
    for start in range(0, len(flat), length):
        row = bytearray().join([bytes(each[byte]) for byte in flat[start : start + length]])
        samples += row[: width * channels]
    return bytes(samples)


def _coloured(samples: Sequence[int], chunks: dict[bytes, bytes]) -> bytes:
    palette, opacity = chunks.get(b"PLTE", b""), chunks.get(b"tRNS", b"")
    if not palette or len(palette) % 3 or len(opacity) > len(palette) // 3 or max(samples) >= len(palette) // 3:
        raise ValueError("is a PNG file whose palette does not fit its pixels")
    colours = [palette[3 * i : 3 * i + 3] + (opacity[i : i + 1] or b"\xff") for i in range(len(palette) // 3)]
    return b"".join([colours[sample] for sample in samples])
