"""The board of teams and their pages; and the names that teams have in addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import html5lib
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from dsage import wire
from dsage.errors import NotFound
from dsage_server.store import credit, teams
from dsage_server.store.leases import Caller
from dsage_server.web.public import teams as room
from dsage_server.web.slugs import number_in, slug_of
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
DAY_S = 86400


def wish(world: World, caller: Caller, **said: Any) -> wire.TeamView:
    return world.store.write_now(lambda c: teams.act(c, caller.volunteer, wire.TeamWish(**said), world.now))


@pytest.fixture
def owls(world: World) -> dict[str, Caller]:
    """The team 1, of Ada who leads it and Eve who is not listed, and the team 2 of Bob; work of two weeks."""
    found = {"ada": world.join("ada"), "eve": world.join("shy-heron-106", public=False), "bob": world.join("bob")}
    run = world.submit("Before")
    (unit,) = world.step(run, args=[0], credit_milli=500_000)
    world.compute(unit, "same", found["ada"], found["bob"])
    world.now += DAY_S
    wish(world, found["ada"], do="create", name="100% Night_Owls")
    wish(world, found["eve"], do="join", code=wish(world, found["ada"], do="invite").code)
    wish(world, found["bob"], do="create", name="Ωμέγα")
    for days in (1, 7):
        world.now += days * DAY_S
        (unit,) = world.step(world.submit("Work"), args=[days], credit_milli=10_000 * days)
        world.compute(unit, "same", found["ada"], found["eve"] if days == 1 else found["bob"])
    return found


async def read(client: Client, address: str) -> dict[str, Any]:
    response = await client.get(address)
    assert response.status == 200, address
    data: dict[str, Any] = (await response.json())["data"]
    return data


async def test_the_board_orders_and_finds_teams(world: World, browse: Open, owls: dict[str, Caller]) -> None:
    client = await browse()
    data = await read(client, "/teams.json")
    assert [(line["rank"], line["team"]["slug"], line["members"], line["credit"]) for line in data["teams"]] == [
        (1, "1-100-night-owls", 2, 90.0), (2, "2", 1, 70.0),
    ]  # fmt: skip
    for query, names in (("q=NIGHT", [1]), ("q=%25", [1]), ("q=t_o", [1]), ("q=_w", []), ("q=ωμ", [2])):
        assert [line["team"]["number"] for line in (await read(client, f"/teams.json?{query}"))["teams"]] == names, (
            query
        )
    text = await (await client.get("/teams?sort=credit")).text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert 'aria-sort="descending"><a href="/teams?sort=credit"' in text
    assert (await client.get("/teams?page=2")).status == 404


@pytest.mark.parametrize(
    ("name", "search", "found"),
    [
        ("Die Grünen Bäume", "grun", True), ("Die Grünen Bäume", "GRÜN", True), ("Grunwald", "grün", True),
        ("Grünwald", "gru\u0308n", True), ("Øresund Łódź", "oresund lodz", True), ("Straße", "strasse", True),
        ("Istanbul", "ıstanbul", True), ("Ελλάδα", "ελλαδα", True), ("ガンダム", "カンダム", True),
        ("Die Grünen", "gruen", False), ("Die Grünen", "g_n", False),
    ],
)  # fmt: skip
async def test_a_team_is_found_without_its_accents(
    world: World, browse: Open, name: str, search: str, found: bool
) -> None:
    wish(world, world.join("ada"), do="create", name=name)
    wish(world, world.join("bob"), do="create", name="Others")
    data = await read(await browse(), f"/teams.json?q={quote(search)}")
    assert [line["team"]["name"] for line in data["teams"]] == [name] * found
    assert data["count"] == found


async def test_the_board_has_pages(
    world: World, browse: Open, owls: dict[str, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAGE_ROWS", 1)
    client = await browse()
    data = await read(client, "/teams.json?page=2")
    assert [(line["rank"], line["team"]["number"]) for line in data["teams"]] == [(2, 2)]
    assert 'rel="next" href="/teams?sort=credit&amp;page=2"' in await (await client.get("/teams?sort=credit")).text()


async def test_a_team_shows_the_listed_and_sums_the_others(world: World, browse: Open, owls: dict[str, Caller]) -> None:
    client = await browse()
    data = await read(client, "/team/1-100-night-owls.json")
    assert [line["pseudonym"] for line in data["members"]] == ["ada"]
    assert (data["founder"], data["listed"], data["unlisted"], data["credit"]) == ("ada", 1, 1, 90.0)
    assert data["unlisted_recent"] > 0
    assert data["share"] == pytest.approx(90 / 1160)
    assert data["goal"] == 100
    assert [week["credit"] for week in data["weeks"] if week["valid"]] == [20.0, 70.0], "what they gave before is not"
    world.store.write_now(lambda c: teams.depart(c, owls["eve"].volunteer, world.now))
    later = await read(await browse(), "/team/1.json")
    assert later["weeks"] == data["weeks"], "who leaves takes nothing along"
    assert (later["credit"], later["unlisted"]) == (data["credit"], 0)


async def test_a_team_s_page_is_well_formed_and_names_nobody_who_is_not_listed(
    world: World, browse: Open, owls: dict[str, Caller]
) -> None:
    text = await (await (await browse()).get("/team/1")).text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert "1 member who would rather not be listed" in text
    assert "shy-heron-106" not in text


async def test_a_leader_who_is_not_listed_is_not_named(world: World, browse: Open, owls: dict[str, Caller]) -> None:
    world.store.write_now(lambda c: credit.show(c, owls["ada"].volunteer, False))
    client = await browse()
    data = await read(client, "/team/1.json")
    assert (data["founder"], data["members"], data["unlisted"]) == ("", [], 2)
    assert "None of its members wants to be listed." in await (await client.get("/team/1")).text()


async def test_a_team_that_is_gone_or_renamed(world: World, browse: Open, owls: dict[str, Caller]) -> None:
    world.store.write_now(lambda c: teams.rename(c, 1, "Day Owls"))
    client = await browse()
    assert (await read(client, "/team/1-100-night-owls.json"))["team"]["slug"] == "1-day-owls"
    world.store.write_now(lambda c: teams.close(c, 2, world.now))
    for address in ("/team/2", "/team/9", "/team/x", "/team/1x", "/team/99999999999999999999"):
        assert (await (await browse()).get(address)).status == 404, address


async def test_a_server_without_teams_says_so(world: World, browse: Open) -> None:
    assert "Nobody has founded a team yet." in await (await (await browse()).get("/teams")).text()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Hokkaidō Idle Club", "8-hokkaido-idle-club"),
        ("日本のチーム", "8"),
        ("../../etc/passwd?x=1#y", "8-etc-passwd-x-1-y"),
        ("100 % <b>", "8-100-b"),
    ],
)
def test_a_slug_begins_with_the_number_and_is_plain(name: str, slug: str) -> None:
    assert slug_of(8, name) == slug
    assert number_in(slug) == 8


@pytest.mark.parametrize("slug", ["", "x", "-8", "0", "8x", "٣", "9" * 30])
def test_what_has_no_number_is_no_slug(slug: str) -> None:
    with pytest.raises(NotFound):
        number_in(slug)
