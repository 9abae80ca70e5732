"""What runs made, as files: their pictures (store/paintings.py), and a card of each result to print."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from dsage_server.shared import Shared
from dsage_server.store import paintings, views
from dsage_server.store.engine import Store
from dsage_server.web import card
from dsage_server.web.answering import Body, send
from dsage_server.web.looks import speech_for
from dsage_server.web.page import whole
from dsage_server.web.public.lines import run_line

PERIOD_S: Final = 10.0
"""A picture is put together at most so often, however many look at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The handlers; `clock` gives Unix seconds."""

    store: Store
    name: str
    clock: Callable[[], float] = time.time
    _made: Shared[Body] = field(default_factory=Shared)

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(r"/run/{number:\d+}/picture.png", self.picture)
        app.router.add_get(r"/run/{number:\d+}/card.svg", self.card)

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """The picture that the units of a run paint, as far as it is painted."""
        number = int(whole(request.match_info["number"]))

        async def make() -> Body:
            return Body(await self.store.read(lambda c: paintings.file(c, number, self.clock())))

        body = await self._made.get(str(number), make, period_s=PERIOD_S)
        if any(tag.value in (body.etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": f'W/"{body.etag}"', "Cache-Control": "no-cache"})
        headers = {"ETag": f'W/"{body.etag}"', "Cache-Control": "no-cache", "Content-Type": "image/png"}
        return web.Response(body=body.plain, headers=headers)

    async def card(self, request: web.Request) -> web.StreamResponse:
        """What a run came to, on a sheet to print."""
        number = int(whole(request.match_info["number"]))
        view = await self.store.read(lambda c: views.run_view(c, number, self.clock()))
        address = f"{request.scheme}://{request.host}/run/{number}"
        drawn = card.svg(run_line(view), self.name, address, speech_for(request))
        return send(request, Body(drawn.encode()), "image/svg+xml")
