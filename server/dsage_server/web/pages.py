"""The public pages: read-only, without login or cookies, on a listener of their own.

Each page exists in three forms under one address: `/run/7` for people, `/run/7.json` for programs, `/run/7.live`
for the stream that keeps the first up to date (the front page is `/`, `/index.json`, `/index.live`).
"""

from __future__ import annotations

import gzip
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from sqlalchemy import text

from dsage import assets
from dsage.errors import NotAllowed, NotFound
from dsage_server.shared import PERIOD_S, Shared
from dsage_server.store import discoveries
from dsage_server.store.engine import Store
from dsage_server.web import certificate, documents, plain
from dsage_server.web.documents import Asked, Document, Load
from dsage_server.web.exports import Exports
from dsage_server.web.joining import Invitation, Joining
from dsage_server.web.live import Streams
from dsage_server.web.refusals import add_headers, refusing
from dsage_server.web.show import STATIC, Site, etag

LARGEST_ID: Final = 2**63 - 1
FOREVER: Final = "public, max-age=31536000, immutable"
FORM: Final = r"{form:(?:\.json|\.live)?}"


@dataclass(frozen=True, slots=True)
class Page:
    """A kind of page: its template, its addresses without the form, and what fills it."""

    template: str
    route: str
    load: Load


PAGES: Final = (
    Page("leaderboard", "/leaderboard", documents.leaderboard),
    Page("run", r"/run/{number:\d+}", documents.run_page),
    Page("unit", r"/unit/{number:\d+}", documents.unit_page),
    Page("status", "/status", documents.status),
)
DISCOVERIES: Final = Page("discoveries", "/discoveries", documents.discovered)
FRONT: Final = Page("front", "/index", documents.front)
LEDGER: Final = Page("", "/ledger", documents.ledger_days)
STEADY: Final = Page("", "/steady", documents.steady_hands)
"""These two are for programs only."""


class Shown:
    """A page as it stood at one moment; each form is made when the first visitor needs it."""

    def __init__(self, site: Site, page: Page, document: Document, address: str, now: float) -> None:
        self._site = site
        self._page = page
        self._document = document
        self._address = address
        self._now = now

    @cached_property
    def html(self) -> Body:
        """The whole page."""
        return Body(self._site.page(self._page.template, self._context()).encode())

    @cached_property
    def json(self) -> Body:
        """Its JSON twin."""
        return Body(plain.to_json(self._document.schema, self._document))

    @cached_property
    def fragments(self) -> dict[str, str]:
        """What a live page replaces."""
        return self._site.fragments(self._page.template, self._context())

    def _context(self) -> dict[str, object]:
        path, _, query = self._address.partition("?")
        query = query and "?" + query
        return {
            "page": self._document, "now": self._now,
            "here": ("/" if path == FRONT.route else path) + query,
            "json_url": f"{path}.json{query}", "live_url": f"{path}.live{query}",
        }  # fmt: skip


class Body:
    """Bytes to send, plain and compressed, and their name for conditional requests."""

    def __init__(self, plain_bytes: bytes) -> None:
        self.plain = plain_bytes
        self.etag = etag(plain_bytes)

    @cached_property
    def packed(self) -> bytes:
        """The bytes, compressed."""
        return gzip.compress(self.plain, 6, mtime=0)


class Pages:
    """The handlers, and what they share: the store, the templates, what was made lately, the open streams."""

    def __init__(
        self, store: Store, site: Site, files: dict[str, assets.Asset], server_id: str, name: str,
        clock: Callable[[], float], streams: Streams, shown: Shared[Shown],
    ) -> None:  # fmt: skip
        self._store = store
        self._site = site
        self._files = files
        self._server_id = server_id
        self._name = name
        self._clock = clock
        self._streams = streams
        self._shown = shown

    async def front(self, request: web.Request) -> web.StreamResponse:
        """The front page: `/`, `/index.json`, `/index.live`."""
        return await self._answer(request, FRONT, FRONT.route, 1)

    def handler(self, page: Page) -> Handler:
        """Return the handler of a kind of page."""

        async def handle(request: web.Request) -> web.StreamResponse:
            given = request.match_info.get("number")
            number = _number(given if given is not None else request.query.get("page", "1"))
            address = page.route if given is None else f"{page.route.partition('{')[0]}{number}"
            if given is None and number != 1:
                address += f"?page={number}"
            return await self._answer(request, page, address, number)

        return handle

    async def discoveries(self, request: web.Request) -> web.StreamResponse:
        """The published discoveries, for programs: `/api/v1/discoveries`."""
        number = _number(request.query.get("page", "1"))
        address = DISCOVERIES.route if number == 1 else f"{DISCOVERIES.route}?page={number}"
        return await self._answer(request, DISCOVERIES, address, number, form=".json")

    async def certificate(self, request: web.Request) -> web.StreamResponse:
        """A published discovery as a picture to print."""
        number = _number(request.match_info["number"])
        found = await self._store.read(lambda c: discoveries.public(c, number=number))
        if not found:
            raise NotFound(f"there is no published discovery {number}")
        address = f"{request.scheme}://{request.host}/discovery/{number}.svg"
        picture = Body(certificate.svg(found[0], self._name, address).encode())
        headers = {"Cache-Control": "no-cache"}
        return _send(request, picture.plain, picture.packed, picture.etag, "image/svg+xml", headers)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A static file; its address carries its hash, so browsers ask once."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": FOREVER if request.query.get("v") == file.version else "no-cache"}
        return _send(request, file.body, file.packed, file.version, file.content_type, headers)

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Whether the pages can read the database; for supervisors and proxies."""
        await self._store.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def _answer(
        self, request: web.Request, page: Page, address: str, number: int, form: str = ""
    ) -> web.StreamResponse:
        async def make() -> Shown:
            now = self._clock()
            asked = Asked(number=number, now=now, server_id=self._server_id, name=self._name)
            document = await self._store.read(lambda connection: page.load(connection, asked))
            return Shown(self._site, page, document, address, now)

        async def shown() -> Shown:
            return await self._shown.get(address, make)

        async def fragments() -> dict[str, str]:
            return (await shown()).fragments

        form = form or request.match_info.get("form", "")
        if form == ".live":
            return await self._streams.serve(request, fragments)
        current = await shown()
        body = current.json if form == ".json" else current.html
        kind = "application/json" if form == ".json" else "text/html"
        return _send(request, body.plain, body.packed, body.etag, kind, {"Cache-Control": "no-cache"})


def make_pages(
    store: Store,
    *,
    server_id: str,
    name: str,
    clock: Callable[[], float] = time.time,
    streams: Streams | None = None,
    period_s: float = PERIOD_S,
    names: frozenset[str] | None = None,
    joining: Invitation | None = None,
    exports: Path | None = None,
) -> web.Application:
    """Return the application that serves the public pages from a store; `clock` gives Unix seconds.

    With `names`, only visitors who asked for this machine by one of them, or by an address, are answered: a page of
    somewhere else whose name was made to point here (DNS rebinding) reads nothing.
    With `joining`, there is the page that invite links lead to; with `exports`, the files for statistics sites that
    are made in that folder.
    A page is read and rendered at most once in `period_s` seconds, however many people look at it.

    It reads only, holds no secret and sets no cookie, so it may stand on plain http on localhost or behind any proxy.
    """
    files = assets.load(STATIC)
    site = Site(name, files)
    open_streams = streams or Streams(period_s=period_s)
    pages = Pages(store, site, files, server_id, name, clock, open_streams, Shared(period_s=period_s))
    app = web.Application(middlewares=[refusing(site), *([] if names is None else [_answering_to(names)])])
    app.router.add_get("/", pages.front)
    app.router.add_get(r"/index{form:\.json|\.live}", pages.front)
    for page in (*PAGES, DISCOVERIES):
        app.router.add_get(page.route + FORM, pages.handler(page))
    app.router.add_get(LEDGER.route + r"{form:\.json}", pages.handler(LEDGER))
    app.router.add_get(STEADY.route + r"{form:\.json}", pages.handler(STEADY))
    if exports is not None:
        Exports(exports, clock).add_to(app)
    app.router.add_get("/api/v1/discoveries", pages.discoveries)
    app.router.add_get(r"/discovery/{number:\d+}.svg", pages.certificate)
    if joining is not None:
        Joining(store=store, site=site, server_id=server_id, name=name, offer=joining).add_to(app)
    app.router.add_get("/static/{name}", pages.asset)
    app.router.add_get("/healthz", pages.health)

    async def close_streams(_: web.Application) -> None:
        open_streams.close()

    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_streams)
    return app


def _answering_to(names: frozenset[str]) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_ours(request.headers.get("Host", ""), names):
            raise NotAllowed(
                "these pages are not served under this name", hint="A proxy must pass on the name given by --pages-url."
            )
        return await handler(request)

    return middleware


def _is_ours(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this machine: by an address, as "localhost", or by one of `names`."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        ipaddress.ip_address(name)
    except ValueError:
        name = host.partition(":")[0].lower().rstrip(".")
        return name in names or name == "localhost" or name.endswith(".localhost")
    return True


def _number(given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 19) or int(given) > LARGEST_ID:
        raise NotFound(f"there is no number {given[:40]!r}", hint="Numbers are whole and positive.")
    return int(given)


def _send(
    request: web.Request, body: bytes, packed: bytes, name: str, kind: str, headers: dict[str, str]
) -> web.StreamResponse:
    """Send bytes, compressed if the visitor can read that, or word that nothing has changed."""
    headers |= {"ETag": f'W/"{name}"', "Vary": "Accept-Encoding"}
    known = request.if_none_match or ()
    if any(tag.value in (name, "*") for tag in known):
        return web.Response(status=304, headers=headers)
    small = "gzip" in request.headers.get("Accept-Encoding", "")
    if small:
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = kind if kind.startswith("image/") else f"{kind}; charset=utf-8"
    return web.Response(body=packed if small else body, headers=headers)
