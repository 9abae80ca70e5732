"""Public pages as they live: what a visitor sees in a real browser while things happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from looking import chromium
from playwright.async_api import Browser, BrowserContext, Page, expect

from dsage_server.store.engine import Store
from dsage_server.web.live import Streams
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import SERVER_ID, World

HOSTILE = '<img src="https://evil.invalid/x" onerror="document.title=1"><script>document.title=2</script>'
PRIME = 10**30 + 57
PAGES = ("/", "/leaderboard", "/run/1", "/run/2", "/unit/1", "/status")


@dataclass
class Site:
    """A world, its pages on a port, and a browser to look at them."""

    world: World
    address: str
    streams: Streams
    runner: web.AppRunner
    browser: Browser
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def visit(self, path: str, *, watch: bool = True, **options: Any) -> tuple[BrowserContext, Page]:
        """Open a page in a fresh profile; note what its console says and what it asks for."""
        context = await self.browser.new_context(**options)
        page = await context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        await page.goto(self.address + path)
        if watch:
            await expect(page.locator("#live [role=status]")).to_have_text("live")
        return context, page


def fill(world: World) -> None:
    """A finished factorisation, and a run under way with a hostile title."""
    otter, wren = world.join("steady-otter-417"), world.join("brisk-wren-203")
    world.join("hidden-heron-999", public=False)
    done = world.submit("Factor a number", n="122*p")
    unit, _ = world.step(done, args=[{"n": 122 * PRIME}, 2])
    world.compute(unit, {"factor": PRIME}, otter, wren)
    result = {"n": 122 * PRIME, "factors": [[2, 1], [61, 1], [PRIME, 1]], "found_by": [[PRIME, unit]], "unfinished": []}
    world.step(done, finished=True, result=result)
    under_way = world.submit(HOSTILE)
    world.step(under_way, args=range(4), progress={"phase": "sieving", "fraction": 0.5, "note": HOSTILE})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Serve a filled world on a free port of localhost and start Chromium."""
    store = Store(tmp_path / "dsage.sqlite")
    world = World(store, 1_800_000_000.0)
    fill(world)
    streams = Streams(period_s=0.05)
    app = make_pages(
        store, server_id=SERVER_ID, name="Test Lab", clock=lambda: world.now, streams=streams, period_s=0.05
    )
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    port = runner.addresses[0][1]
    async with chromium() as browser:
        yield Site(world, f"http://localhost:{port}", streams, runner, browser)
    await runner.cleanup()
    store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_researchers_write_is_only_text(site: Site) -> None:
    for path in ("/", "/run/2", "/status"):
        context, page = await site.visit(path)
        assert await page.title() not in ("1", "2")
        assert not await context.cookies()
        await context.close()
    assert site.said == []
    assert {url.split("/")[2] for url in site.asked} == {site.address.removeprefix("http://")}


async def test_the_front_page_follows_what_happens_without_losing_the_visitors_place(site: Site) -> None:
    _, page = await site.visit("/")
    await page.get_by_role("link", name="run 1 is done").focus()
    site.world.join("late-lark-100")
    await expect(page.get_by_role("row", name="late-lark-100")).to_be_visible()
    assert await page.evaluate("document.activeElement.textContent") == "run 1 is done"
    site.world.step(2, progress={"phase": "linear algebra", "fraction": 0.75})
    await expect(page.get_by_text("linear algebra")).to_be_visible()
    await expect(page.get_by_text("75.0 %")).to_be_visible()
    assert await page.evaluate("document.activeElement.textContent") == "run 1 is done"
    site.world.step(2, finished=True, result=42)
    await expect(page.get_by_role("heading", name="No run is in progress")).to_be_visible()
    assert site.said == []


async def test_a_run_shows_its_result_when_it_is_done(site: Site) -> None:
    _, page = await site.visit("/run/2")
    await expect(page.get_by_role("heading", name="Result")).to_have_count(0)
    site.world.step(2, finished=True, result={"n": 6, "factors": [[2, 1], [3, 1]], "found_by": []})
    await expect(page.get_by_role("heading", name="Check it yourself")).to_be_visible()


async def test_live_can_be_paused_and_goes_on_with_everything(site: Site) -> None:
    _, page = await site.visit("/")
    await page.get_by_role("button", name="Pause live").click()
    await expect(page.get_by_role("status")).to_have_text("paused")
    await until(lambda: not site.streams.open)
    site.world.join("late-lark-100")
    assert await page.get_by_role("row", name="late-lark-100").count() == 0
    await page.get_by_role("button", name="Go on live").click()
    await expect(page.get_by_role("row", name="late-lark-100")).to_be_visible()


async def test_a_page_says_when_the_server_is_away(site: Site) -> None:
    _, page = await site.visit("/")
    await site.runner.cleanup()
    await expect(page.get_by_role("status")).to_contain_text("server away")
    await expect(page.get_by_role("row", name="steady-otter-417")).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
async def test_the_json_twin_says_what_the_page_says(site: Site, path: str) -> None:
    context, page = await site.visit(path)
    alternate = await page.locator("link[rel=alternate]").get_attribute("href")
    twin = await (await context.request.get(site.address + str(alternate))).json()
    data = twin["data"]
    said = {
        "/": lambda: [str(data["valid"]), f"{data['credit']:.2f}", data["running"][0]["phase"]],
        "/leaderboard": lambda: [line["pseudonym"] for line in data["leaders"]],
        "/run/1": lambda: [data["result"]["value"]["n"], data["finders"][0]["pseudonym"], data["app"]],
        "/run/2": lambda: [data["run"]["title"], data["progress"]["value"]["note"]],
        "/unit/1": lambda: [data["answer"]["value"]["factor"], data["replicas"][0]["pseudonym"]],
        "/status": lambda: [data["server_id"], data["version"], data["runs"][0]["title"]],
    }[path]()
    text = await page.inner_text("body")
    for part in said:
        assert part in text


async def test_the_first_view_is_small_and_does_not_jump(site: Site) -> None:
    _, page = await site.visit("/", viewport={"width": 1280, "height": 800})
    sent = await page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((entry) => entry.transferSize)"
    )
    assert sum(sent) <= 80_000
    assert len(sent) + 1 <= 12
    assert await page.evaluate(LAYOUT_SHIFT) <= 0.05


LAYOUT_SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  const observer = new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; });
  observer.observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => setTimeout(() => resolve(sum), 0));
})"""
