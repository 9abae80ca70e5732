"""What a researcher's own computer asks for besides runs: a link to the researcher's pages, and tokens for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from sqlalchemy import Connection

from dsage import wire
from dsage.errors import Conflict
from dsage_server.api.declared import RESEARCHER, call
from dsage_server.api.http import body, number, reply
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store import api_tokens, visits
from dsage_server.store.api_tokens import ApiToken

MAX_WISH_BYTES: Final = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Researchers:
    """The handlers. No API token opens any of them: they would make further logins out of one."""

    hub: Hub
    who: Callable[[web.Request, str], Session]
    """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""
    pages_url: str

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/v1/researcher/page-link", self.page_link),
            web.get("/v1/researcher/tokens", self.tokens),
            web.post("/v1/researcher/tokens", self.make),
            web.post("/v1/researcher/tokens/{number}/revoke", self.revoke),
        ]

    @call(gives=wire.PageLink, auth=RESEARCHER)
    async def page_link(self, request: web.Request) -> web.Response:
        """An address that logs a browser in to the researcher's own pages."""
        session, now = self.who(request, "researcher"), self.hub.clock()
        role, subject = visits.Role.RESEARCHER, session.key.hex()
        code = await self.hub.store.write(lambda c: visits.make_link(c, role, subject, now))
        return reply(wire.PageLink(url=f"{self.pages_url.rstrip('/')}/login/{code}", valid_s=visits.LINK_S))

    @call(gives=list[wire.TokenView], auth=RESEARCHER)
    async def tokens(self, request: web.Request) -> web.Response:
        """The researcher's tokens for programs, without their secrets."""
        session = self.who(request, "researcher")
        found = await self.hub.store.read(lambda c: api_tokens.of(c, session.key))
        return reply([view(token) for token in found])

    @call(takes=wire.TokenWish, gives=wire.TokenView, auth=RESEARCHER, errors=(Conflict,))
    async def make(self, request: web.Request) -> web.Response:
        """A new token for a program; its secret is told here and nowhere else."""
        session = self.who(request, "researcher")
        wish = await body(request, wire.TokenWish, MAX_WISH_BYTES)
        now = self.hub.clock()

        def change(connection: Connection) -> tuple[ApiToken, str]:
            return api_tokens.make(connection, session.key, wish.name, wish.scope, wish.lasts_s, now)

        return reply(view(*await self.hub.store.write(change)))

    @call(gives=wire.TokenView, auth=RESEARCHER)
    async def revoke(self, request: web.Request) -> web.Response:
        """Let a token open nothing any more."""
        session = self.who(request, "researcher")
        wanted, now = number(request.match_info["number"], "token"), self.hub.clock()
        return reply(view(await self.hub.store.write(lambda c: api_tokens.revoke(c, session.key, wanted, now))))


def view(token: ApiToken, secret: str = "") -> wire.TokenView:
    """Return a token as its researcher sees it; with the secret just once."""
    return wire.TokenView(
        id=token.id, name=token.name, scope=token.scope, created=token.created, expires=token.expires,
        used=token.used, revoked=token.revoked, secret=secret,
    )  # fmt: skip
