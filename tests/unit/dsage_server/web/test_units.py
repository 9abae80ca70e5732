"""Pages of units and results: nothing until they are over, and then everything that is anybody's to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from sqlalchemy import insert, update

from dsage_server.store import known as known_units
from dsage_server.store.meta import secret
from dsage_server.store.over import over
from dsage_server.store.schema import credit_sum, known, last_word, replica, run, unit
from dsage_server.web.public import units
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
LATER_S = 10 * 86400.0


async def data(client: Client, address: str) -> Any:
    return (await (await client.get(address)).json())["data"]


def told(page: Any) -> dict[str, Any]:
    """What a unit's page says beyond its number."""
    return {name: value for name, value in page.items() if name not in ("unit", "created")}


@pytest.fixture
def work(world: World) -> list[int]:
    """Three units of a run."""
    return world.step(world.submit("Work"), args=["a", "b", "c"])


async def test_no_two_units_that_go_on_differ(world: World, browse: Open, work: list[int]) -> None:
    waiting, answered, disputed = work
    otter, wren, lark = (world.join(name) for name in ("otter", "wren", "lark"))
    world.lease(otter, answered)
    world.report(otter, answered, "secret")
    for caller, value in ((otter, 1), (wren, 2)):
        world.lease(caller, disputed)
        world.report(caller, disputed, value)
    world.lease(lark, disputed)
    client = await browse()
    pages = [told(await data(client, f"/unit/{number}.json")) for number in work]
    assert pages[0] == pages[1] == pages[2]
    assert pages[0]["state"] == "open"
    for number in work:
        text = await (await client.get(f"/unit/{number}")).text()
        for hidden in ("otter", "wren", "lark", "secret", "disagree", "must agree"):
            assert hidden not in text
    assert waiting


async def test_a_valid_unit_is_told_once_nobody_else_can_be_paid(world: World, browse: Open, work: list[int]) -> None:
    otter, wren, lark = (world.join(name) for name in ("otter", "wren", "lark"))
    for caller in (otter, wren):
        world.lease(caller, work[0])
    world.store.write_now(lambda c: c.execute(update(unit).where(unit.c.id == work[0]).values(unsent=1, state="ready")))
    world.lease(lark, work[0])
    for caller in (otter, wren):
        world.report(caller, work[0], "right")
    assert (await data(await browse(), f"/unit/{work[0]}.json"))["state"] == "open"
    world.now += LATER_S
    page = await data(await browse(), f"/unit/{work[0]}.json")
    assert (page["state"], page["answer"]["value"], page["args"]["value"]) == ("valid", "right", "a")
    assert [(copy["pseudonym"], copy["accepted"]) for copy in page["replicas"]] == [
        ("otter", True), ("wren", False), ("lark", False)
    ]  # fmt: skip


async def test_a_result_has_a_page_and_until_its_unit_is_over_not_even_its_unit(
    world: World, browse: Open, work: list[int]
) -> None:
    otter, wren = world.join("otter"), world.join("wren", public=False)
    world.lease(otter, work[0])
    world.report(otter, work[0], "right")
    client = await browse()
    page = await data(client, "/result/1.json")
    assert {name: page[name] for name in ("state", "unit", "run", "title", "copy")} == {
        "state": "open", "unit": None, "run": None, "title": "", "copy": None
    }  # fmt: skip
    world.lease(wren, work[0])
    world.report(wren, work[0], "right")
    client = await browse()
    first, second = await data(client, "/result/1.json"), await data(client, "/result/2.json")
    assert (first["unit"], first["copy"]["pseudonym"], first["answer"]["value"]) == (work[0], "otter", "right")
    assert (second["copy"]["pseudonym"], second["copy"]["accepted"], second["answer"]["value"]) == (
        "a volunteer", False, None
    )  # fmt: skip
    assert "It agrees with the accepted answer" in await (await client.get("/result/2")).text()
    assert (await client.get("/result/3")).status == 404


async def test_who_is_not_listed_is_named_on_no_copy(world: World, browse: Open, work: list[int]) -> None:
    world.compute(work[0], 1, world.join("otter"), world.join("wren"))
    world.store.write_now(lambda c: c.execute(update(credit_sum).values(public=False)))
    assert "otter" not in await (await (await browse()).get(f"/unit/{work[0]}")).text()


def make_adaptive(world: World, number: int, *, lone: bool) -> None:
    """Let a unit be one whose answer may be taken alone, and was if it is `lone`."""
    world.store.write_now(lambda c: c.execute(update(unit).where(unit.c.id == number).values(adaptive=True)))
    if lone:
        other = update(replica).where(replica.c.unit_id == number, replica.c.id != 1).values(state="redundant")
        world.store.write_now(lambda c: c.execute(other))


@pytest.mark.parametrize(("lone", "pool", "shown"), [(False, 0.0, 1), (False, 1.0, 0), (True, 0.0, 0)])
def test_an_adaptive_unit_of_an_open_run_is_told_if_it_cannot_be_asked_again(
    world: World, work: list[int], monkeypatch: pytest.MonkeyPatch, lone: bool, pool: float, shown: int
) -> None:
    world.compute(work[0], 1, world.join("otter"), world.join("wren"))
    make_adaptive(world, work[0], lone=lone)
    monkeypatch.setattr(known_units, "POOL", pool)
    world.store.write_now(lambda c: secret(c, known_units.KEY))
    assert len(world.store.read_now(lambda c: over(c, work, world.now))) == shown


def test_an_answer_taken_alone_is_told_once_last_words_are_checked(world: World, work: list[int]) -> None:
    world.compute(work[0], 1, world.join("otter"), world.join("wren"))
    make_adaptive(world, work[0], lone=True)

    def is_over() -> bool:
        return work[0] in world.store.read_now(lambda c: over(c, work, world.now))

    world.store.write_now(lambda c: c.execute(update(run).values(state="done")))
    assert not is_over(), "nobody has chosen yet whose last words are checked"
    chosen: list[dict[str, Any]] = [{"run_id": 1, "unit_id": None}, {"run_id": 1, "unit_id": work[0]}]
    world.store.write_now(lambda c: c.execute(insert(last_word), chosen))
    assert not is_over()
    world.store.write_now(lambda c: c.execute(last_word.delete().where(last_word.c.unit_id == work[0])))
    assert is_over()
    world.store.write_now(lambda c: c.execute(update(unit).where(unit.c.id == work[0]).values(unsent=1)))
    assert not is_over(), "one more volunteer is to be asked"


async def test_a_known_unit_looks_like_any_other_and_is_explained_at_the_end(
    world: World, browse: Open, work: list[int]
) -> None:
    otter, wren, lark = (world.join(name) for name in ("otter", "wren", "lark"))
    world.compute(work[0], "right", otter, wren)
    again = {"id": 900, "unit_id": work[0], "run_id": 1, "made": world.now, "released": world.now, "replica_id": 3}
    copy = {
        "id": 3, "unit_id": work[0], "host_id": lark.host, "volunteer_id": lark.volunteer, "state": "leased",
        "lease": b"", "leased": world.now, "deadline": world.now + 60, "hard_deadline": world.now + 120,
    }  # fmt: skip
    world.store.write_now(lambda c: (c.execute(insert(known).values(again)), c.execute(insert(replica).values(copy))))
    client = await browse()
    page = await data(client, "/unit/900.json")
    assert told(page) == told(await data(client, f"/unit/{work[1]}.json"))
    assert (await data(client, "/result/3.json"))["state"] == "open"
    world.store.write_now(lambda c: c.execute(update(replica).where(replica.c.id == 3).values(state="valid")))
    assert told(await data(await browse(), "/unit/900.json")) == told(page), "its answer is in"
    assert (await data(await browse(), "/result/3.json"))["state"] == "open"
    world.step(1, finished=True, result=1)
    client = await browse()
    page = await data(client, "/unit/900.json")
    assert (page["reason"], [copy["pseudonym"] for copy in page["replicas"]]) == (units.ASKED_AGAIN, ["lark"])
    assert [copy["pseudonym"] for copy in (await data(client, f"/unit/{work[0]}.json"))["replicas"]] == [
        "otter",
        "wren",
    ]
    assert (await data(client, "/result/3.json"))["unit"] == 900


async def test_a_tile_is_shown_as_what_it_is(world: World, browse: Open) -> None:
    number = world.submit("Picture")
    (one,) = world.step(number, args=[{"width": 4, "height": 6, "top": 2, "bottom": 4}])
    world.compute(one, b"\xff" * 24, world.join("otter"), world.join("wren"))
    text = await (await (await browse()).get(f"/unit/{one}")).text()
    assert '<svg viewBox="0 2 4 2"' in text
    assert "rows 2 to 3 of the picture" in text


async def test_many_pieces_of_bytes_are_counted(world: World, browse: Open) -> None:
    (one,) = world.step(world.submit("Work"), args=[1])
    world.compute(one, [b"ab"] * 9, world.join("otter"), world.join("wren"))
    assert "9 items of bytes, 18 in all" in await (await (await browse()).get(f"/unit/{one}")).text()
