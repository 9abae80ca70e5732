"""Pictures: bands joined are the whole, byte for byte; the bytes are the same on every computer."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsage.bundle import pack
from dsage.driver import Driver
from dsage.errors import BundleError, UsageError
from dsage.function import MAX_STATE_BYTES
from dsage.running import Hooks
from dsage.states import RunState
from dsage.testing import MemoryServer
from dsage_projects.render import PovRay, Render, builtin, povray, tracer
from dsage_projects.render.picture import MAX_BYTES, Picture
from dsage_projects.render.png import png

SMALL_SHA256 = "7611c668515f51f712dff442e3c4c4efb674b0ea680f4091deee3576782f45c9"
"""Of the rows of `Render(48, 27)`."""


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    yield
    Hooks.checkpoint = Hooks.progress = Hooks.restored = None


@pytest.fixture
def installed() -> None:
    if shutil.which("povray", path=povray.PLACES) is None:
        if os.environ.get("CI"):
            pytest.fail("POV-Ray is missing, and this is CI")
        pytest.skip("POV-Ray is not installed (apt install povray)")


def painted(picture: Picture) -> bytes:
    server = MemoryServer(picture)
    ended = asyncio.run(Driver(picture, server, 1, sleep=lambda s: asyncio.sleep(0)).drive())
    assert ended.state is RunState.DONE, ended.reason
    assert isinstance(ended.result, bytes)
    return ended.result


def rows_of(file: bytes) -> tuple[int, int, bytes]:
    """Read a PNG file by the book: chunks, checksums, and the one filter that is used."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(file):
        length = int.from_bytes(file[at : at + 4], "big")
        name, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert zlib.crc32(name + data) == int.from_bytes(file[at + 8 + length : at + 12 + length], "big")
        chunks[name] = data
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height = (int.from_bytes(chunks[b"IHDR"][i : i + 4], "big") for i in (0, 4))
    assert chunks[b"IHDR"][8:] == bytes([8, 2, 0, 0, 0])
    lines, raw, above = [], zlib.decompress(chunks[b"IDAT"]), bytes(3 * width)
    for y in range(height):
        line = raw[y * (3 * width + 1) : (y + 1) * (3 * width + 1)]
        assert line[0] == 2
        above = bytes((a + b) % 256 for a, b in zip(line[1:], above, strict=True))
        lines.append(above)
    return width, height, b"".join(lines)


def test_three_uneven_bands_are_the_whole_byte_for_byte() -> None:
    cut, whole = Render(48, 27, bands=4), Render(48, 27, bands=1)
    heights = [unit.args["bottom"] - unit.args["top"] for unit in cut.units()]
    assert len(set(heights)) > 1
    assert painted(cut) == painted(whole) == painted(Render(48, 27, bands=3))


def test_every_computer_paints_these_very_bytes() -> None:
    """Nothing but correctly rounded operations: a hash that differs on some platform is an error of this program."""
    width, height, rows = rows_of(painted(Render(48, 27)))
    assert (width, height) == (48, 27)
    assert hashlib.sha256(rows).hexdigest() == SMALL_SHA256


def test_the_tracer_uses_nothing_that_computers_round_differently() -> None:
    tree = ast.parse(Path(tracer.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert imported - {"annotations", "Final"} == {"floor", "sqrt"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Pow | ast.Import)]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"pow", "sum", "round", "divmod"}


def test_the_picture_shows_something() -> None:
    _, _, rows = rows_of(painted(Render(64, 36, samples=1)))
    sky = rows[: 3 * 64]
    assert all(blue >= red for red, blue in zip(sky[::3], sky[2::3], strict=True))
    assert len({rows[i : i + 3] for i in range(0, len(rows), 3)}) > 500
    assert max(rows) > 240
    assert min(rows) < 60


def test_more_rays_smooth_the_picture_and_do_not_change_it_altogether() -> None:
    coarse, fine = (rows_of(painted(Render(32, 18, samples=n)))[2] for n in (1, 3))
    assert coarse != fine
    assert sum(abs(a - b) for a, b in zip(coarse, fine, strict=True)) / len(fine) < 25


def test_a_stopped_band_goes_on_at_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "CHECKPOINT_S", 0.0)
    args = {"width": 16, "height": 9, "top": 2, "bottom": 9, "samples": 1}
    kept: list[bytes] = []
    shares: list[float] = []
    Hooks.checkpoint, Hooks.progress = kept.append, lambda share, **shows: shares.append(share)
    whole = Render.compute(args)
    assert [len(pixels) for pixels in kept] == [48 * i for i in range(1, 8)]
    assert shares[-1] == 1.0
    for pixels in kept:
        Hooks.restored = pixels
        assert Render.compute(args) == whole


def test_the_driver_goes_on_in_the_middle() -> None:
    picture = Render(24, 14, bands=5, samples=1)
    units = list(picture.units())
    for unit in reversed(units[1:]):
        picture.process_result(unit, Render.compute(unit.args))
    assert picture.result is None
    assert picture.progress()["fraction"] == pytest.approx(12 / 14)
    follower = Render()
    follower.load_state(picture.dump_state())
    follower.process_result(units[0], Render.compute(units[0].args))
    assert follower.result == painted(Render(24, 14, bands=1, samples=1))


def test_the_largest_picture_fits_into_the_drivers_state_even_if_it_is_noise() -> None:
    picture = Render(MAX_BYTES // 3, 1)
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(MAX_BYTES // 32 + 1))
    (unit,) = picture.units()
    picture.painted["0"] = zlib.compress(noise[: MAX_BYTES // 3 * 3])
    assert len(picture.dump_state()) < MAX_STATE_BYTES
    picture.process_result(unit, noise[: MAX_BYTES // 3 * 3])
    assert len(picture.dump_state()) < MAX_STATE_BYTES


@pytest.mark.parametrize("value", [None, b"", b"\0" * 11, "x" * 12, [0] * 12, b"\0" * 13])
def test_what_is_no_band_is_a_lie(value: Any) -> None:
    args = {"width": 2, "height": 9, "top": 3, "bottom": 5}
    assert Picture.verify(args, b"\0" * 12) is None
    assert Picture.verify(args, value) is False
    assert not PovRay.agree(args, b"\0" * 12, value)


@pytest.mark.parametrize(
    "params",
    [
        {"width": 0}, {"height": -1}, {"width": 10_000, "height": 100}, {"samples": 0}, {"samples": 9}, {"bands": -1},
        {"bands": 361},
    ],
)  # fmt: skip
def test_bad_parameters_get_one_sentence(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Render(**params)


@pytest.mark.parametrize("params", [{"pixel_us": -1}, {"pixel_us": 1e9, "bands": 1}, {"pixel_us": float("nan")}])
def test_bad_estimates_get_one_sentence(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PovRay(**params)


def test_bands_take_a_few_seconds_and_are_paid_by_rays() -> None:
    units = list(Render().units())
    assert 3 <= len(units) <= 20
    assert sum(unit.credit for unit in units) == pytest.approx(640 * 360 * 4 * 32e-6 / 60)
    assert all(unit.limits.cpu_s > 10 * 60 * unit.credit for unit in units)


def test_both_classes_are_in_the_gallery() -> None:
    assert pack("render").function is Render
    packed = pack("render:PovRay")
    assert packed.function is PovRay
    assert packed.entry == "dsage_projects.render.povray:PovRay"
    with pytest.raises(BundleError, match="has no class 'Nobody'"):
        pack("render:Nobody")


# -- POV-Ray -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("installed")
def test_povrays_bands_are_the_whole_byte_for_byte() -> None:
    assert painted(PovRay(96, 55, bands=3)) == painted(PovRay(96, 55, bands=1))


@pytest.mark.usefixtures("installed")
def test_a_scene_of_ones_own(tmp_path: Path) -> None:
    scene = tmp_path / "red.pov"
    scene.write_text("#version 3.7;\nglobal_settings { assumed_gamma 1 }\nbackground { rgb <1, 0, 0> }\ncamera { }\n")
    assert rows_of(painted(PovRay(8, 6, scene=str(scene), bands=2))) == (8, 6, bytes([255, 0, 0]) * 48)


@pytest.mark.usefixtures("installed")
def test_a_scene_with_an_error_says_where() -> None:
    Path("broken.pov").write_text("sphere { nonsense }\n")
    Hooks.inputs = {"scene": "broken.pov"}
    try:
        with pytest.raises(UsageError, match=r"POV-Ray ended with [1-9][\s\S]*nonsense"):
            PovRay.compute({"width": 8, "height": 6, "top": 0, "bottom": 6, "own": True})
    finally:
        Hooks.inputs = {}


def test_povray_pictures_agree_within_the_tolerance() -> None:
    args = {"width": 1000, "height": 9, "top": 3, "bottom": 4}
    picture = bytes(range(250)) * 12
    near = bytes(b + 2 for b in picture)
    assert PovRay.agree(args, picture, near)
    stray = bytes([99, 99, 99]) + picture[3:]
    assert PovRay.agree(args, picture, stray)
    assert not PovRay.agree(args, picture, bytes([99, 99, 99, 99]) + picture[4:])
    assert not PovRay.agree(args, picture, bytes(b + 3 for b in picture))


def test_a_computer_without_povray_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(povray, "PLACES", "/nowhere")
    with pytest.raises(UsageError, match="not installed"):
        PovRay.compute({"width": 8, "height": 6, "top": 0, "bottom": 6, "own": False})


def test_an_empty_picture_is_a_file_too() -> None:
    assert rows_of(png(1, 1, b"\1\2\3")) == (1, 1, b"\1\2\3")
