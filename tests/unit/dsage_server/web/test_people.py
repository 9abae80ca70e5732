"""Pages of volunteers who want to be seen: what stands there, with which consent, and that nobody else has one."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from sqlalchemy import insert, update

from dsage_server.store.leases import Caller
from dsage_server.store.schema import discovery, host, known, replica, team, volunteer
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
DAY_S = 86400
ADA, BOB, EVE = "ada-otter-101", "bob-otter-102", "eve-otter-103"


def change(world: World, table: Any, number: int, **values: Any) -> None:
    world.store.write_now(lambda c: c.execute(update(table).where(table.c.id == number).values(values)))


@pytest.fixture
def ada(world: World) -> Caller:
    """Ada wants to be seen and Eve does not; they computed units of two runs on three days, one is being compared."""
    found, eve, bob = world.join(ADA), world.join(EVE, public=False), world.join(BOB)
    for title, credits_ in (("Old", 2), ("<b>New</b>", 70), ("<b>New</b>", 5)):
        run = world.submit(title)
        (unit,) = world.step(run, args=[title], credit_milli=1000 * credits_)
        world.compute(unit, "same", found, eve)
        world.now += 2 * DAY_S
    (open_unit,) = world.step(run, args=["open"])
    world.lease(found, open_unit)
    world.report(found, open_unit, "alone")
    world.lease(bob, open_unit)
    return found


def find(world: World, title: str, people: str, **more: Any) -> None:
    row = {
        "run_id": 1, "unit_id": 1, "title": title, "facts": "{}", "check_line": "", "state": "published", "step": 1,
        "declared": 1.0, "published": world.now, "people": people,
    }  # fmt: skip
    world.store.write_now(lambda c: c.execute(insert(discovery).values(row | more)))


async def page(client: Client, name: str = ADA) -> dict[str, Any]:
    response = await client.get(f"/u/{name}.json")
    assert response.status == 200, await response.text()
    data: dict[str, Any] = (await response.json())["data"]
    return data


async def test_it_says_what_somebody_has_given(world: World, browse: Open, ada: Caller) -> None:
    client = await browse()
    data = await page(client)
    assert (data["credit"], data["valid"], data["rank"], data["people"]) == (77.0, 3, 1, 2)
    assert [bar["credit"] for bar in data["bars"] if bar["valid"]] == [2.0, 70.0, 5.0]
    assert (len(data["bars"]), data["best"]["credit"]) == (60, 70.0)
    assert [line["pseudonym"] for line in data["neighbours"]] == [ADA, BOB]
    levels = [(badge["level"], badge["credits"]) for badge in data["badges"] if badge["project"]]
    assert levels == [(1, 1), (2, 10), (3, 60)]
    assert [(each["level"], each["credits"], each["credit"]) for each in data["ahead"]] == [(4, 600, 77.0)]
    text = await (await client.get(f"/u/{ADA}")).text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert "Gave on 3 of the last 60 days." in text
    assert "523 credits to go" in text
    assert "<b>New" not in text


async def test_things_made_are_units_that_are_over_and_no_checks(world: World, browse: Open, ada: Caller) -> None:
    client = await browse()
    assert [(run["run"], [each["unit"] for each in run["units"]]) for run in (await page(client))["made"]] == [
        (3, [3]), (2, [2]), (1, [1]),
    ]  # fmt: skip
    assert f'<a href="/run/3?of={ADA}">' in await (await client.get(f"/u/{ADA}")).text()
    copy = world.store.read_now(
        lambda c: c.execute(replica.select().where(replica.c.unit_id == 2, replica.c.host_id == ada.host)).one()
    )
    row = {"id": 900, "unit_id": 2, "run_id": 2, "made": 1.0, "released": 1.0, "replica_id": copy.id}
    world.store.write_now(lambda c: c.execute(insert(known).values(row)))
    assert [run["run"] for run in (await page(await browse()))["made"]] == [3, 1]


async def test_discoveries_are_named_with_their_consent_only(world: World, browse: Open, ada: Caller) -> None:
    mine, other = ada.volunteer, ada.volunteer + 10
    find(world, "first", f"[{mine}]")
    find(world, "confirmed", f"[{other},{mine}]")
    find(world, "of another", f"[{mine}{mine},{other}]")
    find(world, "fallen", f"[{mine}]", step=None)
    find(world, "secret", f"[{mine},{other}]", published=None, state="confirmed")
    found = (await page(await browse()))["discoveries"]
    assert sorted((each["title"], each["found"]) for each in found) == [("confirmed", False), ("first", True)]
    change(world, volunteer, mine, public=False)
    assert (await page(await browse()))["discoveries"] == []


async def test_computers_and_country_are_told_with_their_consent_only(world: World, browse: Open, ada: Caller) -> None:
    change(world, host, ada.host, platform="linux-x86_64", cores=12, name="my-secret-box")
    client = await browse()
    data = await page(client)
    assert (data["devices"], data["country"]) == ([], "")
    change(world, volunteer, ada.volunteer, devices=True, country="NZ")
    client = await browse()
    data = await page(client)
    assert (data["devices"], data["country"]) == ([{"platform": "linux-x86_64", "size": "medium"}], "NZ")
    assert "my-secret-box" not in await (await client.get(f"/u/{ADA}")).text()


@pytest.mark.parametrize("form", ["", ".json", ".svg"])
async def test_who_is_not_listed_cannot_be_told_from_nobody(world: World, browse: Open, ada: Caller, form: str) -> None:
    client = await browse()
    said = []
    for name in (EVE, "no-such-999"):
        response = await client.get(f"/u/{name}{form}")
        said.append((response.status, (await response.text()).replace(name, "NAME"), dict(response.headers)))
        said[-1][2].pop("Date")
        said[-1][2].pop("Content-Length")
    assert said[0] == said[1]
    assert said[0][0] == 404
    world.store.write_now(
        lambda c: c.execute(update(volunteer).where(volunteer.c.id == ada.volunteer).values(gone=world.now))
    )
    assert (await client.get(f"/u/{ADA}{form}")).status == 404


async def test_somebody_new_has_a_page_that_is_right_too(world: World, browse: Open) -> None:
    world.join(BOB)
    client = await browse()
    text = await (await client.get(f"/u/{BOB}")).text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert "Gave nothing in the last 60 days." in text
    assert "None yet" in text
    assert "Neighbours" not in text


async def test_certificates_and_badges_are_pictures_with_text_only(world: World, browse: Open, ada: Caller) -> None:
    client = await browse()
    text = await (await client.get(f"/u/{ADA}")).text()
    pictures = [each.replace("&amp;", "&") for each in re.findall(r'href="(/(?:u|badge)/[^"]*\.svg[^"]*)"', text)]
    assert pictures == ["/badge/example/3.svg?app=example%3AExample", "/badge/first-result.svg", f"/u/{ADA}.svg"]
    for address in pictures:
        response = await client.get(address)
        assert (response.status, response.headers["Content-Type"]) == (200, "image/svg+xml")
        body = await response.text()
        root = ElementTree.fromstring(body)
        assert "style" not in body
        assert not {each.tag.partition("}")[2] for each in root.iter()} - {
            "svg",
            "title",
            "rect",
            "path",
            "circle",
            "g",
            "text",
        }
    assert "77.0 credits" in body
    for address in ("/badge/example/11.svg", "/badge/example/0.svg", "/badge/nothing/1.svg", "/badge/nothing.svg"):
        assert (await client.get(address)).status == 404


async def test_the_team_stands_there_while_it_is_there(world: World, browse: Open, ada: Caller) -> None:
    made = {"id": 3, "name": "Owls", "name_key": "owls", "created": 0.0}
    world.store.write_now(lambda c: c.execute(insert(team).values(made)))
    change(world, volunteer, ada.volunteer, team_id=3)
    assert (await page(await browse()))["team"] == {"number": 3, "name": "Owls", "slug": "3-owls"}
    change(world, team, 3, gone=1.0)
    assert (await page(await browse()))["team"] is None
