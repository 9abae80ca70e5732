"""Pages about the house itself: computers, countries, the audit log, the ledger's days, the files, the reference."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from sqlalchemy import insert

from dsage_server.api.openapi import Description, describe
from dsage_server.exporting import make_edition
from dsage_server.store import census, deeds
from dsage_server.store.census import Census, Group
from dsage_server.store.schema import announcement
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
HOSTILE = "<img src=x onerror=alert(1)>"


async def read(client: Client, address: str, **headers: str) -> str:
    """Return a page that is there."""
    response = await client.get(address, headers=headers)
    assert response.status == 200, address
    return await response.text()


async def test_what_was_counted_is_shown_with_names_in_the_visitors_language(world: World, browse: Open) -> None:
    found = Census(
        at=world.now, countries=[Group(name="NZ", people=7), Group(name="*", people=6), Group(name="", people=3)],
        cores=[Group(name=name, people=9, hosts=12) for name in ("8", "*", "0", "2")],
        platforms=[Group(name=HOSTILE, people=5, hosts=5), Group(name="linux-aarch64", people=5, hosts=5)],
    )  # fmt: skip
    world.store.write_now(lambda c: census.keep(c, found))
    client = await browse()
    text = await read(client, "/countries")
    assert re.findall(r'<th scope="row" class="who">(.*?)</th>', text) == ["New Zealand", "others", "not told"]
    assert "Neuseeland" in await read(client, "/countries", **{"Accept-Language": "de-CH, en;q=0.3"})
    text = await read(client, "/hardware")
    assert HOSTILE not in text
    rows = re.findall(r'class="who">(.*?)</th>', text)
    assert rows[1:] == ["Linux (ARM)", "up to 2", "5–8", "more than 64", "others"]
    rows = (await (await client.get("/countries.json")).json())["data"]["countries"]
    assert [(row["name"], row["people"]) for row in rows] == [("NZ", 7), ("*", 6), ("", 3)]


async def test_a_map_shades_the_countries_that_stand_alone(world: World, browse: Open) -> None:
    people = {"DE": 43, "SG": 12, "NZ": 7, "RE": 5, "*": 6, "": 300}
    found = Census(at=world.now, countries=[Group(name=name, people=n) for name, n in people.items()])
    world.store.write_now(lambda c: census.keep(c, found))
    client = await browse()
    text = await read(client, "/countries")
    drawn = re.findall(r'<(?:path|circle) class="(step-\d)"[^>]*><title>([^<]*)</title>', text)
    assert set(drawn) == {("step-3", "New Zealand: 7"), ("step-5", "Germany: 43"), ("step-4", "Singapore: 12")}
    assert "4 countries have at least 5 volunteers who told it; Germany comes first, with 43." in text
    assert "Elsewhere: 6." in text
    assert re.search(r"Too small for this map:\s+Réunion", text)
    assert [words in text for words in ("5 to 9", "10 to 19", "20 or more")] == [True] * 3
    assert (await (await client.get("/countries.json")).json())["data"]["steps"] == [5, 10, 20]


async def test_there_is_no_map_when_nobody_stands_alone(world: World, browse: Open) -> None:
    world.store.write_now(lambda c: census.keep(c, Census(at=world.now, countries=[Group(name="*", people=9)])))
    assert 'class="world"' not in await read(await browse(), "/countries")


async def test_the_audit_log_is_read_newest_first_and_is_only_text(
    world: World, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        world.store.write_now(
            lambda c, n=number: deeds.record(c, world.now, "operator", "reversed credit of", f"volunteer {n}", HOSTILE)  # type: ignore[misc]
        )
    client = await browse()
    text = await read(client, "/audit")
    assert re.findall(r"volunteer \d", text) == ["volunteer 2", "volunteer 1", "volunteer 0"]
    assert HOSTILE not in text
    assert (await client.get("/audit?page=2")).status == 404
    monkeypatch.setattr("dsage_server.web.public.audit.PAGE_ROWS", 2)
    again = await browse()
    assert re.findall(r"volunteer \d", await read(again, "/audit?page=2")) == ["volunteer 0"]


async def test_an_announcement_stands_on_every_page_while_it_holds(world: World, browse: Open) -> None:
    world.store.write_now(
        lambda c: c.execute(
            insert(announcement).values(
                text=HOSTILE, maintenance=True, begins=world.now, ends=world.now + 60, created=world.now
            )
        )
    )
    client = await browse()
    text = await read(client, "/ledger")
    assert "Maintenance:" in text
    assert HOSTILE not in text
    world.now += 61
    assert "Maintenance:" not in await read(await browse(), "/ledger")


async def test_the_files_are_named_with_their_hashes(world: World, tmp_path: Path) -> None:
    from aiohttp.test_utils import TestServer

    from dsage_server.web.pages import make_pages

    app = make_pages(world.store, server_id="s", name="n", clock=lambda: world.now, exports=tmp_path)
    async with TestClient(TestServer(app)) as client:
        assert "No files are here yet" in await read(client, "/stats")
        world.store.read_now(lambda c: make_edition(c, tmp_path, "s", world.now))
        text = await read(client, "/stats")
        assert 'href="/export/users.jsonl.gz"' in text
        assert len(re.findall(r"\b[0-9a-f]{64}\b", text)) >= 10


async def test_the_reference_names_each_page_and_links_its_messages(world: World, browse: Open) -> None:
    text = await read(await browse(), "/api")
    assert "/run/{number}.json" in text
    links = set(re.findall(r'href="#(\w+)"', text)) - {"main"}
    assert links
    assert links <= set(re.findall(r'id="(\w+)"', text))


async def test_the_reference_is_made_once_in_each_form(
    world: World, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def described(self: Description) -> dict[str, Any]:
        made.append(self.api_url)
        return describe(self.api_calls, self.page_calls, api_url="/", pages_url="/")

    monkeypatch.setattr(Description, "document", described)
    client = await browse()
    for language in ("en", "de", "en", "de"):
        answer = await client.get("/api", headers={"Accept-Language": language})
        assert f'<html lang="{language}"' in await answer.text()
    assert len(made) == 2
