"""Who is visiting: browsers log in by a link, and are known by a cookie, one for each role that they have.

The link is made by a program that has the key (the client's "Open my page", `dsage web`, `dsage admin web`). Opening it
shows as whom it logs in; the button there uses it up, so that nothing that merely looks at links does.

The cookies are `__Host-` ones: sent over TLS only (and on localhost), to this host alone, and no script reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from sqlalchemy import Connection, select

from dsage.errors import LoggedOut, NotFound
from dsage_server.store import announcements, visits
from dsage_server.store.engine import Store
from dsage_server.store.schema import volunteer
from dsage_server.store.visits import Role, Visit
from dsage_server.web.looks import cookie, look_of
from dsage_server.web.show import Site

HOMES: Final = {Role.VOLUNTEER: "/me", Role.RESEARCHER: "/runs", Role.OPERATOR: "/admin"}
"""Where each role's own pages begin."""
PRIVATE: Final = {"Cache-Control": "no-store"}
_LOST: Final = "this link was used already, or has run out"
_FRESH: Final = "Links work once, within a minute: make a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitors:
    """The handlers of logging in and out, and what other pages ask about a visitor."""

    store: Store
    site: Site
    clock: Callable[[], float]

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/login/{code}", self.offer)
        app.router.add_post("/login/{code}", self.enter)
        app.router.add_post("/logout/{role:volunteer|researcher|operator}", self.leave)

    async def of(self, request: web.Request, role: Role) -> Visit | None:
        """Return who this is in a role, or None for whoever is not logged in."""
        token = request.cookies.get(cookie(role), "")
        if not token:
            return None
        now = self.clock()
        found = await self.store.read(lambda connection: visits.find(connection, token, now))
        if found is None or found.role is not role:
            return None
        if visits.is_stale(found, now):
            await self.store.write(lambda connection: visits.note_seen(connection, found, now))
        return found

    async def needed(self, request: web.Request, role: Role) -> Visit:
        """The same of a page that is for a role only. Raises LoggedOut, which is answered by how to log in."""
        found = await self.of(request, role)
        if found is None:
            raise LoggedOut(f"you are not logged in here as {_ARTICLE[role]}", hint=HOW[role])
        return found

    async def begin(
        self, request: web.Request, response: web.StreamResponse, role: Role, subject: str, how: str
    ) -> None:
        """Log the browser in that asked and gets this answer; what it was logged in by before in this role is over."""
        now, before = self.clock(), await self.of(request, role)

        def change(connection: Connection) -> str:
            if before is not None:
                visits.end(connection, role, before.subject, before.id)
            return visits.begin(connection, role, subject, how, now)

        token = await self.store.write(change)
        response.set_cookie(
            cookie(role), token, max_age=int(visits.LONGEST_S), path="/", secure=True, httponly=True, samesite="Lax"
        )

    async def page(
        self, request: web.Request, template: str, context: dict[str, Any], status: int = 200
    ) -> web.Response:
        """Return a page that is for one visitor only, with what is announced to all."""
        now = self.clock()
        told = await self.store.read(lambda connection: announcements.current(connection, now))
        shared = {"now": now, "here": request.path_qs, "notices": told}
        text = self.site.page(template, shared | context, look_of(request))
        return web.Response(status=status, text=text, content_type="text/html", headers=PRIVATE)

    async def offer(self, request: web.Request) -> web.Response:
        """Show as whom a link logs in."""
        code, now = request.match_info["code"], self.clock()

        def look(connection: Connection) -> tuple[Role, str] | None:
            found = visits.look_at_link(connection, code, now)
            return found and (found[0], _named(connection, *found))

        found = await self.store.read(look)
        if found is None:
            raise NotFound(_LOST, hint=_FRESH)
        return await self.page(request, "login", {"role": found[0].value, "name": found[1], "here": "/"})

    async def enter(self, request: web.Request) -> web.Response:
        """Use a link, and go on to the pages that it opens."""
        code, now = request.match_info["code"], self.clock()
        found = await self.store.write(lambda connection: visits.use_link(connection, code, now))
        if found is None:
            raise NotFound(_LOST, hint=_FRESH)
        answer = web.Response(status=303, headers={"Location": HOMES[found[0]], **PRIVATE})
        await self.begin(request, answer, *found, "link")
        return answer

    async def leave(self, request: web.Request) -> web.Response:
        """Log this browser out of a role."""
        role = Role(request.match_info["role"])
        visit = await self.of(request, role)
        if visit is not None:
            await self.store.write(lambda connection: visits.end(connection, role, visit.subject, visit.id))
        answer = web.Response(status=303, headers={"Location": "/", "Clear-Site-Data": '"cache"', **PRIVATE})
        self.forget(answer, role)
        return answer

    def forget(self, answer: web.StreamResponse, role: Role) -> None:
        """Have a browser forget by what it was logged in."""
        answer.del_cookie(cookie(role), path="/", secure=True, httponly=True, samesite="Lax")


HOW: Final = {
    Role.VOLUNTEER: "On a computer that works here, choose “Open my page” in DSage's menu, or type `dsage me`.",
    Role.RESEARCHER: "Type `dsage web` where you submit runs from: it prints a link.",
    Role.OPERATOR: "Type `dsage admin web` on the server: it prints a link.",
}
_ARTICLE: Final = {Role.VOLUNTEER: "a volunteer", Role.RESEARCHER: "a researcher", Role.OPERATOR: "the operator"}


def _named(connection: Connection, role: Role, subject: str) -> str:
    if role is Role.VOLUNTEER:
        return str(connection.execute(select(volunteer.c.pseudonym).where(volunteer.c.id == int(subject))).scalar_one())
    return subject[:16]
