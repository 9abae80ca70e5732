"""Published discoveries as a page, for programs, and as a certificate to print."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from xml.etree import ElementTree

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from dsage import wire
from dsage.wire import DiscoveryView
from dsage_server import discovering
from dsage_server.store import discoveries
from dsage_server.store.discoveries import NOBODY
from dsage_server.web.certificate import FOOT, MARGIN, svg
from dsage_server.web.finds import ATOM, atom
from dsage_server.web.speech import speech_of
from dsage_server.web.testing import World

Open = Callable[..., Awaitable[TestClient[web.Request, web.Application]]]
HOSTILE = "<script>alert('1')</script> & ]]> --"


def view(**more: object) -> DiscoveryView:
    said: dict[str, object] = {
        "id": 1, "run": 2, "unit": 3, "project": "lab", "title": "A prime", "facts": {"n": "7"},
        "check": "is_prime(7) and 1 < 2", "state": "published", "declared": 0.0, "published": 86_400.0,
        "finder": "steady-otter-417",
    }  # fmt: skip
    return DiscoveryView(**(said | more))  # type: ignore[arg-type]


def words(text: str) -> list[str]:
    """Return the lines of a certificate, which must be XML."""
    return [each.text or "" for each in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]


def test_a_certificate_says_what_by_whom_how_to_check_it_and_where_to_look() -> None:
    said = words(svg(view(), "Test", "https://a.example/discovery/1.svg", speech_of("en")))
    assert said[:4] == ["Certificate of a discovery", "A prime", "Found by steady-otter-417", said[3]]
    assert said[3:6] == ["Confirmed by a proof of its own", "n: 7", "Paste this into Python to check it:"]
    assert said[6:] == [
        "is_prime(7) and 1 < 2",
        "Test: project lab, run 2, unit 3",
        "Published on 1970-01-02 (UTC)",
        "https://a.example/discovery/1.svg",
    ]


@pytest.mark.parametrize("text", [HOSTILE, "\x00\x1b[31m", "\ud800", "9" * 2000, "\u202eabc", "a " * 900])
def test_whatever_is_told_stays_text_and_inside_of_the_sheet(text: str) -> None:
    whole = svg(
        view(title=text[:200], facts={text[:64]: text}, check=text, confirmers=[text[:60]]),
        text[:60],
        "x",
        speech_of("en"),
    )
    root = ElementTree.fromstring(whole)
    assert {each.tag.partition("}")[2] for each in root.iter()} == {"svg", "title", "rect", "path", "text"}
    lines = [each for each in root.iter() if each.tag.endswith("text")]
    assert max(float(each.attrib["y"]) for each in lines) < float(root.attrib["height"]) - FOOT
    assert min(float(each.attrib["y"]) for each in lines) > MARGIN
    assert max(len(each.text or "") for each in lines) <= 100


def test_each_sheet_has_tiles_of_its_own_and_always_the_same() -> None:
    one, same, other = (svg(view(title=title), "Test", "x", speech_of("en")) for title in ("A", "A", "B"))
    drawn = [re.findall(r'rx="3" fill="([^"]+)"', each) for each in (one, same, other)]
    assert len(drawn[0]) == 70
    assert drawn[0] == drawn[1] != drawn[2]


def test_one_that_does_not_hold_is_a_correction_and_names_nobody() -> None:
    said = words(svg(view(state="candidate", correction="it fell", finder=""), "Test", "x", speech_of("en")))
    assert said[:3] == ["Correction: this discovery does not hold", "A prime", "it fell"]
    assert not [each for each in said if "Found" in each or "n: 7" in each]


async def test_nothing_is_shown_before_it_is_published_and_names_only_with_consent(world: World, browse: Open) -> None:
    otter, hidden = world.join("steady-otter-417"), world.join("hidden-heron-999", public=False)
    run = world.submit("Primes")
    (number,) = world.step(run, args=[7])
    world.compute(number, True, hidden, otter)
    found = wire.Discovered(unit=number, title=HOSTILE, facts={HOSTILE[:64]: HOSTILE}, check=HOSTILE)
    world.step(run, folded=[number], discoveries=[found])
    client = await browse()
    address = "/discovery/1.svg"
    looked = world.store.write_now(lambda c: discovering.look_at(c, 0, world.now))
    assert looked.wanted == set()
    assert (await client.get(address)).status == 404
    assert (await client.get("/discovery/1")).status == 404
    assert json.loads(await (await client.get("/api/v1/discoveries")).text())["data"]["discoveries"] == []
    (own,) = world.store.write_now(lambda c: discoveries.of_researcher(c, world.researcher))
    assert (own.state, own.finder, own.confirmers) == ("confirmed", "a volunteer", ["steady-otter-417"])
    world.store.write_now(lambda c: discoveries.publish(c, own.id, world.researcher, world.now))

    client = await browse()
    response = await client.get(address)
    assert (response.status, response.content_type) == (200, "image/svg+xml")
    text = await response.text()
    assert "hidden-heron" not in text
    assert "Found by a volunteer" in words(text)
    again = await client.get(address, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304
    page = await (await client.get("/discoveries")).text()
    assert "<script>alert" not in page
    assert "steady-otter-417" in page
    assert "hidden-heron" not in page
    (told,) = json.loads(await (await client.get("/api/v1/discoveries")).text())["data"]["discoveries"]
    assert (told["title"], told["state"], told["link"]) == (HOSTILE, "published", address)
    assert (await client.get("/api/v1/discoveries?page=2")).status == 404
    card = await (await client.get("/discovery/1")).text()
    assert "steady-otter-417" in card
    assert "<script>alert" not in card
    one = json.loads(await (await client.get("/discovery/1.json")).text())["data"]
    assert one["citation"].startswith("a volunteer, steady-otter-417 (2027): <script>")
    feed = await client.get("/discoveries.atom")
    assert feed.content_type == "application/atom+xml"
    (entry,) = ElementTree.fromstring(await feed.text()).iter(f"{{{ATOM}}}entry")
    assert [entry.findtext(f"{{{ATOM}}}{name}") for name in ("id", "title", "updated", "summary")] == [
        "tag:dsage,2026:test-server/discovery/1", HOSTILE, "2027-01-15T08:00:00Z",
        "Found by a volunteer, confirmed by steady-otter-417.",
    ]  # fmt: skip

    world.store.write_now(lambda c: discoveries.fell(c, [number], world.now))
    client = await browse()
    text = await (await client.get(address)).text()
    assert discoveries.FELL in " ".join(words(text))
    assert "steady-otter" not in text
    page = await (await client.get("/discoveries")).text()
    assert discoveries.FELL in page
    card = await (await client.get("/discovery/1")).text()
    assert discoveries.FELL in card
    assert "steady-otter" not in card
    feed_text = await (await client.get("/discoveries.atom")).text()
    assert discoveries.FELL in feed_text
    assert "steady-otter" not in feed_text
    (entry,) = ElementTree.fromstring(feed_text).iter(f"{{{ATOM}}}entry")
    assert [entry.findtext(f"{{{ATOM}}}{name}") for name in ("id", "title", "summary")] == [
        "tag:dsage,2026:test-server/discovery/1/correction", f"Correction: {HOSTILE}", discoveries.FELL,
    ]  # fmt: skip
    assert "steady-otter" not in page


def test_the_feed_has_what_its_standard_asks_for() -> None:
    """RFC 4287: an id, a title and a time of each, once; whole addresses; names of whoever wrote it."""
    found = [view(id=2, state="candidate", correction="it fell"), view(id=1)]
    feed = ElementTree.fromstring(atom(found, server_id="s", name="A & <B>", origin="https://lab.example.org"))
    entries = list(feed.iter(f"{{{ATOM}}}entry"))
    assert len(entries) == 2
    for part in (feed, *entries):
        for name in ("id", "title", "updated"):
            assert len(part.findall(f"{{{ATOM}}}{name}")) == 1, name
        for link in part.findall(f"{{{ATOM}}}link"):
            assert link.attrib["href"].startswith("https://lab.example.org/")
        assert [link.attrib["rel"] for link in part.findall(f"{{{ATOM}}}link")].count("alternate") == 1
    for when in [*feed.iter(f"{{{ATOM}}}updated"), *feed.iter(f"{{{ATOM}}}published")]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(when.text))
    assert len({entry.findtext(f"{{{ATOM}}}id") for entry in entries}) == 2
    assert feed.findtext(f"{{{ATOM}}}author/{{{ATOM}}}name") == "A & <B>"


def test_a_certificate_is_in_the_visitors_language_and_names_its_tongue() -> None:
    text = svg(view(confirmers=[NOBODY, "calm-comet-1"]), "Test", "x", speech_of("de"))
    assert ElementTree.fromstring(text).attrib["lang"] == "de"
    said = words(text)
    assert said[0] == "Urkunde über eine Entdeckung"
    assert "Bestätigt von jemand, calm-comet-1" in said
    assert "Veröffentlicht am 1970-01-02 (UTC)" in said
    fell = words(svg(view(state="candidate", correction=discoveries.FELL, finder=""), "Test", "x", speech_of("de")))
    assert "die Antwort, auf der sie beruht, hielt nicht; die Einheit wird neu gerechnet" in fell


@pytest.mark.parametrize("path", ["/run/1/card.svg", "/u/steady-otter-417.svg", "/badge/first-result.svg"])
async def test_whatever_is_printed_is_in_the_visitors_language(world: World, browse: Open, path: str) -> None:
    otter, heron = world.join("steady-otter-417"), world.join("hidden-heron-999")
    world.compute(world.step(world.submit("73"), args=[7])[0], 49, otter, heron)
    client = await browse()
    english = await (await client.get(path, headers={"Accept-Language": "en"})).text()
    strange = await (await client.get(path, headers={"Cookie": "language=en-XA"})).text()
    written = {"steady-otter-417", "73", "Test <Lab>"}
    same = {line for line in words(english) if re.search("[a-z]{2}", line)} & set(words(strange))
    assert max(map(len, words(strange))) <= 100
    assert {line for line in same if not line.startswith("http")} <= written
