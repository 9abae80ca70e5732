"""A run's page: what it tells while it goes on, what it made, and its units that are over."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from PIL import Image
from sqlalchemy import delete, func, insert, select, update

from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import open_store
from dsage_server.png import png
from dsage_server.retention.archive import archive_run
from dsage_server.store import consents, paintings, public, tiles
from dsage_server.store.leases import Caller
from dsage_server.store.schema import credit_sum, event, replica, run, unit
from dsage_server.web.public import runs
from dsage_server.web.shapes import curve_of, shape_of
from dsage_server.web.testing import SERVER_ID, World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
HOSTILE = "<img src=x onerror=alert(1)>"
LATER_S = 10 * 86400.0


async def read(client: Client, address: str, status: int = 200) -> str:
    response = await client.get(address)
    assert response.status == status, address
    return await response.text()


async def data(client: Client, address: str) -> Any:
    return (await (await client.get(address)).json())["data"]


def band(top: int, bottom: int, colour: bytes, width: int = 4) -> tuple[dict[str, int], bytes]:
    """A tile as a unit asks for it, and the answer."""
    return {"width": width, "height": 6, "top": top, "bottom": bottom}, colour * width * (bottom - top)


@pytest.fixture
def painted(world: World) -> int:
    """A run that paints three bands, of which two are there: one by somebody listed, one not."""
    otter, wren, hidden = (world.join(name, public=name != "hidden") for name in ("otter", "wren", "hidden"))
    number = world.submit("Picture")
    bands = [band(0, 2, b"\xff\0\0"), band(2, 4, b"\0\xff\0"), band(4, 6, b"\0\0\xff")]
    units = world.step(number, args=[args for args, _ in bands])
    world.compute(units[0], bands[0][1], otter, wren)
    world.compute(units[1], bands[1][1], hidden, wren)
    world.lease(otter, units[2])
    return number


async def test_a_picture_is_put_together_from_what_is_over(world: World, browse: Open, painted: int) -> None:
    client = await browse()
    response = await client.get(f"/run/{painted}/picture.png")
    assert (response.status, response.content_type) == (200, "image/png")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    pixels = np.asarray(Image.open(BytesIO(await response.read())))
    grey = [tiles.EMPTY] * 3
    assert [list(row[0]) for row in pixels] == [[255, 0, 0]] * 2 + [[0, 255, 0]] * 2 + [grey] * 2
    again = await client.get(f"/run/{painted}/picture.png", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


async def test_a_tile_that_somebody_may_still_be_paid_for_is_not_shown(
    world: World, browse: Open, painted: int
) -> None:
    other = update(replica).where(replica.c.id == 2).values(state="expired", hard_deadline=world.now + 60)
    world.store.write_now(lambda c: c.execute(other))
    made = (await data(await browse(), f"/run/{painted}.json"))["picture"]
    assert [tile["unit"] for tile in made["tiles"]] == [2]


async def test_tiles_name_their_makers_if_they_are_listed_and_are_outlined_for_one(
    world: World, browse: Open, painted: int
) -> None:
    client = await browse()
    made = (await data(client, f"/run/{painted}.json"))["picture"]
    assert (made["width"], made["height"]) == (4, 6)
    assert [(tile["unit"], tile["top"], tile["height"], tile["maker"]) for tile in made["tiles"]] == [
        (1, 0, 2, "otter"), (2, 2, 2, "")
    ]  # fmt: skip
    text = await read(client, f"/run/{painted}?of=otter")
    assert text.count('class="own"') == 1
    assert "1 tile of otter is outlined" in text
    assert 'href="/run/1?of=otter"' in text
    nobody = await read(client, f"/run/{painted}?of=hidden")
    assert 'class="own"' not in nobody
    assert "No tile here is known to be of hidden" in nobody
    assert HOSTILE not in await read(client, f"/run/{painted}?of=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")


async def test_who_is_not_listed_any_more_is_on_no_tile(world: World, browse: Open, painted: int) -> None:
    world.store.write_now(lambda c: c.execute(update(credit_sum).values(public=False)))
    made = (await data(await browse(), f"/run/{painted}.json"))["picture"]
    assert {tile["maker"] for tile in made["tiles"]} == {""}


@pytest.fixture
async def kept(world: World, painted: int, tmp_path: Path) -> int:
    """The same run, whole and archived."""
    wren, late = Caller(host=2, volunteer=2, key=b""), world.join("late", public=False)
    world.report(Caller(host=1, volunteer=1, key=b""), 3, b"\0\0\xff" * 8)
    world.compute(3, b"\0\0\xff" * 8, wren)
    world.step(painted, finished=True, result="painted")
    world.now += LATER_S
    world.call(late)
    blobs = Blobs(
        store=world.store, objects=open_store(str(tmp_path), SERVER_ID, min_free_bytes=0), clock=lambda: world.now
    )
    await archive_run(blobs, tmp_path / "archive", painted, lambda: world.now)
    assert world.store.read_now(lambda c: c.execute(select(func.count()).select_from(unit)).scalar()) == 0
    return painted


async def test_an_archived_run_has_no_pages_of_units_and_says_so(
    world: World, browse: Open, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsage_server.web.public.runs.PAGE_ROWS", 1)
    world.store.write_now(lambda c: c.execute(delete(event)))
    client = await browse()
    said = await data(client, f"/run/{kept}/units.json")
    assert (said["counts"]["valid"], said["pages"], said["units"]) == (3, 1, [])
    assert (await client.get(f"/run/{kept}/units?page=2")).status == 404
    text = await read(client, f"/run/{kept}")
    assert "No news of this run is kept any more." in text
    assert "3 units in all" in text


async def test_the_picture_of_an_archived_run_stays_with_its_makers(world: World, browse: Open, kept: int) -> None:
    client = await browse()
    response = await client.get(f"/run/{kept}/picture.png")
    pixels = np.asarray(Image.open(BytesIO(await response.read())))
    assert [list(row[0]) for row in pixels] == [[255, 0, 0]] * 2 + [[0, 255, 0]] * 2 + [[0, 0, 255]] * 2
    made = (await data(client, f"/run/{kept}.json"))["picture"]
    assert (made["kept"], [tile["maker"] for tile in made["tiles"]]) == (True, ["otter", "", "otter"])
    text = await read(client, f"/run/{kept}?of=otter")
    assert text.count('class="own"') == 2
    assert "2 tiles of otter are outlined" in text
    assert re.search(r'<a href="/u/otter">(<[^>]+>)?otter(<[^>]+>)?</a></th><td class="number">2.00</td>', text)
    assert '<a href="/u/otter"' in text
    assert "/unit/" not in text
    assert "This run is archived" in await read(client, f"/run/{kept}/units")


async def test_a_profile_shows_the_picture_with_ones_own_tiles(world: World, browse: Open, kept: int) -> None:
    client = await browse()
    (made,) = (await data(client, "/u/otter.json"))["made"]
    assert (made["run"], made["units"], made["picture"]["kept"]) == (kept, [], True)
    assert [tile["top"] for tile in made["picture"]["tiles"]] == [0, 4]
    text = await read(client, "/u/otter")
    assert f'href="/run/{kept}?of=otter"><svg' in text
    assert "2 tiles of the picture. The run is archived, its picture is kept." in text
    assert "/picture.png" not in await read(client, "/u/wren")


async def test_a_profile_shows_tiles_of_runs_that_are_there(world: World, browse: Open, painted: int) -> None:
    (made,) = (await data(await browse(), "/u/otter.json"))["made"]
    assert [(tile["unit"], tile["top"]) for tile in made["picture"]["tiles"]] == [(1, 0)]
    assert not made["picture"]["kept"]


async def test_who_is_not_listed_any_more_is_on_no_kept_tile(world: World, browse: Open, kept: int) -> None:
    world.store.write_now(lambda c: consents.choose(c, 1, {consents.LEADERBOARD: False}, world.now))
    client = await browse()
    made = (await data(client, f"/run/{kept}.json"))["picture"]
    assert {tile["maker"] for tile in made["tiles"]} == {""}
    assert "otter" not in await read(client, f"/run/{kept}")


@pytest.mark.parametrize(("height", "width"), [(1200, 1000), (4_000_000, 1), (3, 1_200_001), (2001, 1999)])
def test_a_large_picture_is_kept_smaller(height: int, width: int) -> None:
    small = paintings._small(np.full((height, width, 3), 7, dtype=np.uint8))
    assert 0 < small.shape[0] * small.shape[1] <= paintings.MOST_KEPT
    assert set(small.flatten()) == {7}


@pytest.mark.parametrize(
    "args",
    [None, 7, {}, {"width": 4, "height": 6, "top": 0}, {"width": 4, "height": 6, "top": 3, "bottom": 3},
     {"width": 4, "height": 6, "top": 0, "bottom": 7}, {"width": True, "height": 6, "top": 0, "bottom": 1},
     {"width": 10**9, "height": 10**9, "top": 0, "bottom": 1}, {"width": 4, "height": 6, "top": -1, "bottom": 1},
     {"width": 4, "height": 6, "top": 0, "bottom": 1, "left": 2, "right": 5}],
)  # fmt: skip
def test_arguments_that_ask_for_no_tile(args: Any) -> None:
    assert tiles.place(args) is None


async def test_a_run_that_paints_nothing_has_no_picture(world: World, browse: Open) -> None:
    number = world.submit("Sum")
    client = await browse()
    assert (await client.get(f"/run/{number}/picture.png")).status == 404
    assert (await client.get("/run/99/picture.png")).status == 404
    assert (await client.get("/run/99/card.svg")).status == 404
    assert (await data(client, f"/run/{number}.json"))["picture"] is None


async def test_an_answer_that_is_no_tile_is_left_out(world: World, browse: Open) -> None:
    otter, wren = world.join("otter"), world.join("wren")
    number = world.submit("Picture")
    (first,) = world.step(number, args=[band(0, 6, b"\0\0\0")[0]])
    world.compute(first, b"GIF89a", otter, wren)
    response = await (await browse()).get(f"/run/{number}/picture.png")
    assert set(np.asarray(Image.open(BytesIO(await response.read()))).flatten()) == {tiles.EMPTY}


def test_a_png_has_the_pixels_and_right_checksums() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    body = png(pixels)
    assert (np.asarray(Image.open(BytesIO(body))) == pixels).all()
    length = struct.unpack(">I", body[8:12])[0]
    assert struct.unpack(">I", body[16 + length : 20 + length])[0] == zlib.crc32(body[12 : 16 + length])


async def test_the_curve_that_found_a_factor_is_told_with_lines_that_check_it(world: World, browse: Open) -> None:
    otter, wren = world.join("otter"), world.join("wren")
    p, q = 10007, 10**9 + 7
    number = world.submit("Factor", n=p * q)
    args = {"kind": "ecm", "n": p * q, "b1": 2000, "sigma": 4_000_000_000, "curves": 25}
    (found,) = world.step(number, args=[args])
    world.compute(found, {"residues": [b"a"] * 3, "factor": p, "curve": 3}, otter, wren)
    result = {"n": p * q, "factors": [[p, 1], [q, 1]], "found_by": [[p, found]], "unfinished": []}
    world.step(number, finished=True, result=result)
    client = await browse()
    told = (await data(client, f"/run/{number}.json"))["curves"]
    assert told == [{"unit": found, "n": p * q, "factor": p, "b1": 2000, "sigma": 4_000_000_003}]
    for page in (f"/run/{number}", f"/unit/{found}"):
        text = await read(client, page)
        assert "the curve sigma = 4000000003 at the bound 2,000" in text
        assert f"echo {p * q} | ecm -sigma 0:4000000003 2000" in text


def test_the_check_of_a_curve_is_python_that_prints_true() -> None:
    curve = curve_of(1, {"kind": "minus", "n": 91, "b1": 10}, {"residue": b"", "factor": 13})
    assert curve is not None
    said = StringIO()
    with redirect_stdout(said):
        exec(curve.check, {})
    assert (said.getvalue(), curve.again) == ("True\n", "")


@pytest.mark.parametrize(
    ("args", "answer"),
    [(None, None), ({"kind": "ecm"}, {}), ({"kind": "flint", "n": 6}, {"factors": []}),
     ({"kind": "ecm", "n": 91, "b1": 9, "sigma": 7}, {"factor": 0, "curve": 3}),
     ({"kind": "ecm", "n": 91, "b1": 9, "sigma": 7}, {"factor": 5, "curve": 3}),
     ({"kind": "ecm", "n": 91, "b1": "9", "sigma": 7}, {"factor": 13, "curve": 3})],
)  # fmt: skip
def test_answers_that_tell_of_no_curve(args: Any, answer: Any) -> None:
    assert curve_of(1, args, answer) is None


@pytest.mark.parametrize(
    ("value", "name"),
    [([[1.0, 2.0, 9.5], [3.0, 1.0, 4.0]], "detections"), ([[1, 2, 3]], "value"), ([3, 1, 4], "bars"), ([3, 1], "value"),
     ([3, -1, 4], "value"), ([3, 1, float("nan")], "value"), ([[1.0, 2.0, float("inf")]], "value"),
     ([True] * 3, "value"), ([[1.0, 2.0, "x"]], "value"), ([10**400] * 3, "value")],
)  # fmt: skip
def test_shapes_of_lists(value: Any, name: str) -> None:
    assert shape_of(value).name == name


async def test_detections_and_numbers_have_plots(world: World, browse: Open) -> None:
    heard, counted, one = world.submit("Radio"), world.submit("Numbers"), world.submit("One")
    world.step(heard, finished=True, result=[[43.0, 55.0, 5.4], [202.0, 7.0, 10.0]])
    world.step(counted, finished=True, result=[5, 0, 10])
    world.step(one, finished=True, result=[[1.0, 1.0, 0.0]])
    client = await browse()
    text = await read(client, f"/run/{heard}")
    assert "2 candidates; the strongest has 10, at 202 and 7." in text
    plot = text.partition('<figure class="detections">')[2].partition("</figure>")[0]
    assert plot.count("<circle") == 2
    assert re.findall(r'<rect x="0" y="\d+" width="([\d.]+)"', await read(client, f"/run/{counted}")) == [
        "200.0", "0.0", "400.0"
    ]  # fmt: skip
    assert "1 candidate" in await read(client, f"/run/{one}")


async def test_units_that_are_over_are_listed_by_state(
    world: World, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    otter, wren, lark = (world.join(name) for name in ("otter", "wren", "lark"))
    number = world.submit("Work")
    units = world.step(number, args=[1, 2, 3, 4], group="g")
    for each in units[:3]:
        world.compute(each, "same", otter, wren)
    client = await browse()
    assert [line["unit"] for line in (await data(client, f"/run/{number}/units.json"))["units"]] == units[:3]
    assert (await data(client, f"/run/{number}/units.json?state=cancelled"))["units"] == []
    assert (await client.get(f"/run/{number}/units?state=open")).status == 404
    assert (await client.get(f"/run/{number}/units?page=2")).status == 404
    assert (await client.get("/run/77/units")).status == 404
    monkeypatch.setattr(runs, "PAGE_ROWS", 2)
    again = await browse()
    assert [line["unit"] for line in (await data(again, f"/run/{number}/units.json?page=2"))["units"]] == units[2:3]
    assert "page=2" in await read(again, f"/run/{number}/units")
    world.lease(lark, units[3])
    world.step(number, cancel=["g"])
    assert (await data(await browse(), f"/run/{number}/units.json?state=cancelled"))["units"] == [], "it may be paid"
    world.now += LATER_S
    gone = await data(await browse(), f"/run/{number}/units.json?state=cancelled")
    assert [line["unit"] for line in gone["units"]] == units[3:]


async def test_news_of_a_run_name_none_of_its_units(world: World, browse: Open) -> None:
    number = world.submit("Work")
    (one,) = world.step(number, args=[1])
    rows: list[dict[str, Any]] = [
        {"kind": "refused", "text": "unit 1: the answer of otter was found wrong", "unit_id": one},
        {"kind": "own-check", "text": "unit 1 is not computed again", "unit_id": None},
        {"kind": "app-differs", "text": "run 1: answers differ", "unit_id": None},
    ]  # fmt: skip
    world.store.write_now(lambda c: c.execute(insert(event), [{"run_id": number, "at": world.now} | r for r in rows]))
    told = (await data(await browse(), f"/run/{number}.json"))["events"]
    assert [each["kind"] for each in told] == ["app-differs", "submitted"]


async def test_many_open_units_are_told_by_state_and_few_are_not(world: World, browse: Open) -> None:
    otter = world.join("otter")
    number = world.submit("Work")
    units = world.step(number, args=list(range(public.FEW)))
    for each in units[:2]:
        world.lease(otter, each)
    told = (await data(await browse(), f"/run/{number}.json"))["run"]
    assert (told["units"], told["replicas"]) == ({"ready": public.FEW}, {"leased": 2})
    world.compute(units[5], "same", world.join("wren"), world.join("lark"))
    told = (await data(await browse(), f"/run/{number}.json"))["run"]
    assert (told["units"], told["replicas"]) == ({"active": public.FEW - 1, "valid": 1}, {})


async def test_why_a_run_waits_names_no_unit(world: World, browse: Open) -> None:
    otter = world.join("otter")
    number = world.submit("Work")
    (one,) = world.step(number, args=[1])
    world.lease(otter, one)
    world.report(otter, one, 5)
    told = (await data(await browse(), f"/run/{number}.json"))["run"]
    assert told["reason"] == public.NEEDS


async def test_failures_are_counted_by_reason_in_plain_words(world: World, browse: Open) -> None:
    number = world.submit("Work")
    units = world.step(number, args=list(range(5)))
    failed = update(unit).where(unit.c.id.in_(units[:3])).values(state="failed", code="memory", unsent=0)
    world.store.write_now(lambda c: c.execute(failed))
    client = await browse()
    assert (await data(client, f"/run/{number}.json"))["failures"] == [{"code": "memory", "units": 3}]
    assert "it used more memory than it may: 3 units" in await read(client, f"/run/{number}")


async def test_a_card_of_a_result_is_xml_with_nothing_unescaped(world: World, browse: Open) -> None:
    number = world.submit(HOSTILE, note=HOSTILE)
    world.step(number, progress={"summary": HOSTILE}, finished=True, result=1)
    world.store.write_now(lambda c: c.execute(update(run).values(title=HOSTILE)))
    response = await (await browse()).get(f"/run/{number}/card.svg")
    text = await response.text()
    assert response.content_type == "image/svg+xml"
    assert "It is done." in text
    assert "<img" not in text
    ElementTree.fromstring(text)
