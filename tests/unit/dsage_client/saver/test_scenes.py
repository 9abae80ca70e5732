"""Scenes: the same picture for the same moment, names that stay, nothing that flickers when calm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage_client.saver.scenes import SCENES, picture
from dsage_client.saver.scenes.curves import multiples
from dsage_client.saver.scenes.sight import Sight
from dsage_client.saver.shapes import Box, Dot, Line, mixed, through

SIGHT = Sight(width=1800, height=1000, fraction=0.4, shows={"curve": 3}, seed=7)
NAMES = [*SCENES, ""]


@pytest.mark.parametrize("scene", NAMES)
def test_a_moment_has_one_picture(scene: str) -> None:
    assert picture(scene, SIGHT, 1234.5) == picture(scene, SIGHT, 1234.5)


@pytest.mark.parametrize("scene", NAMES)
def test_names_and_their_order_stay(scene: str) -> None:
    names = list(picture(scene, SIGHT, 0.0))
    for sight in (SIGHT, replace(SIGHT, fraction=1.0), replace(SIGHT, awake=False, seed=9), replace(SIGHT, shows={})):
        for seconds in (0.1, 77.7, 5000.0, 999_999.9):
            assert list(picture(scene, sight, seconds)) == names


@pytest.mark.parametrize("scene", NAMES)
def test_something_moves_within_seconds_and_everything_within_minutes(scene: str) -> None:
    first = picture(scene, SIGHT, 1000.0)
    assert picture(scene, SIGHT, 1005.0) != first
    later = [picture(scene, SIGHT, 1000.0 + 97.0 * step) for step in range(1, 9)]
    shining = [name for name, shape in first.items() if not (isinstance(shape, Dot) and shape.x < 0)]
    still = [name for name in shining if all(each[name] == first[name] for each in later)]
    assert [name for name in still if not _is_hidden(first[name])] == []


def _is_hidden(shape: object) -> bool:
    return isinstance(shape, Line) and max(shape.points) < 0


@pytest.mark.parametrize("scene", NAMES)
def test_a_calm_picture_changes_little_from_one_second_to_the_next(scene: str) -> None:
    sight = replace(SIGHT, calm=True)
    changed = []
    for second in range(40):
        before, after = picture(scene, sight, 1000.0 + second), picture(scene, sight, 1001.0 + second)
        changed.append(sum(before[name] != after[name] for name in before) / len(before))
    quick = []
    for second in range(40):
        before, after = picture(scene, SIGHT, 1000.0 + second), picture(scene, SIGHT, 1001.0 + second)
        quick.append(sum(before[name] != after[name] for name in before) / len(before))
    assert sum(changed) <= 0.6 * sum(quick)


@pytest.mark.parametrize("scene", ["tiles", ""])
def test_more_done_is_more_light(scene: str) -> None:
    def light(fraction: float) -> int:
        shapes = picture(scene, replace(SIGHT, fraction=fraction), 50.0).values()
        return sum(int(each.colour[3:5], 16) for each in shapes if isinstance(each, Dot | Box))

    assert light(0.0) < light(0.4) < light(1.0)


def test_the_tallest_line_stands_where_the_unit_is() -> None:
    def peak(fraction: float) -> int:
        line = picture("spectrum", replace(SIGHT, fraction=fraction), 0.0)["line0"]
        assert isinstance(line, Line)
        return min(zip(line.points[1::2], line.points[::2], strict=True))[1]

    assert peak(0.1) < peak(0.5) < peak(0.9)


@pytest.mark.parametrize("scene", NAMES)
def test_who_does_not_compute_shines_less(scene: str) -> None:
    def light(awake: bool) -> int:
        shapes = picture(scene, replace(SIGHT, awake=awake), 50.0).values()
        return sum(int(each.colour[i : i + 2], 16) for each in shapes if not hasattr(each, "fill") for i in (1, 3, 5))

    assert light(False) < light(True) or scene == "curves"


FACTS = st.dictionaries(st.text(max_size=9), st.integers() | st.floats() | st.text(max_size=9), max_size=4)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(NAMES), st.integers(2, 8000), st.integers(2, 5000), st.floats(0, 1),
    st.fixed_dictionaries({}, optional={"curve": st.floats(-1e15, 1e15) | st.integers(-(2**53), 2**53)}) | FACTS,
    st.integers(0, 2**62), st.floats(0, 1e6), st.booleans(),
)  # fmt: skip
def test_no_app_and_no_window_breaks_a_picture(
    scene: str,
    width: int,
    height: int,
    fraction: float,
    shows: dict[str, object],
    seed: int,
    seconds: float,
    calm: bool,
) -> None:
    sight = Sight(width=width, height=height, fraction=fraction, shows=shows, seed=seed, calm=calm)
    for shape in picture(scene, sight, seconds).values():
        assert not isinstance(shape, Line) or all(abs(number) < 100_000 for number in shape.points)


@pytest.mark.parametrize(("a", "b"), [(-1.7, 0.9), (-2.4, 1.5), (-0.95, 0.3), (0.5, 1.0)])
def test_the_points_lie_on_the_curve_and_each_is_the_one_before_and_the_first(a: float, b: float) -> None:
    points = multiples(a, b, 12)
    assert len(points) == 12
    for x, y in points:
        assert y * y == pytest.approx(x**3 + a * x + b, rel=1e-4, abs=1e-4)
    (x1, y1), (x2, y2), (x3, y3) = points[0], points[4], points[5]
    assert (x2 - x1) * (-y3 - y1) == pytest.approx((x3 - x1) * (y2 - y1), rel=1e-4, abs=1e-4)


def test_colours_are_mixed() -> None:
    assert mixed("#000000", "#ffffff", 0.5) == "#808080"
    assert mixed("#000000", "#ffffff", 7) == "#ffffff"
    assert through(("#000000", "#ff0000", "#ffffff"), 0.5) == "#ff0000"
