"""What every page of one's own is made of: whose it is, and a document that its JSON twin shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, literal_column

from dsage_server.store.schema import replica
from dsage_server.store.visits import Visit
from dsage_server.web.page import Document

FRESH_S: Final = 300.0
"""What cannot be undone, or opens the account to others, wants a login that is not older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """Whose page is looked at, when, and which page of its list; `server_id` is where."""

    visit: Visit
    now: float
    server_id: str
    page: int = 1

    @property
    def number(self) -> int:
        """The volunteer's."""
        return self.visit.volunteer

    @property
    def fresh(self) -> bool:
        """Whether the login is a fresh proof."""
        return self.now - self.visit.created <= FRESH_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One of the pages: where it is, and what it shows. `listed` is whether it has a list of several pages."""

    template: str
    route: str
    load: Callable[[Connection, Mine], Document]
    document: type[Document]
    listed: bool = False


def is_in(state: str) -> ColumnElement[bool]:
    """Return the condition that a copy is in a state, in the words of the partial index on copies in that state."""
    return replica.c.state == literal_column(f"'{state}'")
