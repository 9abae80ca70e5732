"""Pages of projects, and the signed app versions that they name."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from sqlalchemy import insert

from dsage import wire
from dsage.trust.envelope import Envelope, hash_of
from dsage_server.store import credit, ledger, portfolio, projects
from dsage_server.store.schema import discovery
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
HOSTILE = "<script>alert(1)</script>"


async def data(client: Client, address: str) -> Any:
    return (await (await client.get(address)).json())["data"]


def describe(world: World, name: str, **said: str) -> None:
    """Say what a project is for."""
    words = {"title": "", "purpose": "", "ethics": "", "link": "", "by": "Anna"} | said
    view = wire.ProjectView(name=name, changed=world.now, **words)
    world.store.write_now(lambda c: projects.describe(c, view, new=True))


@pytest.fixture
def worked(world: World) -> list[int]:
    """A project whose run has two units, of which one is valid and one failed on a computer."""
    describe(world, "example", title="Examples", purpose="To show", ethics="None", link="https://example.org/x")
    units = world.step(world.submit("Work"), args=[1, 2])
    otter, wren = world.join("otter"), world.join("wren")
    world.compute(units[0], 1, otter, wren)
    world.lease(otter, units[1])
    world.report(otter, units[1], status="failed")
    return units


async def test_all_projects_are_listed_those_that_run_first(world: World, browse: Open, worked: list[int]) -> None:
    describe(world, "idle", title="Idle")
    world.step(world.submit("Quiet", project="bare.1"), finished=True, result=1)
    listed = (await data(await browse(), "/projects.json"))["projects"]
    assert [(each["name"], each["title"], each["runs"], each["running"]) for each in listed] == [
        ("example", "Examples", 1, 1), ("bare.1", "bare.1", 1, 0), ("idle", "Idle", 0, 0)
    ]  # fmt: skip
    assert (listed[0]["units"], listed[0]["share"], listed[0]["credit"]) == ({"active": 1, "valid": 1}, 0.5, 2.0)
    assert (listed[2]["units"], listed[2]["share"]) == ({}, None)


async def test_an_empty_server_says_so(world: World, browse: Open) -> None:
    assert "No project has come here yet" in await (await (await browse()).get("/projects")).text()


async def test_a_project_says_what_it_is_for_and_what_its_app_was_worth(
    world: World, browse: Open, worked: list[int]
) -> None:
    world.step(1, finished=True, result=1)
    world.store.write_now(lambda c: ledger.reverse(c, [1], "wrong", "operator", world.now))
    world.store.write_now(credit.fold)
    client = await browse()
    page = await data(client, "/project/example.json")
    assert (page["ethics"], page["link"], page["researchers"]) == ("None", "https://example.org/x", 1)
    assert (page["project"]["share"], page["again"], page["valid_copies"]) == (1.0, 1, 2)
    (app,) = page["apps"]
    assert (app["rule"], app["bundle"], app["runs"]) == ("exact", "0" * 64, 1)
    assert (app["credit"], app["valid"], app["value"], app["taken_back"]) == (1.0, 1, 1.0, 1)
    text = await (await client.get("/project/example")).text()
    for shown in ("To show", "Anna", "they are the same to the byte", "1 grant", 'href="/run/1"', 'href="/ledger"'):
        assert shown in text
    (board,) = re.findall(r'href="(/leaderboard[?][^"]+)">its leaderboard', text)
    leaders = await (await client.get(board)).text()
    assert f"Leaderboard: {app['title']} ·" in leaders
    assert app["entry"] == "example:Example"


async def test_a_signed_app_version_is_a_file_named_by_its_hash(world: World, browse: Open, worked: list[int]) -> None:
    client = await browse()
    (app,) = (await data(client, "/project/example.json"))["apps"]
    response = await client.get(f"/app/{app['hash']}.json")
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert hash_of(msgspec.json.decode(await response.read(), type=Envelope)) == app["hash"]
    assert (await client.get(f"/app/{'0' * 64}.json")).status == 404
    authorised = world._authorisations[1][1]
    assert (await client.get(f"/app/{authorised}.json")).status == 404


@pytest.mark.parametrize("link", ["javascript:alert(1)", "//evil.example", "data:text/html,x"])
async def test_only_web_addresses_are_links(world: World, browse: Open, link: str) -> None:
    describe(world, "sly", title=HOSTILE, purpose=HOSTILE, ethics=HOSTILE, link=link)
    client = await browse()
    for address in ("/project/sly", "/projects"):
        text = await (await client.get(address)).text()
        assert link not in text
        assert HOSTILE not in text


@pytest.mark.parametrize("name", ["nothing", "example/x", "..%2f", "a" * 3000])
async def test_a_project_that_is_not_there(world: World, browse: Open, worked: list[int], name: str) -> None:
    assert (await (await browse()).get(f"/project/{name}")).status == 404


async def test_published_discoveries_of_a_project_stand_on_its_page(
    world: World, browse: Open, worked: list[int]
) -> None:
    row = {"run_id": 1, "unit_id": worked[0], "facts": "{}", "check_line": "", "declared": world.now, "step": 1}
    rows = [
        row | {"title": "Shown", "state": "published", "published": world.now},
        row | {"title": "Kept", "state": "confirmed", "published": None},
    ]
    world.store.write_now(lambda c: c.execute(insert(discovery), rows))
    page = await data(await browse(), "/project/example.json")
    assert [each["title"] for each in page["discoveries"]] == ["Shown"]


def test_sums_leave_out_other_projects(world: World, worked: list[int]) -> None:
    world.submit("Other", project="other")
    assert world.store.read_now(lambda c: portfolio.sums(c, "other")).keys() == {"other"}
    assert world.store.read_now(lambda c: portfolio.sums(c)).keys() == {"other", "example"}
