"""Ways through the site in a real browser: by keyboard alone, without JavaScript, in another language, by a link."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from looking import Eyes, chromium
from playwright.async_api import Browser, Page, expect
from seeded_site import Site, seeded, serve

from dsage_server.store.visits import Role
from dsage_server.web.visitors import HOMES

pytestmark = pytest.mark.asyncio(loop_scope="module")
WALKED = ("/", "/leaderboard", "/status", "/discoveries", "/api", "/join", "/me")
OUTLINE = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const hidden = !one.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
  const outside = box.right <= 0 || box.left >= innerWidth || box.bottom <= 0 || box.top >= innerHeight;
  return {name: one.outerHTML.slice(0, 120), hidden, ringed, outside, body: one === document.body};
}"""
STOPS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter((one) => one.type !== "hidden" && !one.disabled && one.checkVisibility({visibilityProperty: true})).length"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> AsyncIterator[Site]:
    """A site with people and work of all kinds."""
    assert pytestconfig.cache is not None
    database = seeded(pytestconfig.cache.mkdir("seeded"))
    async with serve(tmp_path_factory.mktemp("site"), database, researchers=True) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


async def chooses(page: Page, language: str, theme: str) -> None:
    """Use the form at a page's end."""
    await page.locator("select[name=language]").select_option(language)
    await page.locator("select[name=theme]").select_option(theme)
    await page.locator("form.look button").click()


@pytest.mark.parametrize("path", WALKED)
async def test_the_tab_key_goes_everywhere_and_shows_where(site: Site, browser: Browser, path: str) -> None:
    eyes = await Eyes.open(site, browser, viewport={"width": 1280, "height": 900})
    page = eyes.page
    await page.goto(site.address + path)
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Skip to the content")
    stops, wrong, places = await page.evaluate(STOPS), [], []
    for _ in range(min(stops, 60)):
        at = await page.evaluate(OUTLINE)
        if at["body"]:
            break
        places.append(at["name"])
        if at["hidden"] or at["outside"] or not at["ringed"]:
            wrong.append(at)
        await page.keyboard.press("Tab")
    assert wrong == []
    assert len(places) >= min(stops, 60) - 1, "the key does not come past everything"
    await page.keyboard.press("Shift+Tab")
    assert not (await page.evaluate(OUTLINE))["hidden"], "the way back is open too"
    await eyes.context.close()
    assert eyes.faults == []


async def test_the_skip_link_leads_past_the_pages_head(site: Site, browser: Browser) -> None:
    eyes = await Eyes.open(site, browser)
    page = eyes.page
    await page.goto(site.address + "/discoveries")
    await page.keyboard.press("Tab")
    box = await page.locator(":focus").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.closest('main') !== null")
    await eyes.context.close()


async def test_all_is_read_without_javascript(site: Site, browser: Browser) -> None:
    eyes = await Eyes.open(site, browser, java_script_enabled=False)
    page = eyes.page
    await page.goto(site.address + "/")
    await expect(page.locator("#live")).to_be_hidden()
    await page.locator(".live, main").get_by_role("link", name=re.compile("Pulses|factor|Totally")).first.click()
    await expect(page.locator("h1")).to_be_visible()
    assert page.url.startswith(site.address + "/run/")
    await page.get_by_role("link", name="This page as JSON").click()
    assert '"schema"' in await page.content()
    await page.goto(site.address + "/audit")
    await expect(page.locator("time").first).to_contain_text("UTC")
    await eyes.context.close()
    assert eyes.faults == []


async def test_lists_are_sorted_and_turned_without_javascript(site: Site, browser: Browser) -> None:
    eyes = await Eyes.open(site, browser, java_script_enabled=False)
    page = eyes.page
    await page.goto(site.address + "/leaderboard")
    before = page.url
    await page.locator("thead a").first.click()
    assert page.url != before
    await expect(page.locator("th[aria-sort]")).to_have_count(1)
    await page.goto(site.address + "/status")
    await page.locator("table.runs a").first.click()
    await page.locator("main a[href*='/units']").first.click()
    await expect(page.locator("main table tbody tr").first).to_be_visible()
    if await page.locator("a[rel=next]").count():
        await page.locator("a[rel=next]").click()
        await expect(page.locator("a[rel=prev]")).to_be_visible()
    await eyes.context.close()
    assert eyes.faults == []


@pytest.mark.parametrize("scripts", [True, False])
async def test_language_and_theme_are_kept(site: Site, browser: Browser, scripts: bool) -> None:
    eyes = await Eyes.open(site, browser, logged_in=False, java_script_enabled=scripts, color_scheme="light")
    page = eyes.page
    await page.goto(site.address + "/audit?page=1")
    assert not await eyes.context.cookies(), "nobody is followed who chose nothing"
    await chooses(page, "de", "dark")
    assert page.url == site.address + "/audit"
    await expect(page.locator("html[lang=de][data-theme=dark]")).to_have_count(1)
    await page.goto(site.address + "/status")
    await expect(page.locator("html[lang=de][data-theme=dark]")).to_have_count(1)
    assert {each["name"] for each in await eyes.context.cookies()} == {"language", "theme"}
    await chooses(page, "en", "")
    await expect(page.locator("html[lang=en]:not([data-theme])")).to_have_count(1)
    await eyes.context.close()
    assert eyes.faults == []


async def test_the_chosen_theme_wins_over_the_systems(site: Site, browser: Browser) -> None:
    dark = await Eyes.open(site, browser, logged_in=False, color_scheme="dark")
    await dark.page.goto(site.address + "/status")
    colours = [await dark.page.evaluate("getComputedStyle(document.body).color")]
    await chooses(dark.page, "en", "light")
    colours.append(await dark.page.evaluate("getComputedStyle(document.body).color"))
    assert colours[0] != colours[1]
    await dark.context.close()


async def test_a_browsers_language_is_taken(site: Site, browser: Browser) -> None:
    eyes = await Eyes.open(site, browser, logged_in=False, locale="de-CH", timezone_id="Pacific/Auckland")
    await eyes.page.goto(site.address + "/audit")
    await expect(eyes.page.locator("html[lang=de]")).to_have_count(1)
    time = eyes.page.locator("time.date").first
    assert "UTC" not in await time.inner_text(), "the visitor's own zone"
    assert "UTC" in str(await time.get_attribute("title"))
    await eyes.context.close()


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("scripts", [True, False])
async def test_a_link_logs_in_once(site: Site, browser: Browser, role: Role, scripts: bool) -> None:
    eyes = await Eyes.open(site, browser, logged_in=False, java_script_enabled=scripts)
    link = site.link(role)
    await eyes.page.goto(link)
    await eyes.page.get_by_role("main").get_by_role("button").click()
    await eyes.page.wait_for_load_state()
    assert eyes.page.url == site.address + HOMES[role]
    answer = await eyes.page.goto(eyes.page.url)
    assert answer is not None
    assert answer.status == 200
    answer = await eyes.page.goto(link)
    assert answer is not None
    assert answer.status == 404
    await eyes.context.close()
    assert eyes.faults == []


async def test_printed_pages_have_no_navigation(site: Site, browser: Browser, tmp_path: Path) -> None:
    eyes = await Eyes.open(site, browser, logged_in=False)
    await eyes.page.goto(site.address + "/discovery/1")
    await eyes.page.emulate_media(media="print")
    await expect(eyes.page.locator("header nav")).to_be_hidden()
    await expect(eyes.page.locator("h1")).to_be_visible()
    await eyes.context.close()
