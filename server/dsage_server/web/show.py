"""Documents as HTML: the Jinja environment, its filters, and the fragments of a page that live updates replace.

Everything is escaped unless a template says otherwise, and no template does. A block whose name starts with
`live_` is such a fragment; the element around it has the block's name as its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from dsage import __version__
from dsage.assets import Asset
from dsage.codec import Value
from dsage.states import MEANING, ReplicaState, UnitState
from dsage.wire import Finder
from dsage_server.web.documents import NOBODY, PAGE_ROWS
from dsage_server.web.plain import decimal, digits_in
from dsage_server.web.shapes import shape_of

TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC: Final = Path(__file__).parent / "static"
LIVE: Final = "live_"
MAX_TEXT: Final = 4000
"""Longer texts and hexadecimal numbers in a value are cut on the page; its JSON twin has all of them."""
MAX_ITEMS: Final = 100
MAX_DEPTH: Final = 5
MAX_COLUMNS: Final = 8


class Site:
    """The templates, with what all pages share: the server's name and the static files."""

    def __init__(self, name: str, assets: Mapping[str, Asset]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._environment.filters |= {
            "count": count, "credit": credit, "percent": percent, "lasting": lasting, "ago": ago, "stamp": stamp,
            "digits": decimal, "digits_in": digits_in, "cut": cut, "plural": plural, "told": told,
        }  # fmt: skip
        self._environment.globals |= {
            "site": {"name": name, "version": __version__}, "assets": assets, "meaning": MEANING, "kind": kind,
            "columns": columns, "shape_of": shape_of, "names_of": names_of,
            "unit_states": [state.value for state in UnitState],
            "replica_states": [state.value for state in ReplicaState if state in MEANING],
            "nobody": NOBODY, "page_rows": PAGE_ROWS, "max_items": MAX_ITEMS, "max_depth": MAX_DEPTH,
        }  # fmt: skip
        self._environment.globals["ui"] = self._environment.get_template("ui.html").module

    def page(self, template: str, context: dict[str, Any]) -> str:
        """Return a whole page."""
        return self._environment.get_template(f"{template}.html").render(context)

    def fragments(self, template: str, context: dict[str, Any]) -> dict[str, str]:
        """Return the live fragments of a page by the id of the element that holds each."""
        page = self._environment.get_template(f"{template}.html")
        return {
            name: "".join(block(page.new_context(context)))
            for name, block in page.blocks.items()
            if name.startswith(LIVE)
        }


def etag(body: bytes) -> str:
    """Return a strong name of a body's bytes, for conditional requests."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def count(number: int) -> str:
    """Return a count with thousands separated."""
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return "1 unit", "2 units"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def credit(amount: float) -> str:
    """Return credits: two decimals below a thousand, one above."""
    return f"{amount:,.2f}" if abs(amount) < 1000 else f"{amount:,.1f}"


def percent(share: float) -> str:
    """Return a share as a percentage that says 100 only when all is done."""
    return "100 %" if share >= 1 else f"{min(share * 100, 99.9):.1f} %"


def lasting(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number:,} {unit}" for number, unit in parts[first : first + 2] if number)


@pass_context
def ago(context: Context, at: float) -> str:
    """Return how long before the page's own time something was, coarsely, so that it changes seldom."""
    seconds = context["now"] - at
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit} ago"
    return "just now"


def stamp(at: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cut(text: str) -> str:
    """Return a text, or its beginning if it is very long."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def names_of(finders: list[Finder]) -> dict[int, str]:
    """Return the names of finders by unit."""
    return {finder.unit: finder.pseudonym for finder in finders}


def told(sentence: str) -> Markup:
    """Return a sentence with the commands that stand `in backticks` set as code."""
    parts = [escape(part) for part in cut(sentence).split("`")]
    if len(parts) % 2 == 0:
        return escape(cut(sentence))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def kind(value: Value) -> str:
    """Return how the template shows a value: a scalar's kind, "pairs", "rows" (a table) or "list"."""
    if isinstance(value, dict):
        return "pairs" if value else "nothing"
    if isinstance(value, list):
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
