"""App versions as their researchers signed them, for whoever wants to check what runs on volunteers' computers."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from aiohttp import web

from dsage.errors import NotFound
from dsage_server.store import portfolio
from dsage_server.store.engine import Store
from dsage_server.web.answering import Body, send


@dataclass(frozen=True, slots=True)
class Manifests:
    """The handler."""

    store: Store

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/app/{hash:[0-9a-f]{64}}.json", self.manifest)

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """A signed manifest (a DSSE envelope) by the SHA-256 of its payload, as a file."""
        name = request.match_info["hash"]
        found = await self.store.read(lambda c: portfolio.signed_app(c, name))
        if found is None:
            raise NotFound("there is no such app version")
        response = send(request, Body(msgspec.json.encode(found)), "application/json")
        response.headers["Content-Disposition"] = f'attachment; filename="{name[:16]}.json"'
        return response
