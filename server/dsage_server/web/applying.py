"""The page on which somebody asks the operator to certify a code key. Whoever has the key may ask; the operator signs
elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from sqlalchemy import Connection

from dsage.errors import Replayed
from dsage.trust.keys import fingerprint
from dsage.trust.proving import HINT, proven
from dsage_server.store import requests, tokens
from dsage_server.store.engine import Store
from dsage_server.web.forms import form_of
from dsage_server.web.visitors import Visitors

ROUTE: Final = "/certify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """The handlers."""

    store: Store
    visitors: Visitors
    server_id: str
    clock: Callable[[], float]

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(ROUTE, self.form)
        app.router.add_post(ROUTE, self.ask)

    async def form(self, request: web.Request) -> web.Response:
        """The form."""
        return await self._page(request, 0, "")

    async def ask(self, request: web.Request) -> web.Response:
        """Take a request, and say what follows. Raises UsageError, TrustError, Conflict, Busy."""
        form = await form_of(request)
        projects = re.split(r"[\s,]+", form.get("projects", "").strip())
        name, words, now = form.get("name", "").strip(), form.get("words", ""), self.clock()
        shown = proven(form.get("proof", ""), self.server_id, now)

        def change(connection: Connection) -> int:
            if not tokens.use_challenge(connection, shown.mark, shown.until, now):
                raise Replayed("this proof was used before", hint=HINT)
            return requests.ask(connection, shown.key, name, projects, words, now)

        return await self._page(request, await self.store.write(change), fingerprint(shown.key))

    async def _page(self, request: web.Request, number: int, mark: str) -> web.Response:
        context = {"number": number, "mark": mark, "server_id": self.server_id}
        return await self.visitors.page(request, "certify", context)
