"""The page that says how one logs in, in each role: what `/login` alone leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec
from aiohttp import web

from dsage_server.store.visits import Role
from dsage_server.web import plain
from dsage_server.web.page import Document
from dsage_server.web.personal.serving import Serving
from dsage_server.web.visitors import HOMES, HOW, PRIVATE

ROUTE: Final = "/login"


class Way(msgspec.Struct, kw_only=True):
    """How one comes to the pages of a role, which begin at `home`; `here` is whether this browser is logged in."""

    role: str
    home: str
    how: str
    here: bool


class WaysPage(Document, kw_only=True):
    """The ways in. `kept` is whether browsers keep logins of this address, `passkeys` whether they make such for it."""

    schema: ClassVar[str] = "dsage.login/1"
    kept: bool
    passkeys: bool
    ways: list[Way]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The handler."""

    serving: Serving

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(ROUTE + r"{form:|\.json}", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """How one logs in."""
        known = self.serving.visitors
        ways = [
            Way(role=role.value, home=HOMES[role], how=HOW[role], here=await known.of(request, role) is not None)
            for role in Role
        ]
        if not request.match_info["form"]:
            return await self.serving.out(request, ways=ways)
        said = WaysPage(kept=self.serving.keeps(request), passkeys=self.serving.place(request).fits, ways=ways)
        return web.Response(body=plain.to_json(said.schema, said), content_type="application/json", headers=PRIVATE)
