"""One's own page in a real browser: in by a link, a passkey made and used, without JavaScript, small and dark."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from dsage_server.store import passkeys, visits
from dsage_server.store.engine import Store
from dsage_server.store.leases import Caller
from dsage_server.store.visits import Role
from dsage_server.web.pages import make_pages
from dsage_server.web.personal.mine import FRESH_S
from dsage_server.web.testing import SERVER_ID, World

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ROOMS = ("/me", "/me/credit", "/me/devices", "/me/privacy", "/me/login")
KEY = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


@dataclass
class Site:
    """A world, its pages on a port of localhost, and a browser."""

    world: World
    otter: Caller
    address: str
    browser: Browser
    said: list[str] = field(default_factory=list)

    async def open(self, **options: Any) -> tuple[BrowserContext, Page]:
        """Open an empty page in a fresh profile."""
        context = await self.browser.new_context(**options)
        page = await context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        return context, page

    async def log_in(self, page: Page) -> None:
        """Log a page's browser in by a link."""
        code = self.world.store.write_now(
            lambda c: visits.make_link(c, Role.VOLUNTEER, str(self.otter.volunteer), self.world.now)
        )
        await page.goto(f"{self.address}/login/{code}")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", name="steady-otter-417")).to_be_visible()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Serve a small world on a free port, and start Chromium."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and this is CI")
        pytest.skip(f"{CHROMIUM} is missing: install the package chromium to look at the pages")
    store = Store(tmp_path / "dsage.sqlite")
    world = World(store, 1_800_000_000.0)
    otter, wren = world.join("steady-otter-417"), world.join("brisk-wren-203")
    run = world.submit("A run with a rather long title that has to wrap on a phone")
    paid, waits, failing = world.step(run, args=[1, 2, 3], credit_milli=64_000)
    world.compute(paid, "same", otter, wren)
    world.lease(otter, waits)
    world.report(otter, waits, "first")
    world.lease(otter, failing)
    world.report(otter, failing, status="failed")
    app = make_pages(store, server_id=SERVER_ID, name="Test Lab", clock=lambda: world.now, period_s=0.05)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield Site(world, otter, f"http://localhost:{port}", browser)
        await browser.close()
    await runner.cleanup()
    store.close()


async def test_a_passkey_is_made_and_logs_in_without_a_name(site: Site) -> None:
    context, page = await site.open()
    session = await context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    await session.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    await site.log_in(page)
    await page.get_by_role("link", name="Logging in").click()
    await page.get_by_label("Name of the new passkey").fill("my phone")
    await page.get_by_role("button", name="Make a passkey").click()
    await expect(page.get_by_role("status")).to_contain_text("The passkey is kept")
    await expect(page.get_by_role("row", name="my phone")).to_be_visible()

    await page.get_by_role("button", name="Make a passkey").click()
    await expect(page.get_by_role("alert")).not_to_be_empty()  # the authenticator has one for this account

    await page.locator(".tabs").get_by_role("button", name="Log out").click()
    await page.goto(f"{site.address}/me")
    await page.get_by_role("button", name="Log in by a passkey").click()
    await expect(page.get_by_role("heading", name="steady-otter-417")).to_be_visible()
    (known,) = site.world.store.read_now(lambda c: passkeys.of(c, site.otter.volunteer))
    assert known.sign_count > 0
    assert known.used == site.world.now

    site.world.now += FRESH_S + 1
    await page.goto(f"{site.address}/me/privacy")
    await expect(page.get_by_role("button", name="Erase my account")).to_have_count(0)
    await page.get_by_role("button", name="Confirm with a passkey").click()
    await page.get_by_label("I am sure").check()
    await page.get_by_role("button", name="Erase my account").click()
    await expect(page.get_by_role("heading", name="Your account is erased")).to_be_visible()
    await page.goto(f"{site.address}/me")
    await page.get_by_role("button", name="Log in by a passkey").click()
    await expect(page.get_by_role("alert")).to_contain_text("not known here")
    assert [line for line in site.said if "403" not in line and "Clear-Site-Data" not in line] == []


async def test_everything_but_passkeys_works_without_javascript(site: Site) -> None:
    _, page = await site.open(java_script_enabled=False)
    await site.log_in(page)
    await page.get_by_role("link", name="Privacy").click()
    await page.get_by_label("Computers", exact=True).check()
    await page.get_by_label("Country").select_option("New Zealand")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_contain_text("Saved")
    await expect(page.get_by_label("Country")).to_have_value("NZ")
    await page.get_by_role("link", name="Logging in").click()
    await page.get_by_role("button", name="Make a recovery code").click()
    code = await page.locator(".code-shown").inner_text()
    assert re.fullmatch(r"([A-Z2-9]{5}-){3}[A-Z2-9]{5}", code)
    await page.get_by_role("button", name="I have written it down").click()
    await page.locator(".tabs").get_by_role("button", name="Log out").click()
    await page.goto(f"{site.address}/me")
    await page.get_by_role("textbox", name="Recovery code").fill(code.lower())
    await page.get_by_role("button", name="Log in", exact=True).click()
    await expect(page.get_by_role("status")).to_contain_text("That code is void now")


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 390), ("dark", 1280)])
async def test_the_pages_fit(site: Site, scheme: str, width: int) -> None:
    _, page = await site.open(color_scheme=scheme, viewport={"width": width, "height": 800})
    await page.goto(f"{site.address}/me")
    assert await page.evaluate(WIDER) <= 0
    await site.log_in(page)
    for room in ROOMS:
        await page.goto(site.address + room)
        assert await page.evaluate(WIDER) <= 0, room
        assert await page.evaluate(SMALLEST_TARGET) >= 24, room
    assert site.said == []


WIDER = "document.documentElement.scrollWidth - innerWidth"
SMALLEST_TARGET = """
Math.min(...[...document.querySelectorAll("button, select, input:not([type=hidden]), summary, nav a")]
  .filter((each) => each.getClientRects().length)
  .map((each) => each.getBoundingClientRect().height))
"""
