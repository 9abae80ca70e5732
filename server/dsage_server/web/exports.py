"""The files for statistics sites, as the public fetches them: the newest edition, each file with an ETag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from dsage.errors import NotFound
from dsage_server.exporting import INDEX, Edition, newest
from dsage_server.store import announcements
from dsage_server.store.engine import Store
from dsage_server.web.answering import Body, send
from dsage_server.web.looks import look_of
from dsage_server.web.show import Site

ROUTE: Final = "/export/"
KINDS: Final = {".gz": "application/gzip", ".json": "application/json", ".xml": "application/xml"}


@dataclass(frozen=True, slots=True)
class Exports:
    """The handlers, on the folder of the editions."""

    folder: Path
    store: Store
    clock: Callable[[], float]
    site: Site

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/stats", self.page)
        app.router.add_get("/export.json", self.index)
        app.router.add_get(ROUTE + r"{name:[a-z][a-z_.]{1,40}}", self.file)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The same for people."""
        now = self.clock()
        edition = newest(self.folder, now)
        index = None if edition is None else msgspec.json.decode((edition / INDEX).read_bytes(), type=Edition)
        told = await self.store.read(lambda connection: announcements.current(connection, now))
        context = {"here": "/stats", "json_url": "/export.json", "now": now, "edition": index, "notices": told}
        text = self.site.page("stats", context, look_of(request))
        return send(request, Body(text.encode()), "text/html")

    async def index(self, _: web.Request) -> web.StreamResponse:
        """What files there are, with their hashes, the sums and the ledger's newest day."""
        return self._send(INDEX)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """One of them."""
        return self._send(request.match_info["name"])

    def _send(self, name: str) -> web.StreamResponse:
        edition = newest(self.folder, self.clock())
        if edition is None:
            raise NotFound("no files for statistics sites are here yet", hint="They are made once a day.")
        path = edition / name
        if path.suffix not in KINDS or not path.is_file():
            raise NotFound(f"there is no file {name!r}", hint="/export.json names those that there are.")
        headers = {"Cache-Control": "no-cache", "Content-Type": KINDS[path.suffix]}
        return web.FileResponse(path, chunk_size=1 << 18, headers=headers)
