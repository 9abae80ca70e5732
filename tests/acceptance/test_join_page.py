"""The page that an invite link leads to, in a real browser: with the link from behind the #, and without JavaScript."""

from __future__ import annotations

import os
import typing
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from aiohttp import web
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, async_playwright, expect

from dsage.trust.invite import Link
from dsage_server.published import Published
from dsage_server.store.engine import Store
from dsage_server.store.meta import remember
from dsage_server.web.joining import Invitation
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import SERVER_ID, World

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
Scheme = Literal["light", "dark"]
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"
API = "https://lab.example.org:8470"


@dataclass
class Site:
    """The pages on a port, and a browser."""

    address: str
    browser: Browser

    def link(self, *, paged: bool = True) -> Link:
        """An invite that leads to these pages; or to the server, as a browser has it that was sent on from there."""
        return Link(API, SERVER_ID, "ab" * 32, "cd" * 32, "s3cret", self.address if paged else "")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the pages of a server that has a project and a package."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and this is CI")
        pytest.skip(f"{CHROMIUM} is missing: install the package chromium to look at the pages")
    store = Store(tmp_path / "dsage.sqlite")
    world = World(store, 1_800_000_000.0)
    world.submit("Prime numbers of a special form")
    store.write_now(lambda connection: remember(connection, "url", API))
    for name in ("dsage_1.4.0_amd64.deb", "dsage-1.4.0-py3-none-any.whl", "dsage-setup-1.4.0.exe"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    published = Published.of(tmp_path / "server")
    published.publish(sorted(tmp_path.glob("dsage*1.4.0*")))
    app = make_pages(
        store, server_id=SERVER_ID, name="Test Lab", clock=lambda: world.now,
        joining=Invitation(published=published, operator="the people of the Test Lab"),
    )  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield Site(f"http://localhost:{runner.addresses[0][1]}", browser)
        await browser.close()
    await runner.cleanup()
    store.close()


@pytest.mark.parametrize("paged", [True, False])
async def test_the_link_is_in_the_command_and_in_the_button(site: Site, paged: bool) -> None:
    page = await site.browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + (request.post_data or "")))
    link = site.link(paged=paged)
    await page.goto(f"{site.address}/join#{str(link).partition('#')[2]}")
    await expect(page.locator("#command")).to_have_text(f"dsage join '{link}'")
    opened = await page.get_by_role("button", name="Open in DSage").get_attribute("href")
    assert opened is not None
    assert opened.startswith("dsage://")
    assert Link.parse(opened) == link
    assert not [url for url in asked if "s3cret" in url.partition("#")[0]]


@pytest.mark.parametrize("fragment", ["", "#x", "#v=2&at=lab';rm -rf;'" + "a" * 200, "#v=1&" + "<script>" * 30])
async def test_what_is_no_link_is_never_put_into_a_command(site: Site, fragment: str) -> None:
    page = await site.browser.new_page()
    await page.goto(f"{site.address}/join{fragment}")
    await expect(page.locator("#missing")).to_be_visible()
    await expect(page.locator("#link")).to_be_hidden()
    assert await page.locator("#command").text_content() == ""


async def test_a_phone_draws_the_link_to_take_to_a_computer(site: Site) -> None:
    context = await site.browser.new_context(user_agent=PHONE, viewport={"width": 360, "height": 740})
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto(f"{site.address}/join#{str(site.link()).partition('#')[2]}")
    picture = page.get_by_role("img", name="QR code of the invite link")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("it => it.getBoundingClientRect().width") > 200
    assert said == []


async def test_without_javascript_it_says_what_to_do(site: Site) -> None:
    context = await site.browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.address}/join#{str(site.link()).partition('#')[2]}")
    await expect(page.get_by_text("Copy the whole address of this page")).to_be_visible()
    await expect(page.get_by_role("link", name="dsage_1.4.0_amd64.deb")).to_be_visible()


@pytest.mark.parametrize("scheme", typing.get_args(Scheme))
@pytest.mark.parametrize("agent", [None, PHONE])
async def test_it_fits_and_breaks_no_rule_of_accessibility(site: Site, scheme: Scheme, agent: str | None) -> None:
    for width in (320, 1280):
        context = await site.browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, user_agent=agent
        )
        page = await context.new_page()
        await page.goto(f"{site.address}/join#{str(site.link()).partition('#')[2]}")
        await expect(page.locator("#link")).to_be_visible()
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        shots = os.environ.get("DSAGE_SHOTS")
        if shots:
            await page.screenshot(path=f"{shots}/join-{scheme}-{width}-{bool(agent)}.png", full_page=True)
        await context.close()
