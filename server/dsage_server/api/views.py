"""The views of the machine API: what may be asked about runs, volunteers and the server, by anybody.

A run's researcher, whose token says so, is told all of it; everybody else what the pages say (store/public.py). What
many ask for at once is made for all of them once a second.
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
from dsage_server.api.declared import DRIVER, UNCHANGED, call
from dsage_server.api.http import number, seconds
from dsage_server.certified import projects_of
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.shared import Shared
from dsage_server.store import events, public, views
from dsage_server.store.public import ANYBODY, Reader

MAX_UNITS_ASKED: Final = 500
OPEN: Final[dict[str, Any]] = {"auth": DRIVER, "open": True, "scope": "read", "also": {304: UNCHANGED}}
"""What the calls say that tell a run's researcher more than others."""
FOR_ALL: Final = {"Cache-Control": "no-cache", "Vary": "Authorization"}
FOR_ONE: Final = {"Cache-Control": "private, no-store", "Vary": "Authorization"}


class Kept(msgspec.Struct, frozen=True):
    """An encoded answer, and its name for those who ask whether it has changed."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, message: Any) -> Kept:
        """Encode a message."""
        body = msgspec.msgpack.encode(message)
        return cls(body, hashlib.blake2b(body, digest_size=12).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """The handlers; `name` is the server's."""

    hub: Hub
    name: str
    asks: Callable[[web.Request], Session | None]
    """Return the session of a request, None if it has no token. Raises LoggedOut or NotAllowed."""
    kept: Shared[Kept] = field(default_factory=Shared)
    runs_kept: Shared[Kept] = field(default_factory=Shared)
    """What is told of single runs, apart: there are many."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/runs", self.runs),
            web.get("/v1/runs/{run}", self.run),
            web.get("/v1/runs/{run}/events", self.events),
            web.get("/v1/runs/{run}/finders", self.finders),
            web.get("/v1/runs/{run}/credit", self.credit),
            web.get("/v1/status", self.status),
            web.get("/v1/leaderboard", self.leaderboard),
        ]

    @call(gives=wire.StatusView, **OPEN)
    async def status(self, request: web.Request) -> web.StreamResponse:
        """The server at a glance."""
        hub, trouble, reader = self.hub, self.hub.store.trouble, self._reader(request)

        def look(connection: Connection) -> wire.StatusView:
            view = views.status(connection, hub.server_id, self.name, hub.clock(), self._names())
            view.trouble = trouble
            return public.status(connection, view, reader)

        return await self._shared(request, self.kept, f"status {trouble}", reader, look)

    @call(gives=list[wire.RunView], **OPEN)
    async def runs(self, request: web.Request) -> web.StreamResponse:
        """The newest runs."""
        reader = self._reader(request)

        def look(connection: Connection) -> list[wire.RunView]:
            return public.views_of(connection, views.runs(connection, self.hub.clock(), names=self._names()), reader)

        return await self._shared(request, self.kept, "runs", reader, look)

    @call(gives=list[wire.CreditLine], also={304: UNCHANGED})
    async def leaderboard(self, request: web.Request) -> web.StreamResponse:
        """Volunteers by recent average."""

        def look(connection: Connection) -> list[wire.CreditLine]:
            return views.leaderboard(connection, self.hub.clock())

        return await self._shared(request, self.kept, "leaderboard", ANYBODY, look)

    @call(gives=wire.RunView, **OPEN)
    async def run(self, request: web.Request) -> web.StreamResponse:
        """One run; what is not over for everybody is told its researcher only."""
        wanted = asked_run(request)

        def look(connection: Connection) -> wire.RunView:
            return views.run_view(connection, wanted, self.hub.clock(), self._names())

        if await self._is_whole(request, wanted):
            return _for_one(await self.hub.store.read(look))
        return await self._shared(request, self.runs_kept, f"run {wanted}", ANYBODY, lambda c: public.view(look(c)))

    @call(gives=list[wire.Event], query={"after": wire.Count, "wait": wire.Seconds}, **OPEN)
    async def events(self, request: web.Request) -> web.StreamResponse:
        """What happened in a run after an event; to single units of it, its researcher is told."""
        wanted, after = asked_run(request), number(request.query.get("after", "0"), "event")
        is_whole = await self._is_whole(request, wanted)
        ends = self.hub.ticks() + min(seconds(request.query.get("wait")), wire.MAX_WAIT_S)

        def look(connection: Connection) -> list[wire.Event]:
            return events.since(connection, after, run=wanted) if is_whole else public.news(connection, wanted, after)

        def answer(found: list[wire.Event]) -> web.StreamResponse:
            return _for_one(found) if is_whole else _for_all(request, Kept.of(found))

        while True:
            since = self.hub.waiting.moment()
            found = await self.hub.store.read(look)
            left = ends - self.hub.ticks()
            if found or left <= 0 or self.hub.closing:
                return answer(found)
            with self.hub.pressure.hold() as granted:
                if not granted:
                    return answer(found)
                await self.hub.waiting.wait(("events", wanted), left, since=since)

    @call(gives=list[wire.Finder], query={"unit": list[wire.Count]}, **OPEN)
    async def finders(self, request: web.Request) -> web.StreamResponse:
        """Whose machines brought the accepted answers of some units; of those that are not over, its researcher is
        told.
        """
        wanted = asked_run(request)
        units = [number(each, "unit") for each in request.query.getall("unit", [])]
        if len(units) > MAX_UNITS_ASKED:
            raise UsageError(f"at most {MAX_UNITS_ASKED} units in one question")
        read, now = self.hub.store.read, self.hub.clock()
        if await self._is_whole(request, wanted):
            return _for_one(await read(lambda c: views.finders(c, wanted, units)))
        return _for_all(request, Kept.of(await read(lambda c: public.finders(c, wanted, units, now))))

    @call(gives=dict[str, int], **OPEN)
    async def credit(self, request: web.Request) -> web.StreamResponse:
        """Thousandths of credit by pseudonym in one run."""
        wanted = asked_run(request)
        if await self._is_whole(request, wanted):
            return _for_one(await self.hub.store.read(lambda c: views.credit_of_run(c, wanted)))

        def look(connection: Connection) -> dict[str, int]:
            return public.credit(connection, views.run_view(connection, wanted, self.hub.clock()))

        return await self._shared(request, self.runs_kept, f"credit {wanted}", ANYBODY, look)

    def _reader(self, request: web.Request) -> Reader:
        """Return who asks. Raises LoggedOut, NotAllowed."""
        session = self.asks(request)
        if session is None or session.role not in DRIVER:
            return ANYBODY
        if session.run:
            return Reader(run=session.run)
        return Reader(key=session.key, projects=projects_of(self.hub.chain, session.key, self.hub.clock()))

    async def _is_whole(self, request: web.Request, wanted: int) -> bool:
        """Whether who asks is told all of a run. Raises LoggedOut, NotAllowed."""
        reader = self._reader(request)
        return reader != ANYBODY and bool(await self.hub.store.read(lambda c: public.whole(c, reader, [wanted])))

    def _names(self) -> dict[bytes, str]:
        """Return what researchers' keys are certified under."""
        return {certificate.key: certificate.name for certificate in self.hub.chain.root.code_keys}

    async def _shared(
        self, request: web.Request, kept: Shared[Kept], key: str, reader: Reader, look: Callable[[Connection], Any]
    ) -> web.StreamResponse:
        """Answer with what was made lately for the same reader, or else now."""

        async def make() -> Kept:
            return Kept.of(await self.hub.store.read(look))

        if reader == ANYBODY:
            return _for_all(request, await kept.get(key, make))
        answer = await kept.get(f"{key} for {reader.run} {reader.key.hex()} {sorted(reader.projects)}", make)
        return web.Response(body=answer.body, content_type=wire.MEDIA_TYPE, headers=FOR_ONE)


def asked_run(request: web.Request) -> int:
    """Return the run that a path names. Raises NotFound."""
    return number(request.match_info["run"], "run")


def _for_all(request: web.Request, kept: Kept) -> web.StreamResponse:
    """Return what anybody may know, or that who asks knows it already."""
    headers = {"ETag": f'"{kept.etag}"', **FOR_ALL}
    if any(tag.value in (kept.etag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=kept.body, content_type=wire.MEDIA_TYPE, headers=headers)


def _for_one(message: Any) -> web.StreamResponse:
    """Return what is for who asks only."""
    return web.Response(body=msgspec.msgpack.encode(message), content_type=wire.MEDIA_TYPE, headers=FOR_ONE)
