"""Every page of a made-up server's site: followed link by link, parsed strictly, and looked at in a real browser.

What `make test` runs is a covering sample of themes, languages and widths; `make test-site` is all of them, with
pictures.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import catalogues
import pytest
import pytest_asyncio
from looking import EVERY, LANGUAGES, THEMES, WIDTHS, Eyes, Look, chromium, look_at
from playwright.async_api import Browser
from seeded_site import ELEMENT, Found, Site, explore, links_of, seeded, serve

from dsage_server.web.words import SOURCE, language

pytestmark = pytest.mark.asyncio(loop_scope="module")
PICTURES = os.environ.get("DSAGE_PICTURES", "")
"""A folder to keep pictures of every page in."""
MANY_FACED = ("/run/", "/unit/", "/result/")
UNLINKED = {
    "/healthz": "for supervisors",
    "/login/{code}": "is given by a program",
    "/join/qr": "is drawn into the page",
    "/runs/{number}/approve": "is asked of a second researcher, of the first run of a new one",
}
"""Routes that no page leads to."""


@pytest.fixture(scope="module")
def kept(pytestconfig: pytest.Config) -> Path:
    """A filled database, for copies."""
    assert pytestconfig.cache is not None
    return seeded(pytestconfig.cache.mkdir("seeded"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> AsyncIterator[Site]:
    """A site with people and work of all kinds."""
    async with serve(tmp_path_factory.mktemp("site"), kept, researchers=True) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages(site: Site) -> list[Found]:
    """What is found on it by somebody who may see everything."""
    return await explore(site)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


def broken(pages: list[Found], *good: int) -> list[tuple[str, int, str]]:
    """Return what should not be."""
    return [(page.path, page.status, page.fault) for page in pages if page.status not in good or page.fault]


def chosen(pages: list[Found]) -> list[Found]:
    """Return the pages for people to look at: one of each route, and a few of what has many faces."""
    seen: Counter[str] = Counter()
    found = []
    for page in pages:
        faces = 3 if page.route.startswith(MANY_FACED) else 1
        if page.parsed is not None and "?" not in page.path and seen[page.route] < faces:
            seen[page.route] += 1
            found.append(page)
    return found


async def test_every_link_leads_somewhere_and_every_page_is_linked(site: Site, pages: list[Found]) -> None:
    assert broken(pages, 200) == []
    assert {page.route for page in pages} >= site.routes() - UNLINKED.keys()


async def test_every_page_is_well_formed(pages: list[Found]) -> None:
    for page in pages:
        if page.parsed is None:
            continue
        names = Counter(each.get("id") for each in page.parsed.iter() if each.get("id") is not None)
        assert [name for name, times in names.items() if times > 1] == [], page.path
        aims = {link.get("href", "")[1:] for link in page.parsed.iter(f"{ELEMENT}a") if link.get("href", "")[:1] == "#"}
        assert aims <= set(names), page.path
        assert len(list(page.parsed.iter(f"{ELEMENT}h1"))) == 1, page.path
        assert page.text.count('class="container notice"') == 1, page.path
        told = {each.get("name"): each.get("content") for each in page.parsed.iter(f"{ELEMENT}meta")}
        assert told["description"].strip(), page.path
        titles = [each.text for each in page.parsed.iter(f"{ELEMENT}title")]
        assert not str(titles[0]).startswith(" ·"), page.path
        assert not [each.tag for each in page.parsed.iter() if each.get("style") or each.get("onclick")], page.path


async def test_titles_tell_pages_apart(pages: list[Found]) -> None:
    titles: dict[str, set[str]] = {}
    for page in pages:
        if page.parsed is not None and "?" not in page.path and page.path != "/index":
            titles.setdefault(next(page.parsed.iter(f"{ELEMENT}title")).text, set()).add(page.path)
    assert {title: paths for title, paths in titles.items() if len(paths) > 1} == {}


@pytest.mark.timeout(600)
async def test_pages_fit_and_break_no_rule(site: Site, pages: list[Found], browser: Browser) -> None:
    eyes = await Eyes.open(site, browser)
    for place, page in enumerate(chosen(pages)):
        await eyes.look(page, look_at(place))
        await eyes.look_over(page, look_at(place + 1))
    await eyes.context.close()
    assert eyes.faults == [], "\n" + "\n".join(eyes.faults)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("look", EVERY, ids=lambda look: f"{look.theme}-{look.language}-{look.width}")
async def test_pages_fit_and_break_no_rule_in_every_look(
    site: Site, pages: list[Found], browser: Browser, look: Look
) -> None:
    eyes = await Eyes.open(site, browser)
    for page in chosen(pages):
        await eyes.look(page, look)
        if PICTURES:
            await eyes.page.emulate_media(color_scheme=look.theme)
            name = re.sub(r"\W+", "-", page.path).strip("-") or "front"
            await eyes.page.screenshot(
                path=Path(PICTURES) / f"{name}-{look.language}-{look.theme}-{look.width}.png", full_page=True
            )
    await eyes.context.close()
    assert eyes.faults == [], "\n" + "\n".join(eyes.faults)


async def test_the_looks_of_a_sample_cover_every_pair() -> None:
    sample = [look_at(place) for place in range(24)]
    assert len({(look.theme, look.language) for look in sample}) == len(THEMES) * len(LANGUAGES)
    assert len({(look.theme, look.width) for look in sample}) == len(THEMES) * len(WIDTHS)
    assert len({(look.language, look.width) for look in sample}) == len(LANGUAGES) * len(WIDTHS)


async def test_nothing_is_said_that_no_catalogue_has(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that stand in tables are said by a variable, which nothing finds in the code."""
    said: set[str] = set()
    words = language(SOURCE).words
    one, many = words.gettext, words.ngettext

    def heard(text: str) -> str:
        said.add(text)
        return text

    monkeypatch.setattr(words, "gettext", lambda text: one(heard(text)))
    monkeypatch.setattr(words, "ngettext", lambda text, other, n: many(heard(text), other, n))
    async with serve(tmp_path, kept, researchers=True) as site:
        await explore(site, each=2)
    known = {catalogues.texts(message)[0] for message in catalogues.messages(catalogues.SITE.template())}
    assert {text for text in said if text.strip()} - known == set()


async def test_a_visitor_who_is_not_logged_in_is_told_how(site: Site, browser: Browser) -> None:
    found = await explore(site, logged_in=False, each=0)
    assert broken(found, 200, 401) == []
    reserved = [page for page in found if page.status == 401]
    eyes = await Eyes.open(site, browser, logged_in=False)
    for place, page in enumerate(reserved[:4]):
        await eyes.look(page, look_at(place + 1))
    await eyes.context.close()
    assert eyes.faults == []


async def test_an_empty_site_looks_right_too(tmp_path: Path, browser: Browser) -> None:
    async with serve(tmp_path, None) as empty:
        found = await explore(empty, logged_in=False, each=1)
        assert {path for path, *_ in broken(found, 200, 401)} <= {"/export.json"}, "made after the first midnight"
        eyes = await Eyes.open(empty, browser, logged_in=False)
        for place, page in enumerate(chosen([page for page in found if page.status == 200])):
            await eyes.look(page, look_at(place))
        await eyes.context.close()
        assert eyes.faults == [], "\n" + "\n".join(eyes.faults)


async def test_links_of_a_page_stay_on_the_site(pages: list[Found]) -> None:
    front = next(page for page in pages if page.path == "/")
    assert {"/leaderboard", "/status", "/api"} <= links_of(front)
