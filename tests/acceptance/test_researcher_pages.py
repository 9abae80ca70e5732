"""A researcher's pages as they are used: the command prints a link, and a browser without scripts does the rest."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from looking import RULES, THEMES, TOO_WIDE, chromium
from playwright.async_api import Page, expect

from dsage import wire
from dsage.trust.envelope import seal
from dsage_server.testing import World, running_server

DSAGE = str(Path(sys.executable).with_name("dsage"))


async def typed(home: Path, *words: str) -> str:
    """Type a command; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        DSAGE, *words, env={**os.environ, "DSAGE_HOME": str(home)}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, words
    return said.decode().strip()


async def filled(world: World) -> int:
    """A run with units, one of whose copies failed and printed something; return its number."""
    host, run = await world.host(), await world.run()
    await run.make(1, 2, 3)
    (copy,) = await host.fetch()
    batch, _ = host.signed([copy], [b""], status="failed", reason="exception", value="")
    report = wire.Report(
        replica=copy.replica, value=None, cpu_s=1.0, detail="ZeroDivisionError: <b>no</b>", output=b"step 1\n<i>2</i>\n"
    )
    await host.exchange(reports=[report], proof=seal(batch, host.key))
    return run.run


async def looked_at(page: Page, address: str) -> None:
    """Look at a page narrow and light, wide and dark; nothing may be wrong with it."""
    await page.goto(address)
    for theme, width in zip(THEMES, (320, 1280), strict=True):
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(TOO_WIDE) == "", (address, width)
        found = await Axe().run(page, options={"runOnly": list(RULES)})
        broken = [(rule["id"], node["html"][:200]) for rule in found.response["violations"] for node in rule["nodes"]]
        assert not broken, (address, theme, width)


async def test_what_a_researcher_does_from_the_link_to_the_token(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_server(tmp_path))
        number = await filled(World(running, tmp_path, stack))
        browser = await stack.enter_async_context(chromium())
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()

        await page.goto(await typed(tmp_path, "web", "--print"))
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{running.pages_url}/runs")
        await page.get_by_role("link", name="Plain").first.click()
        await expect(page.locator("pre.lines").first).to_have_text("ZeroDivisionError: <b>no</b>")
        for button, sure, state in (("Pause …", "Pause it", "paused"), ("Go on …", "Let it go on", "running")):
            await page.get_by_role("button", name=button).click()
            await page.get_by_role("button", name=sure).click()
            await expect(page.locator(".standing .chip").first).to_have_text(state)
        await page.goto(f"{running.pages_url}/audit")
        await expect(page.get_by_text(re.compile(f"resumed run {number}"))).to_be_visible()

        await page.goto(f"{running.pages_url}/tokens")
        await page.get_by_label("What is it for?").fill("nightly plots")
        await page.get_by_role("button", name="Make it").click()
        secret = (await page.locator("pre.check code").inner_text()).strip()
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as program:
            answer = await program.get(f"{running.pages_url}/runs/{number}.json")
            assert (await answer.json())["data"]["failures"]["bad"] == 1
            await page.get_by_role("button", name="Revoke nightly plots").click()
            await page.get_by_role("button", name="Revoke it").click()
            assert (await program.get(f"{running.pages_url}/runs/{number}.json")).status == 401

        seeing = await browser.new_context(
            storage_state=await context.storage_state(), bypass_csp=True, reduced_motion="reduce"
        )
        look = await seeing.new_page()
        for path in ("/runs", f"/runs/{number}", f"/runs/{number}/units", f"/runs/{number}/cancel", "/tokens"):
            await looked_at(look, running.pages_url + path)
        await page.get_by_role("button", name="Log out").click()
        await page.goto(f"{running.pages_url}/runs")
        await expect(page.get_by_text("You are not logged in here as a researcher")).to_be_visible()
