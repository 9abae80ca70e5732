"""The manager in a real browser: what the owner of a computer sees and does, with and without JavaScript."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from manager_visit import NAMES, offers
from owner_stand import CODE, LINK, NOW, OwnerStand
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from dsage.trust.invite import Link
from dsage.wire import Privacy
from dsage_client.asking import Offer
from dsage_client.door.words import Newcomer
from dsage_client.manager.app import Manager, Site, serve
from dsage_client.manager.live import Live
from dsage_client.words import PSEUDO, speak

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = ("", "history", "servers", "preferences", "log", "join", "leave?server=lab", "erase?server=lab", "nothing-here")
AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text()
BROKEN = "axe.run().then((found) => JSON.stringify(found.violations.map((rule) => [rule.id, rule.nodes[0].html])))"
SMALLEST_TARGET = """() => Math.min(...[...document.querySelectorAll("button, nav a, input, select, .button")]
  .filter((element) => element.type !== "hidden" && element.checkVisibility())
  .map((element) => (element.closest("label") || element).getBoundingClientRect().height))"""


@dataclass
class Desk:
    """A computer's owner at a browser: the agent, its manager, and what the browser said and asked for."""

    owner: OwnerStand
    site: Site
    browser: Browser
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def open(self, name: str = "", **options: Any) -> tuple[BrowserContext, Page, str]:
        """Open the manager by a fresh address in a fresh profile, then one of its pages."""
        context = await self.browser.new_context(**options)
        page = await context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        await page.goto(self.site.link())
        room = page.url
        if name:
            await page.goto(room + name)
        return context, page, room


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """Serve the manager of a stand-in agent and start Chromium."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and this is CI")
        pytest.skip(f"{CHROMIUM} is missing: install the package chromium to look at the pages")
    owner = OwnerStand()

    offer = offers()

    async def ask(link: Link) -> Offer:
        return offer(link)

    site = await serve(
        owner, manager=Manager(owner, now=lambda: NOW, ask=ask, live=Live(owner.follow, keepalive_s=0.5))
    )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield Desk(owner, site, browser)
        await browser.close()
    await site.close()


async def examine(context: BrowserContext, page: Page) -> list[Any]:
    """Return which rules of accessibility a page breaks. Its own policy stays in force: axe comes from outside."""
    session = await context.new_cdp_session(page)
    wish = {"expression": f"{AXE};{BROKEN}", "awaitPromise": True, "returnByValue": True}
    found: list[Any] = json.loads((await session.send("Runtime.evaluate", wish))["result"]["value"])
    return found


async def fits(page: Page) -> None:
    """Nothing is wider than the window, and what is to be touched can be."""
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, page.url
    assert await page.evaluate(SMALLEST_TARGET) >= 24, page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
async def test_every_page_fits_and_breaks_no_rule(desk: Desk, scheme: Any, width: int) -> None:
    context, page, room = await desk.open(color_scheme=scheme, viewport={"width": width, "height": 800})
    for name in PAGES:
        await page.goto(room + name)
        if name not in ("nothing-here", "log"):
            await expect(page.locator("#live")).to_have_text("live")
        await fits(page)
        assert await examine(context, page) == [], name
        assert await page.title() not in ("1", "2")
    await page.goto(room + "join")
    await page.get_by_label("Link").fill(f"{LINK}&code={CODE}")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("heading", name="Join Number Lab?")).to_be_visible()
    await fits(page)
    assert await examine(context, page) == []
    await page.goto(room + "preferences")
    await page.locator("[id='idle.percent']").fill("101")
    await page.locator("[id='hours-0-start']").fill("")
    await page.get_by_role("button", name="Save").first.click()
    await expect(page.get_by_role("alert")).to_contain_text("2 things have to change")
    await fits(page)
    assert await examine(context, page) == []
    await desk.owner.pause()
    await page.goto(room)
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    await fits(page)
    assert await examine(context, page) == []
    assert [line for line in desk.said if "404" not in line and "400" not in line] == []
    assert {url.split("/")[2] for url in desk.asked} == {f"127.0.0.1:{desk.site.port}"}


async def test_longer_words_of_another_language_fit_too(desk: Desk) -> None:
    speak(PSEUDO)
    try:
        context, page, room = await desk.open(viewport={"width": 320, "height": 800})
        for name in PAGES:
            await page.goto(room + name)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
            assert await examine(context, page) == [], name
    finally:
        speak("en")


async def test_the_page_follows_the_client_and_the_owner_keeps_the_place(desk: Desk) -> None:
    _, page, _ = await desk.open()
    await expect(page.locator("#live")).to_have_text("live")
    await page.get_by_label("Pause").first.select_option("3h")
    await page.get_by_label("Pause").first.focus()
    running = desk.owner.now.running[0]
    running.fraction = 0.75
    await desk.owner.change(running=[running], sentence="Computing beside you")
    await expect(page.get_by_text("75.0 %")).to_be_visible()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Computing beside you")
    assert await page.evaluate("document.activeElement.id") == "duration"
    assert await page.locator("#duration").input_value() == "3h"
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Paused by you until 15:30")
    assert desk.owner.asked == [("pause", "3h")]
    await desk.owner.resume()
    await expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    assert desk.said == []


async def test_the_page_says_when_the_agent_has_gone(desk: Desk) -> None:
    _, page, _ = await desk.open()
    await expect(page.locator("#live")).to_have_text("live")
    await desk.site.close()
    await expect(page.locator("#live")).to_contain_text("the agent does not answer")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Computing")


async def test_no_page_open_nothing_followed(desk: Desk) -> None:
    context, page, _ = await desk.open()
    await expect(page.locator("#live")).to_have_text("live")
    assert desk.owner.followers == 1
    await context.close()
    async with asyncio.timeout(40):
        while desk.owner.followers:
            await asyncio.sleep(0.05)


async def test_all_is_done_without_javascript(desk: Desk) -> None:
    _, page, _ = await desk.open(java_script_enabled=False)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Paused by you until 15:30")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Computing")
    await page.get_by_role("link", name="Preferences").click()
    await page.get_by_label("beside me too").check()
    await page.get_by_role("button", name="Add hours : Hours of network").click()
    window = page.locator("[id='network_hours-0-day']")
    await window.get_by_label("from").fill("01:30")
    await window.get_by_label("to", exact=True).fill("05:00")
    await window.get_by_label("Wed").uncheck()
    await page.get_by_role("button", name="Save", exact=True).last.click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    assert desk.owner.kept.when == "always"
    assert [(w.start, w.end, len(w.days)) for w in desk.owner.kept.network_hours] == [("01:30", "05:00", 6)]
    await page.get_by_role("link", name="Servers").click()
    await page.get_by_label("A picture of ten thousand tiles").uncheck()
    await page.get_by_role("button", name="Save").first.click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    assert desk.owner.kept.refused == ("lab/render",)


async def test_joining_and_leaving(desk: Desk) -> None:
    _, page, _ = await desk.open("servers")
    await page.get_by_role("link", name="Join a server").click()
    await page.get_by_label("Link").fill("a letter")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("#link-wrong")).to_contain_text("not an invite link")
    await page.get_by_label("Link").fill(f"{LINK}&code={CODE}")
    await page.get_by_role("button", name="Go on").click()
    for switch in ("List me on the leaderboard", "Name me beside discoveries"):
        await expect(page.get_by_role("switch", name=switch)).not_to_be_checked()
    await expect(page.get_by_text(NAMES[0])).to_be_visible()
    await page.get_by_role("switch", name="Name me beside discoveries").check()
    await page.get_by_role("button", name="Another name").click()
    await expect(page.get_by_text(NAMES[1])).to_be_visible()
    await expect(page.get_by_role("switch", name="Name me beside discoveries")).to_be_checked()
    await page.get_by_role("button", name="Agree and join").click()
    await expect(page.get_by_text("This computer has joined.")).to_be_visible()
    wish = Newcomer(name=NAMES[1], shown=Privacy(discoveries=True))
    assert desk.owner.asked == [("join", f"{LINK}&code={CODE}", wish)]
    await page.get_by_role("link", name="Leave this server").first.click()
    await page.get_by_role("button", name="Leave").click()
    await expect(page.get_by_text("has left the server")).to_be_visible()
    assert desk.owner.asked[-1] == ("leave", "lab", False)


async def test_what_others_see_is_switched_later(desk: Desk) -> None:
    _, page, _ = await desk.open("servers", java_script_enabled=False)
    listed = page.get_by_role("switch", name="List me on the leaderboard")
    await expect(listed).to_be_checked()
    await listed.uncheck()
    await page.get_by_role("switch", name="Name me beside discoveries").check()
    await page.get_by_role("button", name="Save what others see").click()
    await expect(page.get_by_text("the server shows this from now on")).to_be_visible()
    await expect(page.get_by_role("switch", name="List me on the leaderboard")).not_to_be_checked()
    assert desk.owner.asked == [("privacy", "lab", Privacy(discoveries=True))]


async def test_an_account_is_erased_only_after_a_tick(desk: Desk) -> None:
    context, page, _ = await desk.open("servers")
    await page.get_by_role("link", name="Leave this server").last.click()
    await page.get_by_role("link", name="Erase my account there").click()
    await expect(page.get_by_text("Not erased")).to_be_visible()
    await page.get_by_role("button", name="Leave and erase").click()
    await expect(page.locator("#sure-wrong")).to_contain_text("Nothing was erased")
    assert await examine(context, page) == []
    assert desk.owner.asked == []
    await page.get_by_label("Yes, erase it for good").check()
    await page.get_by_role("button", name="Leave and erase").click()
    await expect(page.get_by_text("the server has forgotten your account")).to_be_visible()
    assert desk.owner.asked == [("leave", "dark", True)]


async def test_the_picture_on_the_whole_screen_and_as_a_screensaver(desk: Desk) -> None:
    _, page, room = await desk.open()
    await expect(page.locator("#live")).to_have_text("live")
    await expect(page.get_by_role("button", name="Full-screen view")).to_have_count(0)
    await desk.owner.change(helped=True)
    await page.get_by_role("button", name="Full-screen view").click()
    await expect(page.get_by_text("opens on your screen")).to_be_visible()
    await page.goto(room + "preferences")
    await page.get_by_role("button", name="Use as my screensaver").click()
    await expect(page.get_by_text("DSage is your screensaver. The settings")).to_be_visible()
    await expect(page.get_by_role("button", name="Use as my screensaver")).to_have_count(0)
    assert desk.owner.asked == [("view",), ("screensaver",)]


async def test_the_keyboard_alone_is_enough(desk: Desk) -> None:
    _, page, _ = await desk.open()
    await page.keyboard.press("Tab")
    skip = page.locator(":focus")
    await expect(skip).to_have_text("Skip to the content")
    box = await skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    reached = []
    for _ in range(12):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("(document.activeElement.innerText || document.activeElement.id).trim()"))
        shown = "getComputedStyle(document.activeElement)"
        assert await page.evaluate(f"{shown}.outlineStyle !== 'none' || {shown}.boxShadow !== 'none'"), reached[-1]
        if reached[-1] == "Finish, then stop":
            break
    assert reached[:5] == ["Now", "History", "Servers", "Preferences", "Log"]
    assert reached[-2:] == ["Pause", "Finish, then stop"]
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Finishing what is begun")


async def test_another_page_in_the_same_browser_can_neither_read_nor_press_nor_frame(desk: Desk) -> None:
    context, _, room = await desk.open()
    other = await serve(OwnerStand())
    evil = await context.new_page()
    await evil.goto(f"http://127.0.0.1:{other.port}/nothing")
    await evil.route("**/trap", lambda route: route.fulfill(body=TRAP % (room, room), content_type="text/html"))
    await evil.goto(f"http://127.0.0.1:{other.port}/trap")
    assert (
        await evil.evaluate(f"fetch('{room}', {{credentials: 'include'}}).then(() => 'read', () => 'kept')") == "kept"
    )
    async with evil.expect_navigation():
        await evil.evaluate("document.forms[0].submit()")
    await expect(evil.get_by_role("heading", level=1)).to_contain_text("came from another page")
    assert desk.owner.asked == []
    await evil.goto(f"http://127.0.0.1:{other.port}/trap")
    frame = evil.frames[1]
    assert "Computing" not in await frame.locator("body").inner_text()
    await other.close()


TRAP = """<!doctype html><iframe src="%s"></iframe><form method="post" action="%sfinish"></form>"""


async def test_the_first_view_is_small_and_does_not_jump(desk: Desk) -> None:
    _, page, _ = await desk.open(viewport={"width": 1280, "height": 800})
    await expect(page.locator("#live")).to_have_text("live")
    sent = await page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((entry) => entry.transferSize)"
    )
    assert sum(sent) <= 80_000
    assert len(sent) <= 12
    assert await page.evaluate(LAYOUT_SHIFT) <= 0.05


LAYOUT_SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  const observer = new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; });
  observer.observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => setTimeout(() => resolve(sum), 0));
})"""
