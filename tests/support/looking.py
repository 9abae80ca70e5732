"""Pages looked at in Debian's Chromium: what breaks a rule of accessibility, does not fit, or is complained about."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from seeded_site import Found, Site

CHROMIUM: Final = Path("/usr/bin/chromium")
FLAGS: Final = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
LANGUAGES: Final = ("en", "en-XA", "de", "ar-XB")
WIDTHS: Final = (320, 768, 1280)
HEIGHT: Final = 900
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS: Final = ("color-contrast", "link-in-text-block")
"""What may differ between the themes."""
TOO_WIDE: Final = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= innerWidth) return "";
  const name = (one) => one.tagName.toLowerCase() + [...one.classList].map((word) => "." + word).join("");
  const wide = [...document.querySelectorAll("body *")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 1 || box.left < -1) && !one.closest(".scroll, .skip, .unseen");
  });
  return page.scrollWidth + " px: " + [...new Set(wide.map(name))].slice(-6).join(" ");
}"""

TOO_LONG: Final = """() => [...document.querySelectorAll(".numbers dd")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent).join(" ")"""
"""Numbers that do not fit into their boxes."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at; `width` is in CSS pixels."""

    theme: Theme
    language: str
    width: int


EVERY: Final = tuple(Look(*each) for each in product(THEMES, LANGUAGES, WIDTHS))


def look_at(place: int) -> Look:
    """Return the look for the page at a place of a list: twelve neighbours have all pairs of language and width."""
    return Look(THEMES[place // 12 % 2], LANGUAGES[place % 4], WIDTHS[place % 3])


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser; the test is skipped where it is missing, and fails there in CI."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and this is CI")
        pytest.skip(f"{CHROMIUM} is missing: install the package chromium to look at the pages")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        await browser.close()


class Eyes:
    """One visitor's window, in one theme; everything that was wrong with a page is in `faults`."""

    def __init__(self, site: Site, context: BrowserContext, page: Page) -> None:
        self.site = site
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self._where = ""
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("pageerror", lambda error: self._hear("error", str(error)))
        page.on("request", lambda request: self._follow(request.url))

    @classmethod
    async def open(cls, site: Site, browser: Browser, *, logged_in: bool = True, **options: Any) -> Eyes:
        """Open a window of a profile of its own."""
        context = await browser.new_context(reduced_motion="reduce", **options)
        if logged_in:
            await context.add_cookies(site.cookies())
        return cls(site, context, await context.new_page())

    async def look(self, found: Found, look: Look) -> None:
        """Look at a page by all rules in a look; at its colours in the other theme; at its widths in this language."""
        await self.look_over(found, look)
        await self._judge(RULES)
        other = next(theme for theme in THEMES if theme != look.theme)
        await self.page.emulate_media(color_scheme=other)
        self._where += f", then {other}"
        await self._judge(COLOURS)

    async def look_over(self, found: Found, look: Look) -> None:
        """Open a page: does it fit?"""
        self._where = f"{found.path} ({look.theme}, {look.language}, {look.width} px)"
        await self.dress(look)
        answer = await self.page.goto(self.site.address + found.path)
        if answer is None or answer.status != found.status:
            self.faults.append(f"{self._where}: answered {answer and answer.status}, not {found.status}")
        for width in (*(each for each in WIDTHS if each != look.width), look.width):
            await self.page.set_viewport_size({"width": width, "height": HEIGHT})
            if wide := await self.page.evaluate(TOO_WIDE):
                self.faults.append(f"{found.path} ({look.language}) at {width} px is {wide}")
            if long := await self.page.evaluate(TOO_LONG):
                self.faults.append(f"{found.path} ({look.language}) at {width} px has no room for {long}")

    async def dress(self, look: Look, height: int = HEIGHT) -> None:
        """Take on a look for the pages to come."""
        await self.context.add_cookies([{"name": "language", "value": look.language, "url": self.site.address}])
        await self.page.emulate_media(color_scheme=look.theme)
        await self.page.set_viewport_size({"width": look.width, "height": height})

    async def _judge(self, rules: tuple[str, ...]) -> None:
        result = await Axe().run(self.page, options={"resultTypes": ["violations"], "runOnly": list(rules)})
        for broken in result.response["violations"]:
            for node in broken["nodes"][:3]:
                self.faults.append(
                    f"{self._where}: {broken['id']} ({broken['help']}): {node['html'][:200]} "
                    f"{[each['message'] for each in node['any'] + node['all'] + node['none']][:2]}"
                )

    def _hear(self, kind: str, text: str) -> None:
        if not text.startswith("Failed to load resource: the server responded with a status of 40"):
            self.faults.append(f"{self._where}: {kind}: {text}")

    def _follow(self, address: str) -> None:
        if not address.startswith((self.site.address + "/", "data:", "blob:")):
            self.faults.append(f"{self._where}: asks for {address}")
