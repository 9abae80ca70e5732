"""Draw the picture that stands beside links to the site in chats: server/dsage_server/web/static/share.png.

    .venv/bin/python packaging/share/draw.py

It is the leaf of the site's icon, made of tiles as the front page has them, each a unit of work. Drawn by Chromium with
the fonts of Debian's package fonts-dejavu-core.
"""

from __future__ import annotations

import hashlib
import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page, sync_playwright

STATIC: Final = Path(__file__).parents[2] / "server" / "dsage_server" / "web" / "static"
PICTURE: Final = STATIC / "share.png"
CHROMIUM: Final = "/usr/bin/chromium"
WIDTH, HEIGHT = 1200, 630
"""What the Open Graph's readers show whole, in pixels."""
TILE, STEP, CORNER = 19, 24, 5
"""A tile's side, how far one begins behind the other, and how round it is."""
LEAF: Final = (664.0, 26.0, 18.2)
"""Where the icon's own corner comes to lie, and how much larger it is drawn."""
COVERED: Final = 0.5
"""A tile is lit if so much of it lies on the leaf."""
SAMPLES: Final = 5
"""Points of a tile that are looked at, each way."""
VALID: Final = ("#6fd3a0", "#5bc48f", "#47b17c", "#379a69", "#2c8559")
"""Found right: five greens, of which a keyed hash of its place gives each tile one."""
ACTIVE, COMPARING, READY, DIM = "#8fc1ff", "#f0c36a", "#20483a", "#15271f"
GROUND: Final = "#0e1814"
WORDS: Final = (
    ("Your computer’s", 72, 700, "#f2f7f4", 238), ("idle time,", 72, 700, "#f2f7f4", 322),
    ("for research", 72, 700, "#6fd3a0", 406), ("Small units of work, and no answer counts", 25, 400, "#a9bbb2", 478),
    ("until it has been checked.", 25, 400, "#a9bbb2", 514),
)  # fmt: skip
"""A line's text, its size, weight and colour, and where it stands."""
LEFT: Final = 72


def leaf() -> str:
    """Return the outline of the icon."""
    found = re.search(r' d="([^"]+)"', (STATIC / "icon.svg").read_text())
    assert found, "the icon has an outline"
    return found[1]


def draw_of(column: int, row: int) -> float:
    """Return a number from 0 to 1 that looks drawn and never changes."""
    digest = hashlib.sha256(bytes([column, row])).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def colour(column: int, row: int, share: float) -> str:
    """Return the colour of a tile of which such a share lies on the leaf."""
    lot = draw_of(column, row)
    if share < COVERED:
        return DIM
    if lot > 0.93:
        return READY
    if lot > 0.89:
        return ACTIVE
    if lot > 0.875:
        return COMPARING
    return VALID[int(lot / 0.875 * len(VALID))]


def covered(page: Page, places: list[tuple[int, int]]) -> list[float]:
    """Return how much of each tile lies on the leaf."""
    page.set_content(f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{leaf()}"/></svg>')
    x, y, scale = LEAF
    near = [(place + 0.5) / SAMPLES * TILE for place in range(SAMPLES)]
    points = [
        [(c * STEP + dx - x) / scale, (r * STEP + dy - y) / scale] for c, r in places for dx in near for dy in near
    ]
    inside = page.evaluate(
        "(all) => { const leaf = document.querySelector('path'); "
        "return all.map(([x, y]) => leaf.isPointInFill(new DOMPoint(x, y))); }",
        points,
    )
    each = SAMPLES * SAMPLES
    return [sum(inside[at : at + each]) / each for at in range(0, len(inside), each)]


def picture(places: list[tuple[int, int]], shares: list[float]) -> str:
    """Return the picture as SVG."""
    tiles = [
        f'<rect x="{c * STEP}" y="{r * STEP}" width="{TILE}" height="{TILE}" rx="{CORNER}" '
        f'fill="{colour(c, r, share)}" opacity="{faded(c, share):.2f}"/>'
        for (c, r), share in zip(places, shares, strict=True)
    ]
    lines = [
        f'<text x="{LEFT}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}">{words}</text>'
        for words, size, weight, fill, y in WORDS
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="DejaVu Sans">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{GROUND}"/>{"".join(tiles)}'
        f'<g transform="translate({LEFT} 84) scale(1.9)"><path d="{leaf()}" fill="#6fd3a0"/></g>'
        f'<text x="{LEFT + 76}" y="128" font-size="38" font-weight="700" fill="#f2f7f4">DSage</text>'
        f"{''.join(lines)}</svg>"
    )


def faded(column: int, share: float) -> float:
    """Return how much of a tile is seen: towards the words, those beside the leaf vanish."""
    return 1.0 if share >= COVERED else max(0.0, min(1.0, (column * STEP - 560) / 240))


def main() -> None:
    """Draw it."""
    places = [(column, row) for column in range(WIDTH // STEP + 1) for row in range(HEIGHT // STEP + 1)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        drawn = picture(places, covered(page, places))
        page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{drawn}")
        shot = page.screenshot(type="png")
        browser.close()
    with Image.open(BytesIO(shot)) as image:
        image.convert("RGB").save(PICTURE, optimize=True)
    sys.stdout.write(f"{PICTURE}: {PICTURE.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
