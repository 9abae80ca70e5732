"""The application that serves the site: public pages, and what visitors reach from them.

What is public is read only, needs no login and is answered alike to everybody (answering.py). It stands on a listener
of its own, plain http on localhost or behind any proxy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import text

from dsage import assets
from dsage_server.api.names import answering_to
from dsage_server.api.openapi import Description
from dsage_server.hub import Hub
from dsage_server.shared import PERIOD_S, Shared
from dsage_server.store.engine import Store
from dsage_server.web import looks, researchers
from dsage_server.web.answering import Answering, send_as
from dsage_server.web.applying import Applying
from dsage_server.web.described import page_calls
from dsage_server.web.exports import Exports
from dsage_server.web.finds import Finds
from dsage_server.web.forging import only_our_own
from dsage_server.web.joining import Invitation, Joining
from dsage_server.web.live import Streams
from dsage_server.web.manifests import Manifests
from dsage_server.web.operators.desk import Desk
from dsage_server.web.operators.machine import Machine
from dsage_server.web.personal import rooms
from dsage_server.web.personal.acts import Dismiss
from dsage_server.web.personal.serving import Serving
from dsage_server.web.pictures import Pictures
from dsage_server.web.public import PAGES
from dsage_server.web.public.discoveries import DISCOVERIES
from dsage_server.web.public.leaderboard import LEADERBOARD
from dsage_server.web.rankings import Rankings
from dsage_server.web.reference import Reference
from dsage_server.web.refusals import adding_headers, refusing
from dsage_server.web.show import STATIC, Site
from dsage_server.web.standing import Standing
from dsage_server.web.thanks import Thanks
from dsage_server.web.visitors import Visitors

FOREVER: Final = "public, max-age=31536000, immutable"
MOST_POSTED: Final = 64 << 10
"""Bytes of a form."""


class Files:
    """The static files; the address of each carries its hash, so browsers ask once."""

    def __init__(self, files: dict[str, assets.Asset]) -> None:
        self._files = files

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A static file."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        kept = FOREVER if request.query.get("v") == file.version else "no-cache"
        return send_as(request, file.body, lambda: file.packed, file.version, file.content_type, kept)


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
    description: Description | None = None,
    dismiss: Dismiss = rooms.later,
    hub: Hub | None = None,
    machine: Machine | None = None,
) -> web.Application:
    """Return the application that serves the public pages from a store; `clock` gives Unix seconds.

    With `names`, only visitors who asked for this machine by one of them, or by an address, are answered: a page of
    somewhere else whose name was made to point here (DNS rebinding) reads nothing.
    With `joining`, there is the page that invite links lead to; with `exports`, the files for statistics sites that
    are made in that folder. `description` is told what is answered here, and is shown as a page. The operator's pages
    know the keys and the disk of a `machine`.
    With a `hub`, researchers have their own pages, through which they control their runs.
    `dismiss` is told of computers that their volunteers took out of their accounts.
    A page is read and rendered at most once in `period_s` seconds, however many people look at it.

    """
    files = assets.load(STATIC)
    site = Site(name, files, joining.origin if joining else "")
    open_streams = streams or Streams(period_s=period_s)
    rankings = Rankings(store, period_s=period_s)
    answering = Answering(store, site, server_id, name, clock, open_streams, Shared(period_s=period_s), rankings)
    app = web.Application(
        middlewares=[refusing(site), only_our_own, *([] if names is None else [answering_to(names)])],
        client_max_size=MOST_POSTED,
    )
    visitors = Visitors(store=store, site=site, clock=clock)
    Standing(store=store, visitors=visitors, board=answering.handler(LEADERBOARD)).add_to(app)
    for page in PAGES:
        answering.add(app, page)
    app.router.add_get("/api/v1/discoveries", answering.handler(DISCOVERIES, ".json"))
    if exports is not None:
        Exports(exports, store, clock, site).add_to(app)
    Finds(store=store, server_id=server_id, name=name, origin=joining.origin if joining else "").add_to(app)
    Pictures(store=store, name=name, clock=clock).add_to(app)
    Thanks(store=store, name=name, clock=clock, origin=joining.origin if joining else "").add_to(app)
    Manifests(store).add_to(app)
    if joining is not None:
        Joining(store=store, site=site, server_id=server_id, name=name, offer=joining, clock=clock).add_to(app)
    visitors.add_to(app)
    if hub is not None:
        researchers.add_to(app, hub, visitors)
    Applying(store=store, visitors=visitors, server_id=server_id, clock=clock).add_to(app)
    Desk(store=store, visitors=visitors, server_id=server_id, name=name, clock=clock, machine=machine).add_to(app)
    origin = joining.origin if joining else ""
    own = Serving(store=store, visitors=visitors, server_id=server_id, name=name, clock=clock, origin=origin)
    rooms.add_to(app, own, dismiss)
    app.router.add_post(looks.ROUTE, looks.choose)
    app.router.add_get("/static/{name}", Files(files).asset)
    app.router.add_get("/healthz", _health(store))

    known = description or Description()
    Reference(known, store, site, clock).add_to(app)
    known.page_calls.extend(page_calls(app))

    async def close_streams(_: web.Application) -> None:
        open_streams.close()

    async def close_rankings(_: web.Application) -> None:
        await asyncio.to_thread(rankings.close)

    app.on_cleanup.append(close_rankings)
    app.on_response_prepare.append(adding_headers(origin))
    app.on_shutdown.append(close_streams)
    return app


def _health(store: Store) -> Handler:
    async def health(_: web.Request) -> web.StreamResponse:
        """Whether the pages can read the database; for supervisors and proxies."""
        await store.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    return health
