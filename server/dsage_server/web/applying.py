"""The page on which somebody asks the operator to certify a code key. Anybody may ask; the operator signs elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from dsage.trust.keys import fingerprint, parse_public
from dsage_server.store import announcements, requests
from dsage_server.store.engine import Store
from dsage_server.web.forms import form_of
from dsage_server.web.visitors import Visitors

ROUTE: Final = "/certify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """The handlers."""

    store: Store
    visitors: Visitors
    clock: Callable[[], float]

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(ROUTE, self.form)
        app.router.add_post(ROUTE, self.ask)

    async def form(self, request: web.Request) -> web.Response:
        """The form."""
        return await self._page(request, 0, "")

    async def ask(self, request: web.Request) -> web.Response:
        """Take a request, and say what follows. Raises UsageError, Conflict, Busy."""
        form = await form_of(request)
        key = parse_public(form.get("key", ""))
        projects = re.split(r"[\s,]+", form.get("projects", "").strip())
        name, words, now = form.get("name", "").strip(), form.get("words", ""), self.clock()
        number = await self.store.write(lambda c: requests.ask(c, key, name, projects, words, now))
        return await self._page(request, number, fingerprint(key))

    async def _page(self, request: web.Request, number: int, mark: str) -> web.Response:
        now = self.clock()
        told = await self.store.read(lambda c: announcements.current(c, now))
        return self.visitors.page(request, "certify", {"number": number, "mark": mark, "notices": told})
