"""What was found here and published."""

from __future__ import annotations

from typing import ClassVar, Final

from sqlalchemy import Connection

from dsage import wire
from dsage.errors import NotFound
from dsage_server.store import discoveries
from dsage_server.web.page import NUMBERED, Asked, Document, Page
from dsage_server.web.public.lines import MOST_PAGES, PAGE_ROWS


class Discoveries(Document, kw_only=True):
    """Published discoveries, newest first; of one that does not hold any more the `correction`, and nobody's name."""

    schema: ClassVar[str] = "dsage.discoveries/1"
    page: int
    pages: int
    discoveries: list[wire.DiscoveryView]


def discovered(connection: Connection, asked: Asked) -> Discoveries:
    """A page of the published discoveries."""
    pages = min(max(1, -(-discoveries.count_public(connection) // PAGE_ROWS)), MOST_PAGES)
    if not 1 <= asked.page <= pages:
        raise NotFound(f"there is no page {asked.page} of the discoveries")
    found = discoveries.public(connection, limit=PAGE_ROWS, offset=(asked.page - 1) * PAGE_ROWS)
    for view in found:
        view.link = f"/discovery/{view.id}.svg"
    return Discoveries(page=asked.page, pages=pages, discoveries=found)


DISCOVERIES: Final = Page(
    template="discoveries", route="/discoveries", load=discovered, document=Discoveries, params={"page": NUMBERED}
)
PAGES: Final = (DISCOVERIES,)
