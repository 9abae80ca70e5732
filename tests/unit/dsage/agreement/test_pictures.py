"""The rule `image`, and the PNG files that it reads: those of an independent writer, and hostile ones."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.agreement import image, png

PIXELS = np.random.default_rng(1).integers(0, 256, (19, 13, 3), np.uint8)
SMOOTH = np.add.outer(np.arange(40), np.arange(64)).astype(np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def file(header: tuple[int, ...], lines: bytes, *more: bytes) -> bytes:
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", *header)) + b"".join(more) + chunk(b"IDAT", zlib.compress(lines))
    return png.SIGNATURE + body + chunk(b"IEND", b"")


def grey(array: Any) -> bytes:
    """Write a grey picture without filters."""
    height, width = array.shape
    return file((width, height, 8, 0, 0, 0, 0), b"".join(b"\0" + row.tobytes() for row in array))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_files_of_an_independent_writer_are_read_as_it_reads_them(mode: str) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed (pip install dsage[desktop])")
    for pixels in (PIXELS, np.dstack([SMOOTH] * 3)):
        picture = pil.fromarray(pixels)
        if mode == "I;16":
            picture = pil.fromarray(pixels[..., 0].astype(np.uint16) * 201)
        elif mode != "RGB":
            picture = picture.convert(mode)
        written = io.BytesIO()
        picture.save(written, "PNG", optimize=mode != "1")
        found = png.read(written.getvalue())
        shown = {"P": "RGBA", "1": "1"}.get(mode, mode)
        told = np.asarray(picture.convert(shown)).reshape(-1).astype(int)
        assert list(found.samples) == told.tolist()
        assert (found.width, found.height) == picture.size


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_filter_is_undone(kind: int, step: int, random: Any) -> None:
    rows = [[random.randrange(256) for _ in range(3 * step)] for _ in range(3)]
    lines, above = b"", [0] * (3 * step)
    for row in rows:
        left = [0] * step + row[:-step]
        corner = [0] * step + above[:-step]
        near = [min((abs(a + b - c - x), i, x) for i, x in enumerate((a, b, c)))[2]
                for a, b, c in zip(left, above, corner, strict=True)]  # fmt: skip
        guess = [[0] * len(row), left, above, [(a + b) // 2 for a, b in zip(left, above, strict=True)], near][kind]
        lines += bytes([kind, *[(x - g) & 255 for x, g in zip(row, guess, strict=True)]])
        above = row
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[step]
    assert list(png.read(file((3, 3, 8, colour, 0, 0, 0), lines)).samples) == [x for row in rows for x in row]


def test_pixels_may_differ_a_little_and_a_few_of_them_much() -> None:
    near = SMOOTH.copy()
    near[:, 0] += 2
    assert image(tolerance=2)(None, grey(SMOOTH), grey(near))
    assert not image(tolerance=1)(None, grey(SMOOTH), grey(near))
    assert image(tolerance=1, share=1 / 64)(None, grey(SMOOTH), grey(near))
    assert not image(tolerance=1, share=1 / 65)(None, grey(SMOOTH), grey(near))


def test_a_pixel_is_counted_once_however_many_channels_differ() -> None:
    other = PIXELS.copy()
    other[3, 4] ^= 128
    assert image(share=1 / (19 * 13))(None, PIXELS, other)
    assert not image(share=0.9 / (19 * 13))(None, PIXELS, other)


def test_a_file_and_an_array_of_the_same_pixels_are_the_same_and_other_forms_are_not() -> None:
    rule = image(tolerance=255, share=0.99)
    assert image()(None, grey(SMOOTH), SMOOTH)
    for other in (SMOOTH.T, SMOOTH.astype(np.uint16), SMOOTH[..., None].repeat(3, axis=2), SMOOTH[:-1]):
        assert not rule(None, SMOOTH, np.ascontiguousarray(other))
    wide = SMOOTH.astype(np.uint16) * 256
    assert image(tolerance=1)(None, wide, wide + 1)
    assert not image()(None, wide, wide + 1)


BAD: dict[str, list[Any]] = {
    "no PNG file": [b"", b"GIF89a", b"\xff\xd8\xff"],
    "ends too early": [grey(SMOOTH)[:-5], grey(SMOOTH) + b"x"],
    "damaged": [grey(SMOOTH)[:-20] + bytes(20), grey(SMOOTH)[:20]],
    "beginning or its end": [png.SIGNATURE, png.SIGNATURE + chunk(b"IEND", b""), grey(SMOOTH)[:-12]],
    "more or fewer pixels": [file((5, 1, 8, 0, 0, 0, 0), bytes(5)), file((5, 1, 8, 0, 0, 0, 0), bytes(7))],
    "at most 16777216": [file((1 << 31, 1 << 31, 8, 0, 0, 0, 0), b""), file((0, 1, 8, 0, 0, 0, 0), b"")],
    "no kind": [file((1, 1, 7, 0, 0, 0, 0), bytes(2)), file((1, 1, 8, 5, 0, 0, 0), bytes(2)),
                file((1, 1, 8, 0, 1, 0, 0), bytes(2)), file((1, 1, 4, 2, 0, 0, 0), bytes(3))],
    "interlaced": [file((1, 1, 8, 0, 0, 0, 1), bytes(2))],
    "filter": [file((1, 1, 8, 0, 0, 0, 0), b"\x05\0")],
    "palette": [file((1, 1, 8, 3, 0, 0, 0), b"\0\x05", chunk(b"PLTE", bytes(9))), file((1, 1, 8, 3, 0, 0, 0),
    bytes(2))],
    "unpacked": [png.SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IDAT", b"xyz")
                 + chunk(b"IEND", b"")],
    "where a PNG file or an array": [5, [1], "text", np.zeros(3), np.zeros((2, 2), "i8")],
    "no picture": [np.zeros(3, "u1"), np.zeros((0, 2), "u1"), np.zeros((1, 1, 1, 1), "u1")],
}  # fmt: skip


@pytest.mark.parametrize(("why", "value"), [(why, value) for why, values in BAD.items() for value in values])
def test_what_is_no_picture_is_refused_with_the_reason(why: str, value: Any) -> None:
    assert why in image().unfit(value)
    assert not image(share=0.99)(None, value, value)


@settings(deadline=None)
@given(st.integers(8, 300), st.binary(max_size=4))
def test_a_file_that_was_changed_anywhere_makes_nothing_fail(at: int, by: bytes) -> None:
    whole = grey(SMOOTH)
    image().unfit(whole[:at] + by + whole[at + len(by) :])


def test_a_bomb_is_not_unpacked() -> None:
    bomb = file((16, 16, 8, 0, 0, 0, 0), bytes(1 << 26))
    tracemalloc.start()
    assert "more or fewer" in image().unfit(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
