"""What a public page is: its addresses, what may be asked of it, and the document that it shows.

Each page exists in up to three forms under one address: `/run/7` for people, `/run/7.json` for programs, and
`/run/7.live` for the stream that keeps the first up to date (the front page is `/`, `/index.json`, `/index.live`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final
from urllib.parse import urlencode

import msgspec
from sqlalchemy import Connection

from dsage.errors import NotFound
from dsage_server.store import boards
from dsage_server.store.boards import Board, Scope

LARGEST_ID: Final = 2**63 - 1
MOST_TEXT: Final = 100
"""Characters of a text that is searched for."""


class Document(msgspec.Struct, kw_only=True):
    """Base of every page's document: plain data that template and JSON twin share.

    Credit is in credits (minutes of the reference core), times are Unix seconds, shares are 0..1. Nothing in it may
    be what is not public: names only of volunteers who opted in, no addresses, no output of their machines.
    """

    schema: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a visitor asked for: the variables of the address, and the page's parameters, all of them, as read; and how
    to come by the board of a scope."""

    now: float
    server_id: str
    name: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    board: Callable[[Connection, Scope, float], Board] = boards.made

    @property
    def number(self) -> int:
        """The id in the address."""
        return int(self.path["number"])

    @property
    def page(self) -> int:
        """Which page of a list, from 1."""
        return int(self.query["page"])


Load = Callable[[Connection, Asked], Document]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: what it is if nobody says, and how what is said is read; `read` raises NotFound."""

    default: str
    read: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A kind of page: its template ("" for one that is for programs only) and its addresses without the form.

    `period_s` is for how long it is good: it is read and rendered once in this time, however many look at it, for those
    of each system apart if it is `by_system`.
    """

    template: str
    route: str
    load: Load
    document: type[Document]
    params: Mapping[str, Param] = field(default_factory=dict)
    live: bool = False
    by_system: bool = False
    period_s: float = 1.0

    def asked(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return all parameters, as read; what the page does not know is left out. Raises NotFound."""
        return {name: param.read(given.get(name, param.default)) for name, param in self.params.items()}

    def query(self, asked: Mapping[str, str]) -> str:
        """Return parameters as the end of the one address for them: "" or "?..."."""
        said = [(name, asked[name]) for name, param in self.params.items() if asked[name] != param.default]
        return "?" + urlencode(said) if said else ""


def whole(given: str) -> str:
    """Read a positive number; raises NotFound."""
    if not (given.isascii() and given.isdigit() and len(given) <= 19) or not 0 < int(given) <= LARGEST_ID:
        raise NotFound(f"there is no number {given[:40]!r}", hint="Numbers are whole and positive.")
    return str(int(given))


def choice(default: str, *others: str) -> Param:
    """A parameter that is one of a few words."""

    def read(given: str) -> str:
        if given not in (default, *others):
            raise NotFound(f"there is no {given[:40]!r} here", hint=f"Choose one of: {', '.join((default, *others))}.")
        return given

    return Param(default, read)


def text(given: str) -> str:
    """Read a text to search for: its words, without what cannot be seen; raises NotFound if it is very long."""
    words = " ".join("".join(letter for letter in given if letter.isprintable() or letter == " ").split())
    if len(words) > MOST_TEXT:
        raise NotFound("that is longer than any name here", hint=f"Search for at most {MOST_TEXT} characters.")
    return words


NUMBERED: Final = Param("1", whole)
"""Which page of a list."""
SEARCHED: Final = Param("", text)
