"""What was found here and published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Final

from sqlalchemy import Connection

from dsage import wire
from dsage.errors import NotFound
from dsage_server.store import discoveries, views
from dsage_server.web.page import NUMBERED, Asked, Document, Page
from dsage_server.web.public.lines import MOST_PAGES, NOBODY, PAGE_ROWS


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


class Discovery(Document, kw_only=True):
    """One published discovery; `citation` is a line to quote it by."""

    schema: ClassVar[str] = "dsage.discovery/1"
    discovery: wire.DiscoveryView
    title: str
    citation: str


def one(connection: Connection, asked: Asked) -> Discovery:
    """One discovery; raises NotFound for what is not published, or not there."""
    found = discoveries.public(connection, number=asked.number)
    if not found:
        raise NotFound(f"there is no published discovery {asked.number}")
    view = found[0]
    view.link = f"/discovery/{view.id}.svg"
    named = views.run_view(connection, view.run, asked.now)
    named_too = [each for each in view.confirmers if each != NOBODY]
    finders = ", ".join([view.finder or NOBODY, *named_too])
    day = datetime.fromtimestamp(view.published or view.declared, UTC)
    citation = f"{finders} ({day:%Y}): {view.title}. {asked.name}, project {view.project}, discovery {view.id}."
    return Discovery(discovery=view, title=named.title or named.project, citation=citation)


DISCOVERIES: Final = Page(
    template="discoveries", route="/discoveries", load=discovered, document=Discoveries, params={"page": NUMBERED}
)
PAGES: Final = (
    DISCOVERIES,
    Page(template="discovery", route=r"/discovery/{number:\d+}", load=one, document=Discovery),
)
