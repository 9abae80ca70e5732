"""What stands beside a link to a page in a chat: every kind of page says what it is, and shows a picture of it."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from sqlalchemy import insert

from dsage_server.png import png
from dsage_server.published import Published
from dsage_server.store.schema import discovery, painted_tile, painting
from dsage_server.web.joining import Invitation
from dsage_server.web.pages import make_pages
from dsage_server.web.telling import MAX_BRIEF, brief
from dsage_server.web.testing import SERVER_ID, World

Client = TestClient[web.Request, web.Application]
GREY = np.full((4, 4, 3), 99, dtype=np.uint8)
ORIGIN = "https://lab.example.org"
Whole = Callable[[str], Awaitable[Client]]
PAGES = (
    "/", "/leaderboard", "/teams", "/projects", "/project/example", "/run/1", "/run/1/units", "/unit/1", "/result/1",
    "/discoveries", "/discovery/1", "/u/ada-otter-101", "/status", "/hardware", "/countries", "/stats", "/audit",
    "/ledger", "/steady", "/join", "/login", "/api",
)  # fmt: skip
SORTS = {"/discovery/1": "article", "/u/ada-otter-101": "profile"}
"""What pages are, if not just pages of a site."""


@pytest.fixture
async def opened(world: World, tmp_path: Path) -> AsyncIterator[Whole]:
    """Open the pages as they are reached from an origin, or as they are where nobody said one."""
    clients: list[Client] = []

    async def start(origin: str) -> Client:
        app = make_pages(
            world.store, server_id=SERVER_ID, name="Test <Lab>", clock=lambda: world.now, period_s=0.01,
            exports=tmp_path, joining=Invitation(published=Published.of(tmp_path), origin=origin),
        )  # fmt: skip
        clients.append(TestClient(TestServer(app)))
        await clients[-1].start_server()
        return clients[-1]

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
def filled(world: World) -> World:
    """A run with a unit that two found right, and a discovery in it."""
    ada, bob = world.join("ada-otter-101"), world.join("bob-otter-102", public=False)
    (unit,) = world.step(world.submit("A run <b>"), args=[1], progress={"summary": "all\n\nis  well " + "so far " * 99})
    world.compute(unit, "same", ada, bob)
    world.now += 9e6
    row = {
        "run_id": 1, "unit_id": unit, "title": "7 is <prime>", "facts": "{}", "check_line": "", "state": "published",
        "step": 1, "declared": 1.0, "published": 1.0, "people": f"[{ada.volunteer}, {bob.volunteer}]",
    }  # fmt: skip
    world.store.write_now(lambda c: c.execute(insert(discovery).values(row)))
    return world


def paint(world: World, width: int, height: int) -> None:
    """Keep a picture of the run, one tile of its first volunteer."""
    tile = {"run_id": 1, "unit_id": 1, "volunteer_id": 1, "x": 0, "y": 0, "width": width, "height": height}
    world.store.write_now(
        lambda c: c.execute(insert(painting).values(run_id=1, width=width, height=height, png=png(GREY)))
    )
    world.store.write_now(lambda c: c.execute(insert(painted_tile).values(tile)))


async def told(client: Client, path: str, **headers: str) -> dict[str, str]:
    """Return what a page says of itself to those who show a link to it."""
    response = await client.get(path, headers={"Accept": "text/html", **headers})
    assert response.status == 200, path
    text = (await response.text()).partition("</head>")[0]
    found = re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', text)
    names = [name for name, _ in found]
    assert sorted(names) == sorted(set(names)), f"{path} says something twice"
    return {name: html.unescape(words) for name, words in found}


@pytest.mark.parametrize("path", PAGES)
async def test_a_link_is_shown_with_what_it_leads_to(filled: World, opened: Whole, path: str) -> None:
    said = await told(await opened(ORIGIN), path)
    assert said["og:site_name"] == "Test <Lab>"
    assert said["og:type"] == SORTS.get(path, "website")
    assert said["og:url"] == ORIGIN + path
    assert said["og:title"].strip()
    assert said["og:description"] == said["description"]
    assert 10 <= len(said["description"]) <= MAX_BRIEF + 100, said["description"]
    assert not re.search(r"\s\s|\n", said["description"])
    assert said["og:image"].startswith(f"{ORIGIN}/static/share.png?v=")
    assert (said["og:image:width"], said["og:image:height"]) == ("1200", "630")
    assert said["og:image:alt"].startswith("A leaf")
    assert said["twitter:card"] == "summary_large_image"


@pytest.mark.parametrize("path", PAGES)
async def test_without_an_address_of_their_own_pages_name_none(filled: World, opened: Whole, path: str) -> None:
    said = await told(await opened(""), path)
    assert not [name for name in said if name.startswith(("og:image", "og:url", "twitter:"))]
    assert said["og:title"].strip()
    assert said["og:description"] == said["description"]


async def test_the_picture_is_there_as_large_as_is_said(filled: World, opened: Whole) -> None:
    client = await opened(ORIGIN)
    path = (await told(client, "/"))["og:image"].removeprefix(ORIGIN)
    response = await client.get(path)
    assert (response.status, response.content_type) == (200, "image/png")
    assert "immutable" in response.headers["Cache-Control"]
    assert "Content-Encoding" not in response.headers, "it is compressed as it is"
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    with Image.open(BytesIO(await response.read())) as picture:
        assert picture.size == (1200, 630)


@pytest.mark.parametrize(
    ("width", "height", "card"), [(640, 360, "summary_large_image"), (400, 400, "summary"), (120, 120, "")]
)
async def test_a_run_that_painted_a_picture_shows_it(
    filled: World, opened: Whole, width: int, height: int, card: str
) -> None:
    """Pictures below 200 pixels are refused by those who show them."""
    paint(filled, width, height)
    client = await opened(ORIGIN)
    said = await told(client, "/run/1")
    if not card:
        assert "/static/share.png" in said["og:image"]
        return
    assert said["og:image"] == f"{ORIGIN}/run/1/picture.png"
    assert "og:image:width" not in said, "large ones are kept smaller than they were painted"
    assert (said["og:image:alt"], said["twitter:card"]) == ("A run <b>", card)
    response = await client.get("/run/1/picture.png")
    assert (response.status, response.content_type) == (200, "image/png")


async def test_people_are_named_as_they_agreed_in_every_language(filled: World, opened: Whole) -> None:
    client = await opened(ORIGIN)
    said = await told(client, "/discovery/1", **{"Accept-Language": "de"})
    assert said["description"] == "Gefunden von ada-otter-101. Bestätigt von jemand."
    assert said["article:published_time"] == "1970-01-01T00:00:01Z"
    said = await told(client, "/u/ada-otter-101")
    assert said["profile:username"] == "ada-otter-101"
    assert said["description"].startswith("1 answer found right, worth 1.00 credits")


def test_what_is_brief_ends_with_a_whole_word() -> None:
    assert brief("  all\n is well ") == "all is well"
    assert brief("") == brief(" \n") == ""
    assert brief("word " * 99).endswith("word …")
    assert [len(brief(some)) <= MAX_BRIEF for some in ("word " * 99, "x" * 999, "x" * MAX_BRIEF)] == [True] * 3
    assert brief("x" * 999).startswith("xxx")


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/login"])
@pytest.mark.parametrize("form", ["", ".json"])
async def test_what_has_not_changed_is_not_sent_again(filled: World, opened: Whole, path: str, form: str) -> None:
    """Every public page and its twin, but for the one that says as what this browser is logged in."""
    client = await opened(ORIGIN)
    twins = {"/.json": "/index.json", "/api.json": "/api/v1/openapi.json", "/stats.json": "/index.json"}
    address = twins.get(path + form, path + form)
    first = await client.get(address, headers={"Accept": "*/*"})
    assert first.status == 200, address
    again = await client.get(address, headers={"Accept": "*/*", "If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
