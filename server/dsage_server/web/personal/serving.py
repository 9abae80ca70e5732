"""The personal pages served: each for whoever is logged in, and for nobody else; nothing of them is kept anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from dsage_server.store.engine import Store
from dsage_server.store.visits import Role, Visit
from dsage_server.web import plain
from dsage_server.web.page import Document, whole
from dsage_server.web.personal import carrying, credit, devices, logins, overview, privacy, team
from dsage_server.web.personal.ceremonies import Place, place_of
from dsage_server.web.personal.mine import Mine, Room
from dsage_server.web.visitors import PRIVATE, Visitors

ROOMS: Final = (overview.ROOM, credit.ROOM, devices.ROOM, team.ROOM, privacy.ROOM, logins.ROOM)
HOME: Final = overview.ROOM.route
COPY: Final = "/me/copy.zip"
EVERYBODY: Final = {"here": "/login", "json_url": "/login.json"}
"""Where the page about logging in stands for people in all roles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the pages and what they do share. `origin` is where visitors reach the pages; "": where they found them."""

    store: Store
    visitors: Visitors
    server_id: str
    name: str
    clock: Callable[[], float]
    origin: str = ""

    def add_to(self, app: web.Application) -> None:
        """Add the routes of what is read."""
        for room in ROOMS:
            app.router.add_get(room.route + r"{form:|\.json}", self._handler(room))
        app.router.add_get(COPY, self.copy)

    async def mine(self, request: web.Request) -> Mine:
        """Return whose page this is. Raises LoggedOut."""
        return self.of(await self.visitors.needed(request, Role.VOLUNTEER), int(whole(request.query.get("page", "1"))))

    def of(self, visit: Visit, page: int = 1) -> Mine:
        """Return what a visit makes one's own, now."""
        return Mine(visit=visit, now=self.clock(), server_id=self.server_id, page=page)

    def place(self, request: web.Request) -> Place:
        """Return where this request found the pages."""
        return place_of(self.origin or f"{request.scheme}://{request.host}")

    async def shown(
        self, request: web.Request, template: str, context: dict[str, Any], status: int = 200
    ) -> web.Response:
        """Return a page about somebody's own."""
        more = {"did": request.query.get("did", ""), "passkeys_fit": self.place(request).fits}
        return await self.visitors.page(request, template, more | context, status)

    async def out(
        self, request: web.Request, *, wrong: str = "", ways: Sequence[object] = (), status: int = 200
    ) -> web.Response:
        """Return the page that says how to log in; `wrong` is what was wrong with a recovery code. With the `ways` of
        all roles it is for everybody, not for volunteers alone."""
        context: dict[str, Any] = {"wrong": wrong, "kept": self.keeps(request), "ways": ways, "here": HOME}
        return await self.shown(request, "me_out", context | (EVERYBODY if ways else {}), status)

    def keeps(self, request: web.Request) -> bool:
        """Whether browsers keep a login of where this request found the pages."""
        return request.secure or self.place(request).origin.startswith("https://") or _is_here(request.host)

    def _handler(self, room: Room) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            as_json = bool(request.match_info["form"])
            if not as_json and await self.visitors.of(request, Role.VOLUNTEER) is None:
                return await self.out(request)
            mine = await self.mine(request)

            def look(connection: Any) -> Document:
                return room.load(connection, mine)

            document = await self.store.read(look)
            if as_json:
                body = plain.to_json(document.schema, document)
                return web.Response(body=body, content_type="application/json", headers=PRIVATE)
            context = {"page": document, "mine": mine, "room": room.route, "countries": privacy.COUNTRIES}
            return await self.shown(request, room.template, context)

        return handle

    async def copy(self, request: web.Request) -> web.Response:
        """All that is kept about a volunteer, as a zip file."""
        mine = await self.mine(request)
        body = await self.store.read(lambda connection: carrying.packed(connection, mine))
        headers = {"Content-Disposition": 'attachment; filename="dsage-my-data.zip"', **PRIVATE}
        return web.Response(body=body, content_type="application/zip", headers=headers)


def _is_here(host: str) -> bool:
    """Whether browsers keep logins of a host over plain http: of this computer only."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name in ("localhost", "127.0.0.1", "[::1]") or name.endswith(".localhost")
