"""Documents as HTML: the Jinja environment, its filters, and the fragments of a page that live updates replace.

Everything is escaped unless a template says otherwise, and no template does. There is an environment for each language,
made when the first visitor wants it. A block whose name starts with
`live_` is such a fragment; the element around it has the block's name as its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from markupsafe import Markup

from dsage import __version__
from dsage.assets import Asset
from dsage.codec import Value
from dsage.states import MEANING, ReplicaState, UnitState
from dsage.wire import Finder
from dsage_server.badges import LEVELS
from dsage_server.sentences.found import find
from dsage_server.store.tiles import place
from dsage_server.web.atlas import world
from dsage_server.web.looks import PLAIN, Look
from dsage_server.web.plain import decimal, digits_in
from dsage_server.web.public.lines import NOBODY, PAGE_ROWS, failure
from dsage_server.web.shapes import curve_of, shape_of
from dsage_server.web.speech import Speech
from dsage_server.web.telling import Telling, brief, coded, cut, own
from dsage_server.web.words import LANGUAGES, SOURCE, Language, language

TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC: Final = Path(__file__).parent / "static"
LIVE: Final = "live_"
ENGLISH: Final = Markup(' lang="en" dir="ltr"')
"""How a page in another language marks English that is in no catalogue."""
MAX_ITEMS: Final = 100
MAX_DEPTH: Final = 5
FEW_BLOBS: Final = 3
"""Longer lists of bytes are counted, not listed."""
MAX_COLUMNS: Final = 8
SHUFFLED: Final = sorted(range(18 * 8), key=lambda place: hashlib.sha256(bytes([place])).digest())
"""The places of the front page's mosaic, in an order that looks shuffled."""


class Site:
    """The templates in every language, with what all pages share: the server's name, the static files, and the origin
    under which visitors know it (empty if nobody said)."""

    def __init__(self, name: str, assets: Mapping[str, Asset], origin: str = "") -> None:
        self._name = name
        self._origin = origin
        self._assets = assets
        self._environments: dict[str, Environment] = {}

    def page(self, template: str, context: Mapping[str, Any], look: Look = PLAIN) -> str:
        """Return a whole page."""
        environment = self._in(look.language)
        return environment.get_template(f"{template}.html").render({**context, **_looks(look)})

    def fragments(self, template: str, context: Mapping[str, Any], look: Look = PLAIN) -> dict[str, str]:
        """Return the live fragments of a page by the id of the element that holds each."""
        page = self._in(look.language).get_template(f"{template}.html")
        return {
            name: "".join(block(page.new_context({**context, **_looks(look)})))
            for name, block in page.blocks.items()
            if name.startswith(LIVE)
        }

    def _in(self, code: str) -> Environment:
        if code not in self._environments:
            self._environments[code] = _environment(self._name, self._assets, self._origin, language(code))
        return self._environments[code]


def _looks(look: Look) -> dict[str, object]:
    return {"theme": look.theme, "researcher": look.researcher, "system": look.system}


def _environment(name: str, assets: Mapping[str, Asset], origin: str, spoken: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    environment.policies["ext.i18n.trimmed"] = True
    i18n: Any = environment
    i18n.install_gettext_translations(spoken.words, newstyle=True)
    said = Speech(spoken)
    telling = Telling(said)
    environment.filters |= {
        "count": said.count, "credit": said.credit, "percent": said.percent, "lasting": said.lasting,
        "size": said.size, "country": said.country,
        "ago": pass_context(lambda context, at: said.ago(context["now"], at)),
        "stamp": stamp, "utc": utc, "digits": decimal, "digits_in": digits_in, "cut": cut, "brief": brief, "own": own,
        "coded": coded, "told": telling.html, "who": telling.who, "said": telling.plain, "opening": telling.opening,
    }  # fmt: skip
    environment.globals |= {
        "site": {"name": name, "version": __version__, "origin": origin}, "assets": assets, "meaning": MEANING,
        "kind": kind,
        "sentence_of": find,
        "columns": columns, "shape_of": shape_of, "curve_of": curve_of, "tile_of": place,
        "names_of": names_of, "language": spoken, "languages": LANGUAGES,
        "english": ENGLISH if spoken.code != SOURCE else "",
        "unit_states": [state.value for state in UnitState],
        "replica_states": [state.value for state in ReplicaState if state in MEANING],
        "levels": LEVELS, **_looks(PLAIN), "shuffled": SHUFFLED, "world": world(),
        "nobody": NOBODY, "failure": failure, "page_rows": PAGE_ROWS, "max_items": MAX_ITEMS, "max_depth": MAX_DEPTH,
    }  # fmt: skip
    environment.globals["ui"] = environment.get_template("ui.html").module
    return environment


def etag(body: bytes) -> str:
    """Return a strong name of a body's bytes, for conditional requests."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def stamp(at: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(at: float) -> str:
    """Return a time as people read it, in UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def names_of(finders: list[Finder]) -> dict[int, str]:
    """Return the names of finders by unit."""
    return {finder.unit: finder.pseudonym for finder in finders}


def kind(value: Value) -> str:
    """Return how the template shows a value: a scalar's kind, "pairs", "rows" (a table), "blobs" or "list"."""
    if isinstance(value, dict):
        return "pairs" if value else "nothing"
    if isinstance(value, list):
        if len(value) > FEW_BLOBS and all(isinstance(item, bytes) for item in value):
            return "blobs"
        return ("rows" if columns(value) is not None else "list") if value else "nothing"
    for name, types in _SCALARS:
        if isinstance(value, types):
            return name
    return "nothing"


def columns(value: Value) -> list[str] | None:
    """Return the column heads if a list is a small table of scalars (no heads for rows that are lists)."""
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, list | dict) or not 1 <= len(first) <= MAX_COLUMNS:
        return None
    heads = list(first) if isinstance(first, dict) else []
    for row in value:
        cells = list(row.values()) if isinstance(row, dict) else row
        if type(row) is not type(first) or len(row) != len(first) or (heads and list(row) != heads):
            return None
        if any(isinstance(cell, list | dict) for cell in cells):
            return None
    return heads


_SCALARS: Final = (("flag", bool), ("integer", int), ("real", float), ("text", str), ("bytes", bytes))
