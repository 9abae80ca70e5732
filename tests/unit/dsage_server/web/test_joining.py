"""The page that invite links lead to: for each system, with hashes, ranges, and no word of what stands behind the #."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dsage.trust.invite import Link
from dsage_server.published import Published
from dsage_server.store import announcements, open_links
from dsage_server.store.meta import remember
from dsage_server.web.joining import QR, Invitation
from dsage_server.web.looks import system_of
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import SERVER_ID, World

LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"
LINK = Link("https://lab.example.org:8470", SERVER_ID, "ab" * 32, "cd" * 32, "s3cret", "https://science.example.org")
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(world: World, tmp_path: Path) -> AsyncIterator[Client]:
    """The pages of a server that has published two packages."""
    for name in ("dsage_1.4.0_amd64.deb", "dsage-setup-1.4.0.exe"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    published = Published.of(tmp_path / "server")
    published.publish(sorted(tmp_path.glob("dsage*1.4.0*")))
    world.store.write_now(lambda connection: remember(connection, "url", "https://lab.example.org:8470"))
    app = make_pages(
        world.store, server_id=SERVER_ID, name="Test <Lab>", clock=lambda: world.now,
        joining=Invitation(published=published, operator="The <Lab> people", origin="https://science.example.org"),
    )  # fmt: skip
    async with TestClient(TestServer(app)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("agent", "system"),
    [(LINUX, "linux"), (WINDOWS, "windows"), (MAC, "macos"), (PHONE, "phone"), (ANDROID, "phone"), ("curl/8", "")],
)
def test_the_system_that_a_browser_names(agent: str, system: str) -> None:
    assert system_of(agent) == system


async def test_a_visitor_is_offered_the_package_for_their_system(client: Client, tmp_path: Path) -> None:
    sha = {each.system: each.sha256 for each in Published.of(tmp_path / "server").packages()}
    reply = await client.get("/join", headers={"User-Agent": LINUX})
    page = await reply.text()
    assert (reply.status, reply.headers["Vary"]) == (200, "User-Agent, Accept-Encoding, Accept-Language, Cookie")
    before, _, after = page.partition("Packages for other systems")
    assert sha["deb"] in before
    assert sha["windows"] in after
    assert f"echo &#39;{sha['deb']}  dsage_1.4.0_amd64.deb&#39; | sha256sum -c" in page or (
        f"echo '{sha['deb']}  dsage_1.4.0_amd64.deb' | sha256sum -c" in page
    )
    assert "https://science.example.org/client/dsage_1.4.0_amd64.deb" in page
    assert "The &lt;Lab&gt; people" in page
    assert '<link rel="canonical" href="https://science.example.org/join">' in page
    assert "cannot run work yet" not in page


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (LINUX, "Join with your Linux computer"), (WINDOWS, "Join with your Windows computer"),
        (MAC, "Join with your Mac"), (PHONE, "Join with your computer"), ("curl/8", "Join with your computer"),
    ],
)  # fmt: skip
async def test_the_front_page_has_a_door_for_the_visitors_system(client: Client, agent: str, words: str) -> None:
    """Each time after another visitor: what is kept for all is kept for each system apart."""
    for other in (WINDOWS, PHONE, LINUX):
        await client.get("/", headers={"User-Agent": other})
    reply = await client.get("/", headers={"User-Agent": agent})
    assert f'<a href="/join" role="button">{words}</a>' in await reply.text()
    assert reply.headers["Vary"] == "User-Agent, Accept-Encoding, Accept-Language, Cookie"
    known = {"If-None-Match": reply.headers["ETag"]}
    assert (await client.get("/", headers={"User-Agent": agent, **known})).status == 304
    assert (await client.get("/", headers={"User-Agent": "Windows Linux", **known})).status == (
        304 if agent == WINDOWS else 200
    )
    assert "User-Agent" not in (await client.get("/teams")).headers["Vary"]


@pytest.mark.parametrize(("agent", "words"), [(WINDOWS, "Clients on Windows cannot run work yet"),
                                              (MAC, "Clients on macOS cannot run work yet"),
                                              (PHONE, "This looks like a phone")])  # fmt: skip
async def test_it_says_plainly_where_no_work_can_run(client: Client, agent: str, words: str) -> None:
    assert words in await (await client.get("/join", headers={"User-Agent": agent})).text()


async def test_without_javascript_it_says_how_to_paste_the_link(client: Client) -> None:
    page = await (await client.get("/join")).text()
    words = page.partition('<div class="scriptless">')[2].partition("</div>")[0]
    assert "dsage join &#39;LINK&#39;" in words or "dsage join 'LINK'" in words


async def test_whoever_joins_reads_what_is_announced(client: Client, world: World) -> None:
    world.store.write_now(lambda c: announcements.announce(c, "We move on Sunday.", world.now))
    page = await (await client.get("/join")).text()
    assert "We move on Sunday." in page
    assert page.count('class="container notice"') == 1


async def test_projects_and_packages_have_a_json_twin(client: Client, world: World) -> None:
    world.submit("Primes")
    document = await (await client.get("/join.json")).json()
    said = document["data"]
    assert (document["schema"], said["operator"], said["url"]) == (
        "dsage.join/1", "The <Lab> people", "https://lab.example.org:8470",
    )  # fmt: skip
    assert [project["title"] for project in said["projects"]] == ["Primes"]
    assert {package["system"] for package in said["packages"]} == {"deb", "windows"}


async def test_a_package_comes_whole_or_in_parts_and_nothing_else_does(client: Client, tmp_path: Path) -> None:
    name = "dsage_1.4.0_amd64.deb"
    whole = await client.get(f"/client/{name}")
    assert await whole.read() == (tmp_path / name).read_bytes()
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    part = await client.get(f"/client/{name}", headers={"Range": "bytes=100-"})
    assert (part.status, await part.read()) == (206, (tmp_path / name).read_bytes()[100:])
    for path in ("/client/list.json", "/client/%2e%2e%2fdsage.sqlite", "/client/none.deb"):
        assert (await client.get(path)).status == 404


async def test_a_phone_gets_a_picture_of_the_link_and_of_nothing_else(client: Client) -> None:
    drawn = await client.post(QR, data=str(LINK))
    assert (drawn.status, drawn.content_type) == (200, "image/svg+xml")
    assert drawn.headers["Cache-Control"] == "no-store"
    assert ElementTree.fromstring(await drawn.text()).tag.endswith("svg")
    other = Link(LINK.url, "another-server", LINK.ca, LINK.root, LINK.code)
    assert (await client.post(QR, data=str(other))).status == 400
    assert (await client.post(QR, data="https://evil.invalid/")).status == 400
    assert (await client.post(QR, data="x" * 2000)).status == 413
    assert (await client.post("/join", data=str(LINK))).status == 405
    assert (await client.get(QR)).status == 405


async def test_whoever_comes_without_a_link_joins_by_the_public_one(world: World, client: Client) -> None:
    number, _ = _make(world)
    world.store.write_now(lambda c: open_links.show(c, number, str(LINK)))
    page = html.unescape(await (await client.get("/join")).text())
    assert f"dsage join '{LINK}'" in page
    assert f'data-public="{str(LINK).partition("#")[2]}"' in page
    assert (await (await client.get("/join.json")).json())["data"]["link"] == str(LINK)


def test_a_public_link_is_shown_while_it_takes_people_in(world: World) -> None:
    def shown(later: float = 0.0) -> str:
        return world.store.read_now(lambda c: open_links.shown(c, world.now + later))

    assert shown() == ""
    first, _ = _make(world)
    world.store.write_now(lambda c: open_links.show(c, first, "the first"))
    assert (shown(), shown(61.0)) == ("the first", "")
    second, _ = _make(world)
    world.store.write_now(lambda c: open_links.show(c, second, "the second"))
    assert shown() == "the second"
    world.store.write_now(lambda c: open_links.revoke(c, second, world.now))
    assert shown() == ""


def _make(world: World) -> tuple[int, str]:
    return world.store.write_now(lambda c: open_links.make(c, per_hour=1, per_prefix=1, valid_s=60.0, now=world.now))
