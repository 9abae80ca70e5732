"""The leaderboard as visitors ask for it: times, filters, orders, names, and their own place."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import html5lib
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from sqlalchemy import insert, update

from dsage_server.store import visits
from dsage_server.store.leases import Caller
from dsage_server.store.schema import host, team, volunteer
from dsage_server.store.visits import Role
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
DAY_S = 86400


def change(world: World, table: Any, number: int, **values: Any) -> None:
    world.store.write_now(lambda c: c.execute(update(table).where(table.c.id == number).values(values)))


@pytest.fixture
def people(world: World) -> dict[str, Caller]:
    """Five who want to be seen and two who do not; the first three earned 1, 3 and 2 credits, each some days later."""
    names = ("amber-otter-101", "brisk-otter-102", "calm-wren-103", "daring-ibis-104", "eager-lark-105")
    found = {name: world.join(name) for name in names}
    found |= {name: world.join(name, public=False) for name in ("hidden-heron-106", "shy-lark-107")}
    for name, credits_, later in zip(names, (1, 3, 2), (0, 40 * DAY_S, 5 * DAY_S), strict=False):
        world.now += later
        run = world.submit("Work", project="even" if credits_ == 2 else "odd")
        (unit,) = world.step(run, args=[credits_], credit_milli=1000 * credits_)
        world.compute(unit, "same", found[name], found["hidden-heron-106"])
    return found


async def board(client: Client, query: str = "") -> dict[str, Any]:
    response = await client.get("/leaderboard.json" + query)
    assert response.status == 200, query
    data: dict[str, Any] = (await response.json())["data"]
    return data


def rows(data: dict[str, Any]) -> list[tuple[int, str, float]]:
    return [(line["rank"], line["pseudonym"].split("-")[0], line["credit"]) for line in data["leaders"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [(1, "calm", 2.0), (2, "brisk", 3.0), (3, "amber", 1.0), (4, "daring", 0.0), (4, "eager", 0.0)]),
        ("?horizon=24h", [(1, "calm", 2.0)]),
        ("?horizon=30d", [(1, "brisk", 3.0), (2, "calm", 2.0)]),
        ("?horizon=all&app=odd", [(1, "brisk", 3.0), (2, "amber", 1.0)]),
        ("?app=even", [(1, "calm", 2.0)]),
        ("?sort=name", [(3, "amber", 1.0), (2, "brisk", 3.0), (1, "calm", 2.0), (4, "daring", 0.0), (4, "eager", 0.0)]),
        ("?q=BRISK", [(2, "brisk", 3.0)]),
        ("?q=nobody", []),
        ("?around=hidden-heron-106", []),
    ],
)
async def test_what_is_asked_for_is_shown(
    world: World, browse: Open, people: dict[str, Caller], query: str, expected: list[tuple[int, str, float]]
) -> None:
    assert rows(await board(await browse(), query)) == expected


async def test_an_app_of_a_project_has_its_board_and_its_link(
    world: World, browse: Open, people: dict[str, Caller]
) -> None:
    run = world.submit("Signs & <wonders>", project="odd", entry="odd:Signs")
    (unit,) = world.step(run, args=[1], credit_milli=500)
    world.compute(unit, "same", people["daring-ibis-104"], people["hidden-heron-106"])
    client = await browse()
    assert rows(await board(client, "?horizon=all&app=odd/odd:Signs")) == [(1, "daring", 0.5)]
    data = await board(client, "?horizon=all&app=odd")
    assert rows(data) == [(1, "brisk", 3.0), (2, "amber", 1.0), (3, "daring", 0.5)]
    assert [(each["name"], each["title"]) for each in data["apps"]] == [
        ("even/example:Example", "Work"), ("odd/odd:Signs", "Signs & <wonders>"), ("odd/example:Example", "Work"),
    ]  # fmt: skip
    text = await (await client.get("/leaderboard?app=odd%2Fodd:Signs")).text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert "<title>Leaderboard: Signs &amp; &lt;wonders&gt; · " in text
    assert "What was earned with “Signs &amp; &lt;wonders&gt;”, an app of the project odd." in text
    assert re.findall(r'<option value="([^"]+)" selected>Signs &amp; &lt;wonders&gt;</option>', text) == [
        "odd/odd:Signs"
    ]
    assert 'href="/leaderboard?horizon=all&amp;app=odd/odd%3ASigns"' in text, "a link that others see the same by"
    assert "Apps of even" not in text, "a project with one app is that app"


async def test_orders_by_other_columns(world: World, browse: Open, people: dict[str, Caller]) -> None:
    run = world.submit("Long ago")
    for unit in world.step(run, args=[1, 2], credit_milli=1):
        world.compute(unit, "same", people["amber-otter-101"], people["hidden-heron-106"])
    client = await browse()
    assert rows(await board(client, "?sort=valid"))[0] == (1, "amber", 1.002)
    assert rows(await board(client, "?sort=credit"))[0] == (1, "brisk", 3.0)
    text = await (await client.get("/leaderboard?sort=valid")).text()
    assert re.findall(r'aria-sort="(\w+)"><a href="([^"]+)"', text) == [("descending", "/leaderboard?sort=valid")]
    assert 'href="/leaderboard?sort=credit"' in text


async def test_only_what_was_told_can_be_asked_for(world: World, browse: Open, people: dict[str, Caller]) -> None:
    amber, brisk, calm = list(people.values())[:3]
    for caller, cores, country, devices in ((amber, 4, "NZ", True), (brisk, 64, "", True), (calm, 64, "NZ", False)):
        change(world, host, caller.host, cores=cores)
        change(world, volunteer, caller.volunteer, country=country, devices=devices)
    client = await browse()
    assert [each[1] for each in rows(await board(client, "?country=NZ"))] == ["calm", "amber"]
    assert [each[1] for each in rows(await board(client, "?device=large"))] == ["brisk"]
    assert [each[1] for each in rows(await board(client, "?device=small&country=NZ"))] == ["amber"]
    assert (await board(client))["countries"] == ["NZ"]
    assert '<abbr class="country" title="New Zealand">NZ</abbr>' in await (await client.get("/leaderboard")).text()


async def test_a_team_has_its_board_and_its_link(world: World, browse: Open, people: dict[str, Caller]) -> None:
    made = {"id": 7, "name": "Hokkaidō <Club>", "name_key": "k", "created": 0.0}
    world.store.write_now(lambda c: c.execute(insert(team).values(made)))
    change(world, volunteer, people["calm-wren-103"].volunteer, team_id=7)
    client = await browse()
    data = await board(client, "?team=7")
    assert (rows(data), data["team"]["slug"]) == ([(1, "calm", 2.0)], "7-hokkaido-club")
    text = await (await client.get("/leaderboard?team=7")).text()
    assert '<a href="/team/7-hokkaido-club"><bdi translate="no">Hokkaidō &lt;Club&gt;</bdi></a>' in text
    assert (await client.get("/leaderboard?team=8")).status == 404


@pytest.mark.parametrize(
    "query",
    [
        "horizon=7d",
        "app=none",
        "app=odd/none",
        "app=even/odd",
        "country=Narnia",
        "country=nz",
        "team=x",
        "device=toaster",
        "sort=last_seen",
    ],
)
async def test_what_there_is_not_is_not_found(world: World, browse: Open, query: str) -> None:
    assert (await (await browse()).get(f"/leaderboard?{query}")).status == 404


async def test_somebody_stands_among_neighbours(world: World, browse: Open, people: dict[str, Caller]) -> None:
    client = await browse()
    text = await (await client.get("/leaderboard?around=calm-wren-103")).text()
    assert re.findall(r'<tr data-key="([a-z]+)-[a-z0-9-]+" class="me" aria-current="true">', text) == ["calm"]
    html5lib.HTMLParser(strict=True).parse(text)
    unknown = await (await client.get("/leaderboard?around=nobody")).text()
    private = await (await client.get("/leaderboard?around=shy-lark-107")).text()
    assert unknown == private.replace("shy-lark-107", "nobody")


async def test_who_is_not_listed_is_summed_where_nothing_is_asked_for(
    world: World, browse: Open, people: dict[str, Caller]
) -> None:
    client = await browse()
    others = (await board(client))["others"]
    assert (others["people"], others["credit"]) == (2, 6.0)
    for query in ("?horizon=30d", "?app=odd", "?q=amber", "?around=amber-otter-101"):
        assert (await board(client, query))["others"] is None


async def test_everybody_finds_their_own_place(world: World, browse: Open, people: dict[str, Caller]) -> None:
    client = await browse()

    async def place(name: str, query: str = "") -> str:
        headers = {}
        if name:
            number = str(people[name].volunteer)
            token = world.store.write_now(lambda c: visits.begin(c, Role.VOLUNTEER, number, "link", world.now))
            headers = {"Cookie": f"__Host-volunteer={token}"}
        answer = await client.get(f"/leaderboard?me=1{query}", headers=headers, allow_redirects=False)
        assert (answer.status, answer.headers["Cache-Control"]) == (303, "no-store")
        return answer.headers["Location"]

    assert await place("") == "/me"
    assert await place("shy-lark-107") == "/me#rank"
    assert await place("calm-wren-103") == "/leaderboard?around=calm-wren-103"
    assert await place("calm-wren-103", "&horizon=30d") == "/leaderboard?horizon=30d&around=calm-wren-103"
    assert await place("calm-wren-103", "&horizon=//evil") == "/leaderboard?around=calm-wren-103"


async def test_the_live_board_is_whole(world: World, browse: Open, people: dict[str, Caller]) -> None:
    client = await browse()
    async with client.get("/leaderboard.live?sort=credit") as response:
        line = b""
        while not line.startswith(b"data: "):
            line = await response.content.readline()
    assert b"brisk-otter-102" in line
