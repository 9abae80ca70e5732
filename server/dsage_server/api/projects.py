"""Projects as their researchers describe them, and the approval of a new researcher's first run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from dsage import wire
from dsage.errors import Conflict
from dsage.trust.documents import CodeKey
from dsage_server.api.declared import RESEARCHER, call
from dsage_server.api.http import body, reply
from dsage_server.api.views import asked_run
from dsage_server.certified import certified_for
from dsage_server.hub import Hub
from dsage_server.sessions import Session
from dsage_server.store import projects


@dataclass(frozen=True, slots=True, kw_only=True)
class Projects:
    """The handlers. Describing and approving is for those whom the root key has certified for the project."""

    hub: Hub
    who: Callable[[web.Request, str], Session]
    """Return the session of a request in a role. Raises LoggedOut or NotAllowed."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/projects/{name}", self.project),
            web.put("/v1/projects/{name}", self.describe),
            web.post("/v1/runs/{run}/approve", self.approve),
        ]

    @call(gives=wire.ProjectView)
    async def project(self, request: web.Request) -> web.Response:
        """What is said of a project."""
        name = request.match_info["name"]
        return reply(await self.hub.store.read(lambda c: projects.find(c, name)))

    @call(takes=wire.DescribeProject, gives=wire.ProjectView, auth=RESEARCHER, errors=(Conflict,))
    async def describe(self, request: web.Request) -> web.Response:
        """Say what a project is for."""
        session = self.who(request, "researcher")
        said = await body(request, wire.DescribeProject)
        name = request.match_info["name"]
        known = self._certified(session, name)
        view = wire.ProjectView(
            name=name, title=said.title, purpose=said.purpose, ethics=said.ethics, link=said.link, by=known.name,
            changed=self.hub.clock(),
        )  # fmt: skip
        await self.hub.store.write(lambda c: projects.describe(c, view, new=said.new))
        return reply(view)

    @call(auth=RESEARCHER, errors=(Conflict,))
    async def approve(self, request: web.Request) -> web.Response:
        """Let a new researcher's first run go on."""
        await self.hub.control.approve(self.who(request, "researcher"), asked_run(request))
        return web.Response(status=204)

    def _certified(self, session: Session, project: str) -> CodeKey:
        return certified_for(self.hub.chain, session.key, project, self.hub.clock())
