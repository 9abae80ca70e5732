"""What researchers ask about runs of their own: units, copies of them with what they printed, and what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from sqlalchemy import Connection

from dsage import wire
from dsage_server.api.declared import RESEARCHER, call
from dsage_server.api.http import number, reply
from dsage_server.api.views import asked_run
from dsage_server.blobs import answers
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store import looking, runs

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """The handlers. Another researcher gets NotAllowed."""

    hub: Hub
    who: Callable[[web.Request, str], Session]
    """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/runs/{run}/units", self.units),
            web.get("/v1/runs/{run}/attempts", self.attempts),
            web.get("/v1/runs/{run}/remainder", self.remainder),
        ]

    @call(
        gives=wire.UnitPage,
        auth=RESEARCHER,
        scope="read",
        query={"after": wire.Count, "limit": wire.Count, "state": str},
    )
    async def units(self, request: web.Request) -> web.Response:
        """A page of a run's units."""
        after, limit = _number(request, "after"), _number(request, "limit", looking.MAX_UNITS)
        state = request.query.get("state", "")
        page, large = await self._look(request, lambda c, run: looking.unit_page(c, run, after, limit, state))
        for view in page.units:
            if view.unit in large:
                view.value = await answers.read(self.hub.blobs, large[view.unit])
        return reply(page)

    @call(gives=list[wire.Attempt], auth=RESEARCHER, scope="read", query={"unit": wire.Count})
    async def attempts(self, request: web.Request) -> web.Response:
        """Copies of a unit, or of those units of a run that people look at first."""
        unit = _number(request, "unit")
        return reply(await self._look(request, lambda c, run: looking.attempts(c, run, unit)))

    @call(gives=wire.Remainder, auth=RESEARCHER, scope="read", query={"after": wire.Count})
    async def remainder(self, request: web.Request) -> web.Response:
        """Units that have not ended, as they were made."""
        after = _number(request, "after")
        return reply(await self._look(request, lambda c, run: looking.remainder(c, run, after)))

    async def _look(self, request: web.Request, look: Callable[[Connection, int], T]) -> T:
        session, run = self.who(request, "researcher"), asked_run(request)

        def read(connection: Connection) -> T:
            runs.check_owner(connection, run, session.key)
            return look(connection, run)

        return await self.hub.store.read(read)


def _number(request: web.Request, name: str, default: int = 0) -> int:
    return number(request.query.get(name, str(default)), name)
