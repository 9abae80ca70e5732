"""Every page in every form: what it says, what it never says, and how it refuses."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from sqlalchemy import update

from dsage_server.store.schema import run
from dsage_server.web.public import leaderboard
from dsage_server.web.refusals import HEADERS
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]

HOSTILE = '<script>alert("1")</script> & <b>'
VOID = {"meta", "link", "img", "br", "input", "hr", "wbr"}
TILE = r'<rect class="(\w+)" x="\d+" y="\d+" width="16"'
EVERY_PAGE = ("/", "/leaderboard", "/run/1", "/unit/1", "/unit/2", "/unit/3", "/status", "/discoveries")


def twin(page: str) -> str:
    """Return the address of a page's JSON twin."""
    return "/index.json" if page == "/" else f"{page}.json"


class Outline(HTMLParser):
    """Fails on tags that do not match; collects ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs)
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if "/>" not in (self.get_starttag_text() or "") or self.open[-1:] == [tag]:
            assert self.open.pop() == tag


@pytest.fixture
def busy(world: World) -> World:
    """A run under way: one unit agreed on, one in dispute, one that failed on a computer."""
    otter, wren = world.join("steady-otter-417"), world.join("brisk-wren-203")
    hidden = world.join("hidden-heron-999", public=False)
    run = world.submit(HOSTILE, n="11^150+1", secretive=HOSTILE)
    agreed, disputed, failing = world.step(
        run, args=[{"n": 10**90 + 1}, 2, 3], credit_milli=2500,
        progress={"phase": HOSTILE, "fraction": 0.25, "eta_s": 192, "summary": "7 of 28", "levels": [[1, 10**30]]},
    )  # fmt: skip
    world.now += 60
    world.compute(agreed, {"factor": 10**40 + 1}, otter, hidden)
    world.lease(otter, disputed)
    world.lease(wren, disputed)
    world.report(otter, disputed, "right")
    world.report(wren, disputed, "wrong")
    world.lease(wren, failing)
    world.report(wren, failing, status="failed", detail="Traceback: /home/ada/secret.py")
    return world


async def read(client: Client, address: str, status: int = 200) -> str:
    response = await client.get(address)
    assert response.status == status, await response.text()
    assert not response.cookies
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    return await response.text()


@pytest.mark.parametrize("page", EVERY_PAGE)
async def test_a_page_is_well_formed_and_escapes_what_people_wrote(busy: World, browse: Open, page: str) -> None:
    text = await read(await browse(), page)
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert "Test &lt;Lab&gt;" in text
    assert f'<link rel="alternate" type="application/json" href="{twin(page)}">' in text
    assert re.findall(r'(?:src|href)="(?!/|#main)([^"]*)"', text) == []


@pytest.mark.parametrize("page", EVERY_PAGE)
async def test_nothing_private_is_in_any_form(busy: World, browse: Open, page: str) -> None:
    client = await browse()
    for address in (page, twin(page)):
        text = await read(client, address)
        assert "hidden-heron-999" not in text
        assert "secret.py" not in text
        assert "127.0.0.1" not in text


async def test_the_front_page_and_its_twin_say_the_same(busy: World, browse: Open) -> None:
    client = await browse()
    text = await read(client, "/")
    data = await (await client.get("/index.json")).json()
    assert data["schema"] == "dsage.front/1"
    front = data["data"]
    assert (front["hosts_live"], front["valid"], front["credit"], front["people"]) == (3, 1, 5.0, 2)
    assert [(line["rank"], line["pseudonym"], line["credit"]) for line in front["leaders"]] == [
        (1, "steady-otter-417", 2.5), (2, "brisk-wren-203", 0.0)
    ]  # fmt: skip
    assert front["others"] == {"people": 1, "credit": 2.5, "recent": pytest.approx(0.2475, abs=1e-3), "valid": 1}
    running = front["running"][0]
    assert (running["phase"], running["fraction"], running["eta_s"]) == (HOSTILE, 0.25, 192)
    for shown in (
        "steady-otter-417",
        "1 volunteer who would rather not be listed",
        "25.0\xa0%",
        "3\xa0min 12\xa0s",
        "7 of 28",
    ):
        assert shown in text


async def test_tiles_of_the_front_page_are_a_unit_each_while_there_is_room(world: World, browse: Open) -> None:
    client = await browse()
    assert Counter(re.findall(TILE, await read(client, "/"))) == {"ready": 144}
    run, (otter, heron) = world.submit("A run"), (world.join("otter"), world.join("heron"))
    first, *_ = world.step(run, args=[1, 2, 3])
    world.compute(first, "same", otter, heron)
    text = await read(await browse(), "/")
    drawn = Counter(re.findall(TILE, text))
    assert drawn == {"valid": 1, "active": 2, "free": 141}
    assert "3 units of work, a tile each:" in text
    world.step(run, args=list(range(285)))
    text = await read(await browse(), "/")
    drawn = Counter(re.findall(TILE, text))
    assert (drawn.total(), drawn["free"]) == (144, 0)
    assert "288 units of work, each tile a share of them:" in text


async def test_a_run_shows_states_with_their_meaning_events_and_credit(busy: World, browse: Open) -> None:
    client = await browse()
    text = await read(client, "/run/1")
    for shown in (
        "is being computed",
        "checked and found right",
        "n\xa0=\xa011^150+1",
        "1000000000000000000000000000000",
        "31 digits",
    ):
        assert shown in text
    run = (await (await client.get("/run/1.json")).json())["data"]
    assert run["run"]["units"] == {"active": 2, "valid": 1}, "how each of a few stands is nobody's to know"
    assert (run["run"]["replicas"], run["shares"]) == ({}, [])
    assert [event["kind"] for event in run["events"]] == ["submitted"]
    assert run["progress"]["value"] == {"levels": [[1, str(10**30)]]}
    busy.step(1, finished=True, result=1)
    ended = await browse()
    assert "volunteers who would rather not be listed" in await read(ended, "/run/1")
    assert (await (await ended.get("/run/1.json")).json())["data"]["shares"] == [
        {"pseudonym": "steady-otter-417", "credit": 2.5},
        {"pseudonym": "a volunteer", "credit": 2.5},
    ]


async def test_a_unit_shows_its_replicas_and_only_an_accepted_answer(busy: World, browse: Open) -> None:
    client = await browse()
    agreed = (await (await client.get("/unit/1.json")).json())["data"]
    assert agreed["answer"]["value"] == {"factor": str(10**40 + 1)}
    assert [(copy["pseudonym"], copy["state"], copy["credit"]) for copy in agreed["replicas"]] == [
        ("steady-otter-417", "valid", 2.5), ("a volunteer", "valid", 2.5)
    ]  # fmt: skip
    shown = await read(client, "/unit/1")
    assert "the accepted answer" in shown
    assert '<a href="/u/steady-otter-417">' in shown
    assert shown.count('href="/u/') == 1, "who would rather not be listed has no page to lead to"
    disputed = await read(client, "/unit/2.json")
    assert "right" not in disputed
    assert "wrong" not in disputed
    failing = (await (await client.get("/unit/3.json")).json())["data"]
    assert (failing["state"], failing["replicas"]) == ("open", [])
    busy.step(1, finished=True, result=1)
    busy.now += 10 * 86400
    failing = (await (await (await browse()).get("/unit/3.json")).json())["data"]
    assert [(copy["state"], copy["reason"]) for copy in failing["replicas"]] == [("error", "exception")]


async def test_the_status_counts_everything(busy: World, browse: Open) -> None:
    client = await browse()
    status = (await (await client.get("/status.json")).json())["data"]
    assert (status["volunteers"], status["hosts_live"], len(status["runs"])) == (3, 3, 1)
    assert status["units"] == {"active": 2, "valid": 1}
    front = (await (await client.get("/index.json")).json())["data"]
    assert (front["active"], front["units"]) == (2, status["units"]), "nor may the front page's number tell it"
    assert await (await client.get("/healthz")).json() == {"status": "ok"}


async def test_an_empty_server_has_every_page(world: World, browse: Open) -> None:
    client = await browse()
    assert "No run is in progress" in await read(client, "/")
    assert "Nobody has joined yet" in await read(client, "/leaderboard")
    assert "No run has been submitted yet" in await read(client, "/status")


async def test_the_leaderboard_has_pages(world: World, browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "PAGE_ROWS", 2)
    for number in range(5):
        world.join(f"volunteer-{number}")
    client = await browse()
    middle = await read(client, "/leaderboard?page=2")
    assert re.findall(r'data-key="(volunteer-\d)"', middle) == ["volunteer-2", "volunteer-3"]
    assert 'rel="prev" href="/leaderboard"' in middle
    assert 'rel="next" href="/leaderboard?page=3"' in middle
    assert 'href="/leaderboard.json?page=2"' in middle
    last = (await (await client.get("/leaderboard.json?page=3")).json())["data"]
    assert [(line["rank"], line["pseudonym"]) for line in last["leaders"]] == [(1, "volunteer-4")]
    assert "no page 4" in await read(client, "/leaderboard?page=4", 404)


@pytest.mark.parametrize(
    "address",
    ["/nothing", "/run/7", "/unit/7", "/run/x", "/run/9999999999999999999", f"/run/{'9' * 5000}", "/leaderboard?page=0",
     "/leaderboard?page=²", "/leaderboard?page=-1", "/static/nothing.css", "/static/README.md", "/run/1.xml"],
)  # fmt: skip
async def test_what_is_not_there_is_a_page_and_a_problem(world: World, browse: Open, address: str) -> None:
    client = await browse()
    text = await read(client, address, 404)
    Outline(text)
    assert "To the front page" in text
    response = await client.get(address, headers={"Accept": "application/json"})
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"], problem["code"]) == (404, 404, "not-found")
    assert problem["type"] == "urn:dsage:error:not-found"


async def test_a_missing_run_is_a_problem_for_programs(world: World, browse: Open) -> None:
    client = await browse()
    for form in (".json", ".live"):
        problem = await (await client.get(f"/run/7{form}")).json(content_type="application/problem+json")
        assert (problem["code"], problem["detail"]) == ("not-found", "there is no run 7")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_pages_can_only_be_read(world: World, browse: Open, method: str) -> None:
    response = await (await browse()).request(method, "/")
    assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize("address", ["/", "/index.json", "/index.live", "/status", "/healthz"])
async def test_head_sends_no_body(busy: World, browse: Open, address: str) -> None:
    response = await (await browse()).head(address)
    assert response.status == 200
    assert await response.read() == b""


async def test_a_failure_inside_is_logged_and_not_shown(
    world: World, browse: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(query: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(world.store, "read", fail)
    text = await read(await browse(), "/status", 500)
    assert "Something went wrong on this server" in text
    assert "secret" not in text
    assert "a secret of the inside" in caplog.text


async def test_unchanged_pages_are_not_sent_again_and_all_are_compressed(busy: World, browse: Open) -> None:
    client = await browse()
    first = await client.get("/", headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    busy.join("late-lark-100")
    busy.now += 3600
    assert (await client.get("/run/1", headers={"If-None-Match": first.headers["ETag"]})).status == 200


async def test_the_first_view_is_small(busy: World, browse: Open) -> None:
    client = await browse()
    text = await read(client, "/")
    linked = sorted(set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text)))
    sizes = {"page": len(gzip.compress(text.encode()))}
    for address in linked:
        response = await client.get(address)
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        sizes[address.partition("?")[0].removeprefix("/static/")] = int(response.headers["Content-Length"])
    assert sizes["pico.min.css"] + sizes["dsage.css"] <= 20_000
    assert sizes["live.js"] <= 2_000
    assert sum(sizes.values()) <= 36_000
    assert len(sizes) + 1 <= 12


async def test_a_run_page_says_what_the_run_asks_of_the_scheduler(world: World, browse: Open) -> None:
    plain, asking = world.submit("Plain"), world.submit("Asking")
    values = {"priority": -3, "platforms": '["linux-x86_64", "linux"]', "tags": '["gpu", "<b>"]'}
    world.store.write_now(lambda c: c.execute(update(run).where(run.c.id == asking).values(values)))
    client = await browse()
    async with client.get(f"/run/{asking}") as response:
        text = await response.text()
    assert "-3 among the runs of its researcher" in text
    assert "linux-x86_64 or linux" in text
    assert "gpu, &lt;b&gt;" in text
    async with client.get(f"/run/{plain}") as response:
        text = await response.text()
    assert "among the runs of its researcher" not in text
    assert "only on" not in text
    async with client.get(f"/run/{asking}.json") as response:
        told = (await response.json())["data"]["run"]
    assert (told["priority"], told["platforms"], told["tags"]) == (-3, ["linux-x86_64", "linux"], ["gpu", "<b>"])


async def test_the_leaderboard_lists_by_average_and_sums_the_others(world: World, browse: Open) -> None:
    number = world.submit("Work")
    people = {name: world.join(name, public=not name.startswith("shy")) for name in ("ann", "ben", "shy-1", "shy-2")}
    done = (("ann", "shy-1"), ("ben", "shy-1"), ("ben", "shy-2"))
    for unit, pair in zip(world.step(number, args=[1, 2, 3]), done, strict=True):
        world.compute(unit, "same", *[people[name] for name in pair])
    client = await browse()
    async with client.get("/leaderboard.json") as response:
        board = (await response.json())["data"]
    world.step(number, finished=True, result=1)
    assert [(line["rank"], line["pseudonym"], line["credit"]) for line in board["leaders"][:2]] == [
        (1, "ben", 2.0), (2, "ann", 1.0),
    ]  # fmt: skip
    async with client.get(f"/run/{number}.json") as response:
        page = (await response.json())["data"]
    assert [(share["pseudonym"], share["credit"]) for share in page["shares"]] == [
        ("ben", 2.0), ("ann", 1.0), ("a volunteer", 3.0),
    ]  # fmt: skip
    assert page["run"]["volunteers"] == 4
