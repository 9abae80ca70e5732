"""Public pages answered: each is read once a moment for everybody, and rendered once for each look at it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cached_property
from typing import Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Connection

from dsage_server.shared import Shared
from dsage_server.store import announcements
from dsage_server.store.announcements import Notice
from dsage_server.store.engine import Store
from dsage_server.web import plain
from dsage_server.web.live import Streams
from dsage_server.web.looks import Look, look_of, look_there
from dsage_server.web.page import Asked, Document, Page, whole
from dsage_server.web.rankings import Rankings
from dsage_server.web.show import Site, etag

FRONT: Final = "/index"
"""The address of the front page with a form; without, it is `/`."""
PACKED: Final = ("image/png",)
"""Kinds of files that are compressed as they are."""
VARY: Final = "Accept-Encoding, Accept-Language, Cookie"
BY_SYSTEM: Final = f"User-Agent, {VARY}"


class Body:
    """Bytes to send, plain and compressed, and their name for conditional requests."""

    def __init__(self, plain_bytes: bytes) -> None:
        self.plain = plain_bytes
        self.etag = etag(plain_bytes)

    @cached_property
    def packed(self) -> bytes:
        """The bytes, compressed."""
        return gzip.compress(self.plain, 6, mtime=0)


class Shown:
    """A page as it stood at one moment; each form is made when the first visitor needs it."""

    def __init__(
        self, site: Site, page: Page, document: Document, address: str, now: float, notices: list[Notice]
    ) -> None:
        self._site = site
        self._page = page
        self._document = document
        self._address = address
        self._now = now
        self._notices = notices
        self._html: dict[Look, Body] = {}
        self._fragments: dict[str, dict[str, str]] = {}

    def html(self, look: Look) -> Body:
        """The whole page."""
        if look not in self._html:
            self._html[look] = Body(self._site.page(self._page.template, self._context(), look).encode())
        return self._html[look]

    @cached_property
    def json(self) -> Body:
        """Its JSON twin."""
        return Body(plain.to_json(self._document.schema, self._document))

    def fragments(self, look: Look) -> dict[str, str]:
        """What a live page replaces."""
        if look.language not in self._fragments:
            self._fragments[look.language] = self._site.fragments(self._page.template, self._context(), look)
        return self._fragments[look.language]

    def _context(self) -> dict[str, object]:
        path, _, query = self._address.partition("?")
        query = query and "?" + query
        context: dict[str, object] = {
            "page": self._document, "now": self._now, "here": ("/" if path == FRONT else path) + query,
            "json_url": f"{path}.json{query}", "notices": self._notices,
        }  # fmt: skip
        if self._page.live:
            context["live_url"] = f"{path}.live{query}"
        return context


class Answering:
    """The handlers of public pages, and what they share: store, templates, what was made lately, streams, boards."""

    def __init__(
        self, store: Store, site: Site, server_id: str, name: str, clock: Callable[[], float], streams: Streams,
        shown: Shared[Shown], rankings: Rankings,
    ) -> None:  # fmt: skip
        self._store = store
        self._site = site
        self._server_id = server_id
        self._name = name
        self._clock = clock
        self._streams = streams
        self._shown = shown
        self._rankings = rankings

    def add(self, app: web.Application, page: Page) -> None:
        """Add the routes of a page."""
        if page.route == FRONT:
            app.router.add_get("/", self.handler(page))
        forms = [*([] if not page.template else [""]), r"\.json", *([r"\.live"] if page.live else [])]
        app.router.add_get(page.route + r"{form:" + "|".join(forms) + "}", self.handler(page))

    def handler(self, page: Page, form: str = "") -> Handler:
        """Return the handler of a kind of page, always in one `form` if that is given."""

        async def handle(request: web.Request) -> web.StreamResponse:
            path = {name: value for name, value in request.match_info.items() if name != "form"}
            if "number" in path:
                path["number"] = whole(path["number"])
            query = page.asked(request.query)
            address = _address(page, path) + page.query(query)
            return await self._answer(request, page, address, path, query, form or request.match_info.get("form", ""))

        return handle

    async def _answer(
        self, request: web.Request, page: Page, address: str, path: dict[str, str], query: dict[str, str], form: str
    ) -> web.StreamResponse:
        async def make() -> Shown:
            now = self._clock()
            asked = Asked(
                now=now, server_id=self._server_id, name=self._name, path=path, query=query,
                board=self._rankings.board,
            )  # fmt: skip

            def look(connection: Connection) -> tuple[Document, list[Notice]]:
                return page.load(connection, asked), announcements.current(connection, now)

            document, notices = await self._store.read(look)
            return Shown(self._site, page, document, address, now, notices)

        async def shown() -> Shown:
            return await self._shown.get(address, make, period_s=page.period_s)

        look = look_there(request) if page.by_system else look_of(request)

        async def fragments() -> dict[str, str]:
            return (await shown()).fragments(look)

        if form == ".live":
            return await self._streams.serve(request, fragments)
        current = await shown()
        if form == ".json":
            return send(request, current.json, "application/json")
        return send(request, current.html(look), "text/html", varies=BY_SYSTEM if page.by_system else VARY)


def _address(page: Page, path: dict[str, str]) -> str:
    """Return the one address of a page with these variables, without form and parameters.

    Variables are quoted whole: a name with a "?" in it is not another page's parameters.
    """
    parts = [part.partition(":")[0].partition("{") for part in page.route.split("/")]
    return "/".join(quote(path[name], safe="") if brace else literal for literal, brace, name in parts)


def _reads_gzip(accepted: str) -> bool:
    """Whether a visitor takes compressed bytes: a weight of 0 says that they do not (RFC 9110, section 12.5.3)."""
    for each in accepted.split(","):
        coding, _, weight = each.replace(" ", "").lower().partition(";q=")
        if coding == "gzip":
            return not weight or weight.strip("0.") != ""
    return False


def send(request: web.Request, body: Body, kind: str, *, varies: str = VARY) -> web.StreamResponse:
    """Send bytes, compressed if the visitor can read that, or word that nothing has changed."""
    return send_as(request, body.plain, lambda: body.packed, body.etag, kind, "no-cache", varies=varies)


def send_as(
    request: web.Request, body: bytes, packed: Callable[[], bytes], name: str, kind: str, kept: str, *,
    varies: str = VARY,
) -> web.StreamResponse:  # fmt: skip
    """The same of bytes with a name, to be kept as `kept` says (a Cache-Control)."""
    headers = {"ETag": f'W/"{name}"', "Vary": varies, "Cache-Control": kept}
    known = request.if_none_match or ()
    if any(tag.value in (name, "*") for tag in known):
        return web.Response(status=304, headers=headers)
    small = kind not in PACKED and _reads_gzip(request.headers.get("Accept-Encoding", ""))
    if small:
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = kind if kind.startswith("image/") else f"{kind}; charset=utf-8"
    return web.Response(body=packed() if small else body, headers=headers)
