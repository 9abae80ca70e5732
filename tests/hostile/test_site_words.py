"""Whatever people wrote stays text: every text in the tables is hostile, and every page of the site is looked at."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import html5lib
import msgspec
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from seeded_site import Found, Site, _visit, explore, seeded, serve
from sqlalchemy import Connection, String, cast, select, update

from dsage import codec, wire
from dsage_server.seeding.people import Size
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import host, meta, metadata, run, unit, volunteer

pytestmark = pytest.mark.asyncio(loop_scope="module")

TINY: Final = Size(volunteers=20, days=7, ledger=1000)
EVIL: Final = (
    "javascript:evil()//\"'><x-evil onevil=1></title></textarea></script></style>--><script>evil()</script>"
    "<img src=x onerror=evil()>{{7*7}}{% x %}%(name)s`evil`&lt;x-evil&gt;\u202e"
)
OURS: Final = {
    "app", "country", "file", "how", "kind", "object", "outcome", "people", "prefix", "project", "record", "role",
    "roles", "run_key", "scope", "sha256", "state", "subject", "what", "word",
}  # fmt: skip
"""Columns whose words are the server's own: states, hashes, names of projects, numbers of people."""
LISTS: Final = {"features", "offers", "platforms", "projects", "refuses", "tags"}
"""JSON."""
NOT_TOLD: Final = {"code", "figures", "key"}
"""Also the server's own, in some tables."""
LINKS: Final = ("href", "src", "action", "formaction", "data", "poster", "xlink:href")
NOWHERE: Final = {"style", "iframe", "object", "embed", "base", "applet", "x-evil", "frame", "foreignobject"}
LEAST: Final = 30
"""Kinds of pages on which hostile words are seen at all."""


def make_hostile(connection: Connection, spared: int) -> None:
    """Put EVIL into whatever text somebody may write, but for the pseudonym of one volunteer, who has a page."""
    own = connection.execute(select(volunteer.c.pseudonym).where(volunteer.c.id == spared)).scalar_one()
    for table in metadata.sorted_tables:
        if table is meta:
            continue
        for column in table.columns:
            closed = column.primary_key or column.foreign_keys or column.name in OURS | NOT_TOLD
            if closed or not isinstance(column.type, String) or column.name.endswith(("hash", "_key")):
                continue
            words: Any = EVIL
            if column.unique:
                words = EVIL.replace("/", "|") + cast(table.c.id, String)  # as part of an address
            elif column.name in LISTS:
                words = json.dumps([EVIL])
            elif column.name == "facts":
                words = json.dumps({EVIL: EVIL})
            connection.execute(update(table).values({column: words}))
    for name in connection.execute(select(meta.c.name).where(meta.c.name.like("project:%"))).scalars().all():
        said = msgspec.json.decode(recall(connection, name) or "", type=wire.ProjectView)
        evil = dict.fromkeys(("title", "purpose", "ethics", "link", "by"), EVIL)
        remember(connection, name, msgspec.json.encode(msgspec.structs.replace(said, **evil)).decode())
    connection.execute(update(volunteer).where(volunteer.c.id == spared).values(pseudonym=own))
    connection.execute(update(host).values(features=json.dumps([])))
    told = codec.encode({EVIL: EVIL, "phase": EVIL, "summary": EVIL, "rows": [{EVIL: EVIL}], "fraction": 0.5})
    connection.execute(update(run).values(params=told, progress=told))
    connection.execute(update(run).where(run.c.result.is_not(None)).values(result=told))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> AsyncIterator[Site]:
    """A site full of hostile words."""
    folder = tmp_path_factory.mktemp("words")
    assert pytestconfig.cache is not None
    async with serve(folder, seeded(pytestconfig.cache.mkdir("seeded"), TINY), researchers=True) as served:
        served.store.write_now(partial(make_hostile, spared=served.volunteer))
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages(site: Site) -> list[Found]:
    """What somebody finds who may see everything."""
    found = await explore(site)
    failed = select(unit.c.run_id, unit.c.id).order_by(unit.c.reason == "", unit.c.id).limit(1)
    row = site.store.read_now(lambda c: c.execute(failed).one())
    deep = [f"/u/{site.pseudonym}", f"/runs/{row.run_id}/units/{row.id}", f"/unit/{row.id}", f"/run/{row.run_id}"]
    goes = select(run.c.id).where(run.c.state == "running").limit(1)
    running = site.store.read_now(lambda c: c.execute(goes).scalar_one())
    acts = [f"/runs/{running}/{act}" for act in ("cancel", "pause")]
    async with ClientSession(headers={"Cookie": cookies_of(site), "Accept": "text/html"}) as session:
        return found + [await _visit(session, site, path) for path in deep + acts]


def faults(tree: Any) -> Iterator[str]:
    """Say what in a tree of elements came from words, or would run."""
    for element in tree.iter():
        if not isinstance(element.tag, str):
            continue
        name = element.tag.rpartition("}")[2].lower()
        if name in NOWHERE:
            yield f"<{name}>"
        if name == "script" and (element.text or not element.get("src", "").startswith("/static/")):
            yield f"<script>{element.text}"
        for key, value in element.attrib.items():
            said = key.rpartition("}")[2].lower()
            if said.startswith("on") or said in ("style", "srcdoc"):
                yield f"{said}={value}"
            if said in LINKS and not re.match(r"/(?!/)|#|https?://", value):
                yield f"{said}={value}"


async def test_no_page_has_an_element_an_attribute_or_a_link_of_somebodys(site: Site, pages: list[Found]) -> None:
    nobodys = {page.path for page in pages if page.path.startswith("/u/") and "x-evil" in page.path}
    broken = {
        page.path: page.fault or page.status
        for page in pages
        if page.fault or (page.status >= 400 and page.path not in nobodys)
    }
    assert not broken, "\n".join(f"{path}: {fault}" for path, fault in broken.items())
    assert not {page.path: found for page in pages if page.parsed is not None and (found := [*faults(page.parsed)])}
    hostile = {page.route for page in pages if "x-evil" in page.text}
    assert len(hostile) >= LEAST, sorted(hostile)


async def test_nothing_in_a_template_is_evaluated_twice(pages: list[Found]) -> None:
    assert not [page.path for page in pages if "javascript:evil()" in page.text and "{{7*7}}" not in page.text]


async def test_twins_are_data_and_pictures_and_feeds_are_text(site: Site, pages: list[Found]) -> None:
    looked: dict[str, int] = {}
    async with ClientSession(headers={"Cookie": cookies_of(site)}) as session:
        for page in pages:
            if page.kind == "text/html":
                continue
            async with session.get(site.address + page.path) as answer:
                body = await answer.read()
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Content-Security-Policy" in answer.headers
                disposition = answer.headers.get("Content-Disposition", "")
            looked[page.kind] = looked.get(page.kind, 0) + 1
            if page.kind == "application/json":
                json.loads(body)
            elif page.kind.endswith("xml"):
                assert not [*faults(ElementTree.fromstring(body))], page.path
            elif page.kind not in ("image/png", "application/gzip"):
                assert disposition.startswith("attachment"), page.path
    assert {"application/json", "image/svg+xml", "application/atom+xml"} <= set(looked), looked


async def test_what_streams_send_is_text_too(site: Site, pages: list[Found]) -> None:
    routes = {page.route: page for page in pages if page.parsed is not None}
    live = {route: urlsplit(page.path).path for route, page in routes.items() if ".live" in page.text}
    assert live
    async with ClientSession() as session:
        for path in live.values():
            async with session.get(f"{site.address}{'/index' if path == '/' else path}.live") as stream:
                assert stream.content_type == "text/event-stream"
                await stream.content.readuntil(b"data: ")
                fragments: dict[str, str] = json.loads(await stream.content.readline())
            for fragment in fragments.values():
                assert not [*faults(html5lib.parseFragment(fragment))], path


def cookies_of(site: Site) -> str:
    """Return the cookies of somebody who is logged in as everything."""
    return "; ".join(f"{each['name']}={each['value']}" for each in site.cookies())


async def test_a_fault_is_seen() -> None:
    tree = html5lib.parse("<p onclick=x><a href='javascript:x'>a</a><x-evil><style>p</style><script>x</script>")
    assert len([*faults(tree)]) == 5
