"""A researcher's tokens for programs: made (and shown once), listed, revoked."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from dsage.errors import NotFound, UsageError
from dsage_server.sessions import Session
from dsage_server.store import api_tokens
from dsage_server.store.api_tokens import ApiToken
from dsage_server.web.forms import form_of
from dsage_server.web.researchers.desk import FORM, Desk, Sheet, numbered
from dsage_server.web.visitors import PRIVATE

DAYS: Final = (1, 7, 30, 90, 365)
"""How long tokens made here may last; commands say any number."""
DAY_S: Final = 86400.0


class Token(msgspec.Struct, kw_only=True):
    """A token without its secret; `state` is "works", "revoked" or "over"."""

    id: int
    name: str
    scope: str
    state: str
    created: float
    expires: float
    used: float | None
    revoked: float | None


class TokensSheet(Sheet, kw_only=True):
    """The researcher's tokens, newest first, those that were revoked after the others."""

    schema: ClassVar[str] = "dsage.my-tokens/1"
    tokens: list[Token]


class Tokens:
    """The handlers. Only a browser that is logged in makes tokens here: no token makes further ones."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/tokens" + FORM, self.all)
        app.router.add_post("/tokens", self.make)
        app.router.add_get(r"/tokens/{number:\d+}/revoke" + FORM, self.ask)
        app.router.add_post(r"/tokens/{number:\d+}/revoke", self.revoke)

    async def all(self, request: web.Request) -> web.Response:
        """All tokens of the researcher."""
        return await self.desk.sheet(request, "researcher_tokens", self._sheet, days=DAYS, made=None, secret="")

    async def make(self, request: web.Request) -> web.Response:
        """Make a token, and show it this once."""
        session, now = await self.desk.who(request), self.desk.hub.clock()
        form = await form_of(request)
        days = form.get("days", "")
        if days not in map(str, DAYS):
            raise UsageError("a token lasts one of the times that the form offers", hint="Choose one there.")

        def change(connection: Connection) -> tuple[ApiToken, str]:
            lasts_s = int(days) * DAY_S
            return api_tokens.make(
                connection, session.key, form.get("name", ""), form.get("scope", ""), lasts_s, now
            )  # fmt: skip

        made, secret = await self.desk.hub.store.write(change)
        found = await self.desk.hub.store.read(lambda connection: self._sheet(connection, session))
        return await self.desk.answer(
            request, "researcher_tokens", found, days=DAYS, made=_token(made, now), secret=secret
        )

    async def ask(self, request: web.Request) -> web.Response:
        """Ask once more before a token is revoked."""
        number = numbered(request)

        def load(connection: Connection, session: Session) -> TokensSheet:
            mine = [token for token in self._sheet(connection, session).tokens if token.id == number]
            if not mine:
                raise NotFound(f"you have no token {number}", hint="`/tokens` lists those that you have.")
            return TokensSheet(tokens=mine)

        return await self.desk.sheet(request, "researcher_revoke", load)

    async def revoke(self, request: web.Request) -> web.Response:
        """Let a token open nothing any more."""
        number, session, now = numbered(request), await self.desk.who(request), self.desk.hub.clock()
        await self.desk.hub.store.write(lambda c: api_tokens.revoke(c, session.key, number, now))
        return web.Response(status=303, headers={"Location": "/tokens", **PRIVATE})

    def _sheet(self, connection: Connection, session: Session) -> TokensSheet:
        now = self.desk.hub.clock()
        return TokensSheet(tokens=[_token(token, now) for token in api_tokens.of(connection, session.key)])


def _token(token: ApiToken, now: float) -> Token:
    state = "works" if token.works(now) else "over" if token.revoked is None else "revoked"
    return Token(
        id=token.id, name=token.name, scope=token.scope, state=state, created=token.created, expires=token.expires,
        used=token.used, revoked=token.revoked,
    )  # fmt: skip
