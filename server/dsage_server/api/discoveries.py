"""A researcher's discoveries: looked at in every state, and published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from dsage import wire
from dsage.errors import Conflict
from dsage_server.api.declared import RESEARCHER, call
from dsage_server.api.http import number, reply
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store import discoveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Discoveries:
    """The handlers. What is not published is for its researcher alone."""

    hub: Hub
    who: Callable[[web.Request, str], Session]
    """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""
    pages_url: str

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/discoveries", self.own),
            web.post("/v1/discoveries/{number}/publish", self.publish),
        ]

    @call(gives=list[wire.DiscoveryView], auth=RESEARCHER, scope="read")
    async def own(self, request: web.Request) -> web.Response:
        """The researcher's own discoveries."""
        session = self.who(request, "researcher")
        found = await self.hub.store.read(lambda c: discoveries.of_researcher(c, session.key))
        return reply([self._linked(view) for view in found])

    @call(gives=wire.DiscoveryView, auth=RESEARCHER, errors=(Conflict,))
    async def publish(self, request: web.Request) -> web.Response:
        """Show a confirmed discovery to everybody."""
        session, now = self.who(request, "researcher"), self.hub.clock()
        wanted = number(request.match_info["number"], "discovery")
        view = await self.hub.store.write(lambda c: discoveries.publish(c, wanted, session.key, now))
        self.hub.tell(view.run)
        return reply(self._linked(view))

    def _linked(self, view: wire.DiscoveryView) -> wire.DiscoveryView:
        """Return a discovery with the address of its certificate, if anybody may see it."""
        if view.published is not None and self.pages_url:
            view.link = f"{self.pages_url.rstrip('/')}/discovery/{view.id}.svg"
        return view
