"""Take the pictures of the site that the documents show: docs/pictures/site-*.png.

    .venv/bin/python tests/support/screenshots.py

fills a server of usual size, serves it and looks at some of its pages with Chromium: in light and dark, on a screen and
on a phone. What it made is kept in build/, for the next time.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from looking import Eyes, Look, chromium
from PIL import Image
from playwright.async_api import Browser, expect
from seeded_site import NOW, Site, seeded, serve
from sqlalchemy import Connection, select, update

from dsage_server.seeding.people import Size
from dsage_server.store import announcements
from dsage_server.store.discoveries import PUBLISHED
from dsage_server.store.schema import discovery, replica, volunteer

ROOT: Final = Path(__file__).parents[2]
PICTURES: Final = ROOT / "docs" / "pictures"
BUILD: Final = ROOT / "build"
COLOURS: Final = 256
SCREEN: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}


def views(site: Site, discovery: int) -> list[tuple[str, str, Look]]:
    """Return name, path and look of each picture."""
    pages = {
        "front": "/", "leaderboard": "/leaderboard", "profile": f"/u/{site.pseudonym}",
        "discovery": f"/discovery/{discovery}", "countries": "/countries",
    }  # fmt: skip
    wide = [(name, path, Look("light", "en", SCREEN["width"])) for name, path in pages.items()]
    wide += [(f"{name}-dark", pages[name], Look("dark", "en", SCREEN["width"])) for name in ("front", "profile")]
    phone = [("front-phone", "/", Look("light", "en", PHONE["width"]))]
    return [*wide, *phone, ("leaderboard-phone", pages["leaderboard"], Look("dark", "de", PHONE["width"]))]


def show_off(connection: Connection) -> int:
    """Have the people behind the newest discovery agree to be named, and say nothing on top; return its number."""
    announcements.withdraw(connection, 1, NOW)
    newest = select(discovery.c.id, discovery.c.unit_id).where(
        discovery.c.state == PUBLISHED, discovery.c.correction == ""
    )
    found = connection.execute(newest.order_by(discovery.c.id.desc())).first()
    assert found is not None
    people = select(replica.c.volunteer_id).where(replica.c.unit_id == found.unit_id)
    connection.execute(update(volunteer).where(volunteer.c.id.in_(people)).values(public=True))
    return int(found.id)


async def take(site: Site, browser: Browser, name: str, path: str, look: Look) -> Path:
    """Take one picture, with more pixels than points: as sharp as on the screens that people have."""
    small = look.width == PHONE["width"]
    eyes = await Eyes.open(site, browser, logged_in=False, device_scale_factor=2 if small else 1.5)
    await eyes.dress(look, (PHONE if small else SCREEN)["height"])
    await eyes.page.goto(site.address + path)
    if await eyes.page.locator("#live").count():
        await expect(eyes.page.locator("#live[data-word=live]")).to_be_visible()
    file = PICTURES / f"site-{name}.png"
    await eyes.page.screenshot(path=file)
    await eyes.context.close()
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    return file


async def main() -> None:
    """Take them all."""
    BUILD.mkdir(exist_ok=True)
    database = seeded(BUILD, Size())
    with tempfile.TemporaryDirectory() as folder:
        async with serve(Path(folder), database) as site, chromium() as browser:
            for name, path, look in views(site, site.store.write_now(show_off)):
                await take(site, browser, name, path, look)


if __name__ == "__main__":
    asyncio.run(main())
