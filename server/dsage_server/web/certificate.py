"""Sheets of SVG to print, with nothing in them that was not escaped, and the certificate of a discovery."""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from dsage.wire import DiscoveryView
from dsage_server.store.discoveries import NOBODY
from dsage_server.web.speech import Speech
from dsage_server.web.telling import Telling

WIDTH: Final = 840
HEIGHT: Final = 594
"""The shape of a sheet of A4 on its side; it grows longer where there is much to tell."""
MARGIN: Final = 70
LONGEST: Final = 400
"""Characters of one fact; longer ones are cut, and stand whole in the JSON twin of the page."""
SERIF: Final = "font-family=\"Georgia, 'DejaVu Serif', serif\""
STYLES: Final = {
    "title": f'{SERIF} font-size="30" font-weight="bold" fill="#17202a"',
    "text": f'{SERIF} font-size="17" fill="#17202a"',
    "small": f'{SERIF} font-size="14" fill="#44525f"',
    "code": 'font-family="\'DejaVu Sans Mono\', Consolas, monospace" font-size="13" fill="#17202a"',
}
"""How lines look. These are attributes, since a style sheet in a file is refused by the pages' own policy."""
ROOM: Final = {"title": (40, 38), "text": (84, 24), "small": (100, 20), "code": (84, 19)}
"""How many characters of each find room beside each other, and how far two lines of a longer one are apart."""

TILE: Final = 12
STEP: Final = 20
ROWS: Final = 2
"""Tiles at the foot of a sheet: how large each is, how far the next one is, and how many stand above each other."""
FOOT: Final = 100
"""Where they begin, above the lower edge."""
GREENS: Final = ("#1f7a4d", "#379a69", "#6fc59b", "#b5dfc4", "#e4efe9", "#e4efe9", "#f0f5f2", "#f0f5f2")
LEAF: Final = re.findall(r' d="([^"]+)"', (Path(__file__).parent / "static" / "icon.svg").read_text())[0]

Line = tuple[str, str, int]
"""A style, what is written, and how far the next line is below."""


def svg(view: DiscoveryView, server: str, address: str, speech: Speech) -> str:
    """Return the certificate of a published discovery; `address` is where it can be looked at."""
    return sheet(view.title, _lines(view, server, address, speech), speech)


def sheet(title: str, lines: Iterable[Line], speech: Speech) -> str:
    """Return lines on a sheet with a frame; it has a `title` for whoever cannot see it."""
    told = list(lines)
    y, written = 0, []
    for style, words, below in told:
        wide, step = ROOM[style]
        for place, line in enumerate(textwrap.wrap(words, wide)):
            y += step if place else 0
            written.append((f'<text {STYLES[style]} x="{MARGIN}"', y, _told(line)))
        y += below
    top, height = MARGIN + 20, max(HEIGHT, y + MARGIN + FOOT)
    top += (height - FOOT - top - y) // 3
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" lang="{speech.spoken.code}" aria-labelledby="title"><title id="title">{_told(title)}</title>\n'
        f'<rect fill="#ffffff" width="{WIDTH}" height="{height}"/>'
        f'<rect fill="none" stroke="#1f7a4d" stroke-width="3" x="25" y="25" width="{WIDTH - 50}" '
        f'height="{height - 50}" rx="10"/><path fill="#3f8f6b" transform="translate({WIDTH - MARGIN - 44} 36) '
        f'scale(1.4)" d="{LEAF}"/>{_tiles(title, height)}\n'
        + "\n".join(f'{opened} y="{top + at}">{words}</text>' for opened, at, words in written)
        + "\n</svg>\n"
    )


def _tiles(title: str, height: int) -> str:
    """Return the tiles at the foot of a sheet: no two titles have the same."""
    seed, across = title.encode(errors="replace"), (WIDTH - 2 * MARGIN) // STEP
    lots = hashlib.shake_128(seed).digest(across * ROWS)
    return "".join(
        f'<rect x="{MARGIN + place % across * STEP}" y="{height - FOOT + place // across * STEP}" '
        f'width="{TILE}" height="{TILE}" rx="3" fill="{GREENS[lot % len(GREENS)]}"/>'
        for place, lot in enumerate(lots)
    )


def _lines(view: DiscoveryView, server: str, address: str, speech: Speech) -> Iterator[Line]:
    _ = speech.words.gettext
    holds = view.state == "published"
    yield "small", _("Certificate of a discovery") if holds else _("Correction: this discovery does not hold"), 44
    yield from wrapped("title", view.title, 40, 38)
    if not holds:
        yield from wrapped("text", Telling(speech).plain(view.correction), 84, 24)
    else:
        yield "text", _("Found by %(name)s") % {"name": _(view.finder) if view.finder == NOBODY else view.finder}, 26
        by = {"names": ", ".join(_(each) if each == NOBODY else each for each in view.confirmers)}
        confirmed = _("Confirmed by %(names)s") if view.confirmers else _("Confirmed by a proof of its own")
        yield from wrapped("text", confirmed % by, 84, 24)
        yield "text", "", 12
        for name, fact in view.facts.items():
            yield from wrapped("text", f"{name}: {_cut(fact)}", 84, 24)
        if view.check:
            yield "text", "", 8
            yield "small", _("Paste this into Python to check it:"), 22
            yield from wrapped("code", view.check, 84, 19)
    yield "text", "", 20
    place = {"server": server, "project": view.project, "run": view.run, "unit": view.unit}
    yield "small", _("%(server)s: project %(project)s, run %(run)d, unit %(unit)d") % place, 22
    yield "small", _("Published on %(day)s (UTC)") % {"day": date(view.published or view.declared)}, 22
    yield from wrapped("small", address, 100, 20)


def wrapped(style: str, words: str, wide: int, below: int) -> Iterator[Line]:
    """Return a text as lines of so many characters."""
    for line in textwrap.wrap(words, wide):
        yield style, line, below


def _cut(words: str) -> str:
    return words if len(words) <= LONGEST else words[:LONGEST] + "..."


def date(when: float) -> str:
    """Return a day as people read it, in UTC (Unix seconds)."""
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d}"


def _told(words: str) -> str:
    """Return words as text of XML, which knows no control characters and no lone surrogates."""
    return escape("".join([c if c.isprintable() else " " for c in words]))
