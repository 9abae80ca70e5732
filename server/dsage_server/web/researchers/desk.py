"""Whose page a researcher's page is, and how it is answered: to that researcher alone, as a page or as its JSON twin.

A browser shows its cookie; a program shows an API token, and only reads. What is another researcher's is answered just
like what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from aiohttp import web
from sqlalchemy import Connection, select

from dsage.errors import NotFound
from dsage_server.api.bearers import Bearers, carries
from dsage_server.certified import certified
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store.schema import run
from dsage_server.store.visits import Role
from dsage_server.web import plain
from dsage_server.web.forging import SAFE
from dsage_server.web.page import whole
from dsage_server.web.visitors import PRIVATE, Visitors

FORM: Final = r"{form:|\.json}"
"""Ends the route of a page that has a JSON twin."""
S = TypeVar("S", bound="Sheet")


class Sheet(msgspec.Struct, kw_only=True):
    """Base of what a researcher's page shows: credit in credits, times in Unix seconds, shares 0..1."""

    schema: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all researchers' pages need."""

    hub: Hub
    visitors: Visitors

    async def who(self, request: web.Request) -> Session:
        """Return who asks. Raises LoggedOut, or NotAllowed for whoever is no researcher here any more."""
        bearers = Bearers(self.hub)
        if request.method in SAFE and carries(request):
            return bearers.session(await bearers.find(request))
        visit = await self.visitors.needed(request, Role.RESEARCHER)
        known = certified(self.hub.chain, visit.researcher, self.hub.clock())
        return Session(role="researcher", key=known.key, expires=visit.expires)

    async def sheet(
        self, request: web.Request, template: str, load: Callable[[Connection, Session], S], **more: Any
    ) -> web.Response:
        """Answer a request with what `load` finds for whoever asks."""
        session = await self.who(request)
        found = await self.hub.store.read(lambda connection: load(connection, session))
        return await self.answer(request, template, found, **more)

    async def answer(self, request: web.Request, template: str, found: Sheet, **more: Any) -> web.Response:
        """Return a page, or its twin if that was asked for."""
        if request.match_info.get("form") == ".json":
            body = plain.to_json(found.schema, found)
            return web.Response(body=body, content_type="application/json", charset="utf-8", headers=PRIVATE)
        query = f"?{request.query_string}" if request.query_string else ""
        context = {"page": found, "json_url": f"{request.path}.json{query}", **more}
        return await self.visitors.page(request, template, context)


def own(connection: Connection, session: Session, number: int) -> None:
    """Raise NotFound unless a run is this researcher's."""
    owner = connection.execute(select(run.c.researcher).where(run.c.id == number)).scalar()
    if owner is None or bytes(owner) != session.key:
        raise lost(number)


def lost(number: int) -> NotFound:
    """Return the error for a run that is not there, or not this researcher's: nobody can tell which."""
    return NotFound(f"you have no run {number}", hint="`/runs` lists those that you have.")


def numbered(request: web.Request, name: str = "number") -> int:
    """Return a number in the address of a request. Raises NotFound."""
    return int(whole(request.match_info[name]))


def asked(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a number among the parameters of a request. Raises NotFound."""
    given = query.get(name)
    return default if given is None else int(whole(given))
