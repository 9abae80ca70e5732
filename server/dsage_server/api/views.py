"""The views of the machine API: what anybody may ask about runs, volunteers and the server.

What many ask for at once is made for all of them once a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from dsage import wire
from dsage.errors import UsageError
from dsage_server.api.declared import UNCHANGED, call
from dsage_server.api.http import number, reply, seconds
from dsage_server.hub import Hub
from dsage_server.shared import Shared
from dsage_server.store import events, views

MAX_UNITS_ASKED: Final = 500


class Kept(msgspec.Struct, frozen=True):
    """An encoded answer, and its name for those who ask whether it has changed."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Views:
    """The handlers; `name` is the server's."""

    hub: Hub
    name: str
    kept: Shared[Kept] = field(default_factory=Shared)

    @call(gives=wire.StatusView, also={304: UNCHANGED})
    async def status(self, request: web.Request) -> web.StreamResponse:
        """The server at a glance."""
        hub, trouble = self.hub, self.hub.store.trouble

        def look(connection: Connection) -> wire.StatusView:
            view = views.status(connection, hub.server_id, self.name, hub.clock(), self._names())
            view.trouble = trouble
            return view

        return await self._shared(request, f"status {trouble}", look)

    @call(gives=list[wire.RunView], also={304: UNCHANGED})
    async def runs(self, request: web.Request) -> web.StreamResponse:
        """The newest runs."""
        return await self._shared(request, "runs", lambda c: views.runs(c, self.hub.clock(), names=self._names()))

    @call(gives=list[wire.CreditLine], also={304: UNCHANGED})
    async def leaderboard(self, request: web.Request) -> web.StreamResponse:
        """Volunteers by recent average."""
        return await self._shared(request, "leaderboard", lambda c: views.leaderboard(c, self.hub.clock()))

    @call(gives=wire.RunView)
    async def run(self, request: web.Request) -> web.Response:
        """One run."""
        wanted = asked_run(request)
        return reply(await self.hub.store.read(lambda c: views.run_view(c, wanted, self.hub.clock(), self._names())))

    @call(gives=list[wire.Event], query={"after": wire.Count, "wait": wire.Seconds})
    async def events(self, request: web.Request) -> web.Response:
        """What happened in a run after an event."""
        wanted, after = asked_run(request), number(request.query.get("after", "0"), "event")
        ends = self.hub.ticks() + min(seconds(request.query.get("wait")), wire.MAX_WAIT_S)
        while True:
            since = self.hub.waiting.moment()
            found = await self.hub.store.read(lambda c: events.since(c, after, run=wanted))
            left = ends - self.hub.ticks()
            if found or left <= 0 or self.hub.closing:
                return reply(found)
            with self.hub.pressure.hold() as granted:
                if not granted:
                    return reply(found)
                await self.hub.waiting.wait(("events", wanted), left, since=since)

    @call(gives=list[wire.Finder], query={"unit": list[wire.Count]})
    async def finders(self, request: web.Request) -> web.Response:
        """Whose machines brought the accepted answers of some units."""
        wanted = asked_run(request)
        units = [number(each, "unit") for each in request.query.getall("unit", [])]
        if len(units) > MAX_UNITS_ASKED:
            raise UsageError(f"at most {MAX_UNITS_ASKED} units in one question")
        return reply(await self.hub.store.read(lambda c: views.finders(c, wanted, units)))

    @call(gives=dict[str, int], also={304: UNCHANGED})
    async def credit(self, request: web.Request) -> web.StreamResponse:
        """Thousandths of credit by pseudonym in one run."""
        wanted = asked_run(request)
        return await self._shared(request, f"credit {wanted}", lambda c: views.credit_of_run(c, wanted))

    def _names(self) -> dict[bytes, str]:
        """Return what researchers' keys are certified under."""
        return {certificate.key: certificate.name for certificate in self.hub.chain.root.code_keys}

    async def _shared(self, request: web.Request, key: str, look: Callable[[Connection], Any]) -> web.StreamResponse:
        async def make() -> Kept:
            body = msgspec.msgpack.encode(await self.hub.store.read(look))
            return Kept(body, hashlib.blake2b(body, digest_size=12).hexdigest())

        kept = await self.kept.get(key, make)
        headers = {"ETag": f'"{kept.etag}"', "Cache-Control": "no-cache"}
        if any(tag.value in (kept.etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=kept.body, content_type=wire.MEDIA_TYPE, headers=headers)


def asked_run(request: web.Request) -> int:
    """Return the run that a path names. Raises NotFound."""
    return number(request.match_info["run"], "run")
