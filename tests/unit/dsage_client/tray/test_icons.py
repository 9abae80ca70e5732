"""The icons: files that others read, and shapes that can be told apart without colour."""

from __future__ import annotations

import io
from itertools import combinations

import pytest
from PIL import Image

from dsage_client.tray import icons
from dsage_client.tray.model import Look


@pytest.mark.parametrize("look", list(Look))
@pytest.mark.parametrize("size", [16, 22, 64])
def test_a_png_holds_the_same_pixels(look: Look, size: int) -> None:
    with Image.open(io.BytesIO(icons.png(look, size))) as picture:
        assert picture.size == (size, size)
        assert picture.convert("RGBA").tobytes() == icons.rgba(look, size)


@pytest.mark.parametrize(("one", "other"), list(combinations(Look, 2)))
def test_any_two_differ_in_shape_and_not_only_in_colour(one: Look, other: Look) -> None:
    size = 22
    shapes = [icons.rgba(look, size)[3::4] for look in (one, other)]
    different = sum(abs(a - b) for a, b in zip(*shapes, strict=True)) / 255
    assert different > 0.04 * size * size


@pytest.mark.parametrize("look", list(Look))
def test_nothing_is_drawn_over_the_edge_and_nothing_is_empty(look: Look) -> None:
    alpha = icons.rgba(look, 44)[3::4]
    assert 0.1 < sum(alpha) / 255 / 44**2 < 0.6


def test_words_are_in_network_order_with_alpha_first() -> None:
    rgba, argb = icons.rgba(Look.WORKING, 22), icons.argb(Look.WORKING, 22)
    middle = 4 * (22 * 8 + 8)
    red, green, blue, alpha = rgba[middle : middle + 4]
    assert (red, green, blue, alpha) == (*icons.GREEN, 255)
    assert argb[middle : middle + 4] == bytes((alpha, red, green, blue))
