"""The site of the documents: it builds without a warning, loads nothing from elsewhere, and everybody can read it."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

ROOT: Final = Path(__file__).resolve().parents[2]
CHROMIUM: Final = Path("/usr/bin/chromium")
FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
AXE: Final = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text()
BROKEN: Final = (
    "axe.run({preload: false})"
    ".then((found) => JSON.stringify(found.violations.map((rule) => [rule.id, rule.nodes[0].html])))"
)
DOORS: Final = ("volunteer", "researcher", "operator", "contributor")
SHOWN: Final = ["index", "doors/researcher", "tutorials/first-project", "states", "sdk", "privacy", "errors"]
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    told = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "sphinx-build" in line)
    options = told.partition("sphinx-build")[2].partition("-d ")[0].split()
    assert "-W" in options
    command = [str(Path(sys.executable).with_name("sphinx-build")), *options, "-d", str(folder / "trees")]
    command += ["docs", str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder / "html"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and this is CI")
        pytest.skip(f"{CHROMIUM} is missing: install the package chromium to look at the site")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        await browser.close()


def test_each_document_has_a_page_below_one_of_the_four_doors(site: Path) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert not [page for page in written if not (site / page).with_suffix(".html").exists()]
    front = (site / "index.html").read_text()
    reached = {"index", *(f"doors/{door}" for door in DOORS)}
    for door in DOORS:
        text = (site / "doors" / f"{door}.html").read_text()
        assert f'href="doors/{door}.html"' in front
        assert [word for word in ("Tutorial", "How-to", "Reference", "Background") if f"<h2>{word}<" in text] == [
            "Tutorial", "How-to", "Reference", "Background",
        ]  # fmt: skip
        body = text.partition('role="main"')[2]
        reached |= {link.removesuffix(".html") for link in re.findall(r'href="\.\./([\w/-]+\.html)', body)}
    assert not {page.as_posix() for page in written} - reached


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|iframe|source)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//")
    assert not [str(page) for page in site.rglob("*.html") if loads.search(page.read_text())]
    styles = [sheet.read_text() for sheet in site.rglob("*.css")]
    assert styles
    assert not [sheet for sheet in styles if re.search(r"url\([\"']?(?:https?:)?//|@import", sheet)]


def test_tables_made_from_the_code_are_in_their_pages(site: Path) -> None:
    assert "may become" in (site / "states.html").read_text()
    assert "process_result" in (site / "sdk.html").read_text()
    assert "IllegalMove" not in (site / "sdk.html").read_text()
    assert 'id="dsage-keys-certify"' in (site / "every-command.html").read_text()


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1280)])
async def test_everybody_can_read_it(site: Path, browser: Browser, scheme: Scheme, width: int) -> None:
    page = await browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request", lambda request: heard.extend([] if request.url.startswith(("file:", "data:")) else [request.url])
    )
    for name in SHOWN:
        await page.goto((site / f"{name}.html").as_uri())
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert await broken(page) == [], name
    assert heard == []


async def test_the_search_finds_a_page(site: Path, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto((site / "search.html").as_uri() + "?q=wieferich")
    await expect(page.get_by_role("link", name="Your first project").first).to_be_visible()


async def broken(page: Page) -> list[list[str]]:
    """Return which rules of accessibility a page breaks, each with the first element that does."""
    await page.evaluate(AXE)
    found: list[list[str]] = json.loads(await page.evaluate(BROKEN))
    return found
