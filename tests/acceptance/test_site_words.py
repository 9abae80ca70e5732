"""Every page of a made-up server's site in the pseudo-locales: what has no accents is in no catalogue."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from seeded_site import Found, Site, explore, seeded, serve
from sqlalchemy import Connection, select

from dsage.wire import ProjectView
from dsage_server.seeding.people import Size
from dsage_server.store.schema import (
    announcement,
    api_token,
    discovery,
    host,
    meta,
    passkey,
    run,
    team,
    unit,
    volunteer,
)
from dsage_server.web import plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

TINY: Final = Size(volunteers=20, days=7, ledger=1000)
COLUMNS: Final = (
    volunteer.c.pseudonym, host.c.name, host.c.platform, team.c.name, run.c.title, run.c.project, unit.c.key,
    unit.c.grp, discovery.c.title, announcement.c.text, api_token.c.name, passkey.c.name,
)  # fmt: skip
"""What people wrote."""
NAMES: Final = (
    "Idle Hours", "The Lab", "DSage", "Linux", "Windows", "macOS", "ARM", "JSON", "OpenAPI", "Prometheus", "bubblewrap",
    "sandbox-exec", "ada",
)  # fmt: skip
"""What is called so in every language."""
SILENT: Final = {"code", "script", "style", "pre", "kbd", "bdi"}
ATTRIBUTES: Final = ("title", "alt", "placeholder", "aria-label", "data-label")
NOT_WORDS: Final = re.compile(r"\S*[\d./_@]\S*")
"""Numbers, hashes, addresses, names of files."""
WORD: Final = re.compile(r"[A-Za-z]*[aeiouy][A-Za-z]+|[A-Za-z]+[aeiouy]")
FORMS: Final = {"meta", "head", "link", "input"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> AsyncIterator[Site]:
    """A site with people and work of all kinds."""
    assert pytestconfig.cache is not None
    kept = seeded(pytestconfig.cache.mkdir("seeded"), TINY)
    async with serve(tmp_path_factory.mktemp("words"), kept, researchers=True) as served:
        yield served


def written(connection: Connection) -> list[str]:
    """Return what people wrote, the longest first."""
    found = {str(text) for column in COLUMNS for text in connection.execute(select(column).distinct()).scalars()}
    said = select(meta.c.value).where(meta.c.name.startswith("project:"))
    for text in connection.execute(said).scalars():
        found |= {str(each) for each in msgspec.to_builtins(msgspec.json.decode(text, type=ProjectView)).values()}
    for params, progress in connection.execute(select(run.c.params, run.c.progress)):
        about = plain.opened(params, "").value
        found |= {plain.about(about), *map(str, plain.mapping(plain.opened(progress, "").value).values())}
    return sorted((text for text in found | set(NAMES) if len(text) > 2), key=len, reverse=True)


def spoken(element: Any, language: str) -> Iterator[str]:
    """Yield what a person would read or hear of an element in this language."""
    if not isinstance(element.tag, str):
        return
    name = element.tag.partition("}")[2]
    other = element.get("lang") not in (None, language) and name != "html"
    if name in SILENT or element.get("translate") == "no" or other:
        return
    if name == "meta" and element.get("name") == "description":
        yield element.get("content", "")
    yield from (element.get(each) for each in ATTRIBUTES if element.get(each) and name not in FORMS)
    yield element.text or ""
    for child in element:
        yield from spoken(child, language)
        yield child.tail or ""


def left(page: Found, language: str, people: list[str]) -> set[str]:
    """Return the texts of a page that are in no catalogue."""
    found = set()
    for text in spoken(page.parsed, language):
        rest = text
        if WORD.search(NOT_WORDS.sub(" ", rest)):
            for words in people:
                rest = rest.replace(words, " ")
        if WORD.search(NOT_WORDS.sub(" ", rest)):
            found.add(" ".join(text.split()))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["en-XA", "ar-XB"])
async def test_all_that_pages_say_is_in_the_catalogue_but_what_people_wrote(site: Site, language: str) -> None:
    people = site.store.read_now(written)
    pages = [page for page in await explore(site, language=language) if page.parsed is not None]
    assert len({page.route for page in pages}) > 30
    missing = {(page.route, text) for page in pages for text in left(page, language, people)}
    assert not missing, "\n".join(f"{route}: {text}" for route, text in sorted(missing))


async def test_english_stands_out(site: Site) -> None:
    """The look at the pages sees what is in no catalogue."""
    people = site.store.read_now(written)
    pages = [page for page in await explore(site, language="en", each=1) if page.route == "/status"]
    assert "What it means" in left(pages[0], "en", people)
