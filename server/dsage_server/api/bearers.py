"""Whose token a request carries: a session's, which a key has signed for, or one that a researcher made for a program.

What the second kind opens is said beside each call (`scope` in declared.py), and is nothing where nothing is said: no
such token brings code in, approves anybody's, or makes further tokens or logins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from dsage.errors import LoggedOut, NotAllowed
from dsage_server.api.declared import Says
from dsage_server.certified import certified
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store import api_tokens
from dsage_server.store.api_tokens import PREFIX, ApiToken

FOUND: Final = web.RequestKey("FOUND", ApiToken)
"""Where a request keeps the token that it came with."""
_BEARER: Final = f"Bearer {PREFIX}"


@dataclass(frozen=True, slots=True)
class Bearers:
    """Finds out who asks. The database is asked about API tokens only, and about each at every request."""

    hub: Hub

    @web.middleware
    async def look(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Look an API token up before the handler of a call that needs one asks whose it is. Raises LoggedOut."""
        if _says(request).auth and carries(request):
            request[FOUND] = await self.find(request)
        return await handler(request)

    async def find(self, request: web.Request) -> ApiToken:
        """Return the API token that a request carries. Raises LoggedOut if it does not work, or not any more."""
        secret, now = request.headers.get("Authorization", "").removeprefix("Bearer "), self.hub.clock()
        found = await self.hub.store.read(lambda connection: api_tokens.find(connection, secret, now))
        if found is None:
            raise LoggedOut(
                "this token is unknown, was revoked or has run out", hint="`dsage token new NAME` makes another."
            )
        if api_tokens.is_stale(found, now):
            await self.hub.store.write(lambda connection: api_tokens.note_used(connection, found, now))
        return found

    def session(self, token: ApiToken) -> Session:
        """Return who an API token stands for. Raises NotAllowed if they are no researcher here any more."""
        key = certified(self.hub.chain, token.researcher, self.hub.clock()).key
        return Session(role="researcher", key=key, expires=token.expires)

    def who(self, request: web.Request, role: str) -> Session:
        """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""
        token = request.get(FOUND)
        if token is None:
            return self.hub.sessions.find(request.headers.get("Authorization"), role, self.hub.clock())
        if role != "researcher":
            raise NotAllowed(f"this needs a {role}'s token, not a researcher's")
        return self._allowed(request, token)

    def driver(self, request: web.Request, run: int) -> Session:
        """Return the session of whoever may drive a run, if it is theirs. Raises LoggedOut or NotAllowed."""
        token = request.get(FOUND)
        if token is None:
            return self.hub.sessions.find_driver(request.headers.get("Authorization"), run, self.hub.clock())
        return self._allowed(request, token)

    def asks(self, request: web.Request) -> Session | None:
        """Return the session of a request in whatever role, None of one without a token. Raises LoggedOut for a token
        that does not work, or not any more: who shows one is not told less without a word."""
        header = request.headers.get("Authorization")
        if header is None:
            return None
        token = request.get(FOUND)
        return self.hub.sessions.present(header, self.hub.clock()) if token is None else self._allowed(request, token)

    def _allowed(self, request: web.Request, token: ApiToken) -> Session:
        needed = _says(request).scope
        if not needed:
            raise NotAllowed(
                "no API token opens this", hint="It takes the code key itself: `dsage` commands log in with it."
            )
        if not token.may(needed):
            raise NotAllowed(
                f"this token is for reading only: {token.name}", hint="`dsage token new NAME --write` makes another."
            )
        return self.session(token)


def carries(request: web.Request) -> bool:
    """Whether a request shows an API token."""
    return request.headers.get("Authorization", "").startswith(_BEARER)


def _says(request: web.Request) -> Says:
    """Return what the call says of itself that a request is for."""
    return getattr(request.match_info.handler, "says", None) or Says()
