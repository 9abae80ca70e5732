"""The operator's pages as they are served: for who is logged in as the operator, and for nobody else.

Pages are read afresh for each look and never kept by browsers. Forms come from our own pages (forging.py), and what
they change stands in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Connection

from dsage_server.store import announcements, requests
from dsage_server.store.engine import Store
from dsage_server.store.visits import Role
from dsage_server.web import plain
from dsage_server.web.forms import form_of
from dsage_server.web.operators import asking, checks, fleet, notices, overview, upkeep
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document, Param, choice, whole
from dsage_server.web.visitors import PRIVATE, Visitors

Load = Callable[[Connection, Asked, Machine | None], Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One page: its address, its template, what fills it, and what may be asked of it."""

    route: str
    template: str
    load: Load
    document: type[Document]
    params: tuple[tuple[str, Param], ...] = ()


ROOMS: Final = (
    Room(route="/admin", template="operator", load=overview.overview, document=overview.Overview),
    Room(route="/admin/requests", template="operator_requests", load=asking.wishes, document=asking.Requests),
    Room(
        route="/admin/hosts", template="operator_hosts", load=fleet.hosts, document=fleet.Hosts,
        params=(("show", choice("flagged", "all")),),
    ),
    Room(route="/admin/host/{number}", template="operator_host", load=fleet.host, document=fleet.OneHost),
    Room(route="/admin/apps", template="operator_apps", load=fleet.apps, document=fleet.Apps),
    Room(route="/admin/checks", template="operator_checks", load=checks.checks, document=checks.Checks),
    Room(route="/admin/announcements", template="operator_notices", load=notices.told, document=notices.Announcements),
    Room(route="/admin/deletions", template="operator_deletions", load=upkeep.deletions, document=upkeep.Deletions),
    Room(route="/admin/limits", template="operator_limits", load=upkeep.limits, document=upkeep.LimitsPage),
    Room(route="/admin/keys", template="operator_keys", load=upkeep.keys, document=upkeep.Keys),
    Room(route="/admin/health", template="operator_health", load=overview.health, document=overview.Health),
)  # fmt: skip
"""All of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The handlers. Without a `machine` the pages know only what is in the tables."""

    store: Store
    visitors: Visitors
    server_id: str
    name: str
    clock: Callable[[], float]
    machine: Machine | None = None

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        for room in ROOMS:
            route = room.route.replace("{number}", "{number:[0-9]+}")
            app.router.add_get(route + r"{form:|\.json}", self._handler(room))
        app.router.add_post("/admin/announcements", self._form(notices.announce, "/admin/announcements"))
        app.router.add_post(r"/admin/announcements/{number:[0-9]+}/end", self._form(_end, "/admin/announcements"))
        app.router.add_post(r"/admin/requests/{number:[0-9]+}/refuse", self._form(_refuse, "/admin/requests"))

    def _handler(self, room: Room) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            await self.visitors.needed(request, Role.OPERATOR)
            path = {name: value for name, value in request.match_info.items() if name != "form"}
            if "number" in path:
                path["number"] = whole(path["number"])
            query = {name: param.read(request.query.get(name, param.default)) for name, param in room.params}
            asked = Asked(now=self.clock(), server_id=self.server_id, name=self.name, path=path, query=query)
            document = await self.store.read(lambda c: room.load(c, asked, self.machine))
            if request.match_info["form"]:
                body = plain.to_json(document.schema, document)
                return web.Response(body=body, content_type="application/json", headers=PRIVATE)
            asks = f"?{request.query_string}" if request.query_string else ""
            context = {"page": document, "json_url": f"{request.path}.json{asks}"}
            return await self.visitors.page(request, room.template, context)

        return handle

    def _form(self, change: Callable[[Connection, Mapping[str, str], float], None], back: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            await self.visitors.needed(request, Role.OPERATOR)
            form = await form_of(request)
            form |= {name: whole(value) for name, value in request.match_info.items()}
            now = self.clock()
            await self.store.write(lambda connection: change(connection, form, now))
            return web.Response(status=303, headers={"Location": back, **PRIVATE})

        return handle


def _end(connection: Connection, form: Mapping[str, str], now: float) -> None:
    announcements.withdraw(connection, int(form["number"]), now)


def _refuse(connection: Connection, form: Mapping[str, str], now: float) -> None:
    requests.decide(connection, int(form["number"]), requests.REFUSED, form.get("answer", "").strip()[:300], now)
