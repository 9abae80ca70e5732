"""Published discoveries in forms of their own: certificates to print, and a feed to follow (Atom, RFC 4287)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from aiohttp import web

from dsage.errors import NotFound
from dsage.wire import DiscoveryView
from dsage_server.store import discoveries
from dsage_server.store.engine import Store
from dsage_server.web import certificate
from dsage_server.web.answering import Body, send
from dsage_server.web.looks import speech_for
from dsage_server.web.page import whole
from dsage_server.web.show import stamp

ATOM: Final = "http://www.w3.org/2005/Atom"
FEED_ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Finds:
    """The handlers. `origin` is where visitors reach the pages; empty: where they found them."""

    store: Store
    server_id: str
    name: str
    origin: str = ""

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(r"/discovery/{number:\d+}.svg", self.picture)
        app.router.add_get("/discoveries.atom", self.feed)

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """The certificate of one."""
        number = int(whole(request.match_info["number"]))
        found = await self.store.read(lambda c: discoveries.public(c, number=number))
        if not found:
            raise NotFound(f"there is no published discovery {number}")
        address = f"{self._origin(request)}/discovery/{number}"
        drawn = certificate.svg(found[0], self.name, address, speech_for(request))
        return send(request, Body(drawn.encode()), "image/svg+xml")

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """The newest of them."""
        found = await self.store.read(lambda c: discoveries.public(c, limit=FEED_ROWS))
        body = atom(found, server_id=self.server_id, name=self.name, origin=self._origin(request))
        return send(request, Body(body), "application/atom+xml")

    def _origin(self, request: web.Request) -> str:
        return self.origin.rstrip("/") or f"{request.scheme}://{request.host}"


def atom(found: list[DiscoveryView], *, server_id: str, name: str, origin: str) -> bytes:
    """Return a feed of published discoveries, newest first. What an entry is called never changes; a
    correction is an entry of its own, so that those who have read of the discovery are told of it too."""
    feed = Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    _add(feed, "id", f"tag:dsage,2026:{server_id}/discoveries")
    _add(feed, "title", f"{name}: discoveries")
    _add(feed, "updated", stamp(max((each.published or each.declared for each in found), default=0.0)))
    SubElement(feed, "link", {"rel": "self", "type": "application/atom+xml", "href": f"{origin}/discoveries.atom"})
    SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": f"{origin}/discoveries"})
    _add(SubElement(feed, "author"), "name", name)
    for each in found:
        entry, holds = SubElement(feed, "entry"), each.state == "published"
        _add(entry, "id", f"tag:dsage,2026:{server_id}/discovery/{each.id}{'' if holds else '/correction'}")
        _add(entry, "title", each.title if holds else f"Correction: {each.title}")
        _add(entry, "published", stamp(each.published or each.declared))
        _add(entry, "updated", stamp(each.published or each.declared))
        SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": f"{origin}/discovery/{each.id}"})
        if holds:
            by = ", ".join(each.confirmers) or "a proof of its own"
            _add(entry, "summary", f"Found by {each.finder}, confirmed by {by}.")
        else:
            _add(entry, "summary", each.correction)
    body: bytes = tostring(feed, encoding="utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + body


def _add(parent: Element, name: str, words: str) -> None:
    SubElement(parent, name).text = "".join(letter if letter.isprintable() else " " for letter in words)
