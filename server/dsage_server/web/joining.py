"""The page that an invite link leads people to: what they would join, which client to take, how to give it the link.

What stands behind the "#" of the link never comes here: a little JavaScript puts it into the command, and without it
the page says how to paste it. Only on a phone, and only over TLS or on this computer, the page asks for a picture of
the link, to take to the computer that is to join; it is drawn and forgotten.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import segno
from aiohttp import web
from sqlalchemy import Connection

from dsage import wire
from dsage.errors import TooLarge, UsageError
from dsage.trust.invite import MAX_CHARACTERS, Link
from dsage_server.published import ROUTE, Published
from dsage_server.shared import Shared
from dsage_server.store import accounts, announcements, open_links
from dsage_server.store.engine import Store
from dsage_server.store.meta import recall
from dsage_server.store.welcome import runs_here
from dsage_server.web import plain
from dsage_server.web.answering import BY_SYSTEM, Body, send
from dsage_server.web.looks import look_there
from dsage_server.web.show import Site

QR: Final = "/join/qr"
SCHEMA: Final = "dsage.join/1"
SYSTEMS: Final = {
    "deb": "Debian and Ubuntu", "wheel": "any Linux with Python 3.11 or later", "windows": "Windows",
    "macos": "macOS", "other": "other systems",
}  # fmt: skip
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """What the page knows from the tables: `url` is where clients find the server, `link` what anybody may join by."""

    url: str
    link: str
    projects: list[wire.ProjectOffer]
    welcome: bool
    notices: list[announcements.Notice]


class Twin(msgspec.Struct, kw_only=True, frozen=True):
    """The page for programs; `link` is one by which anybody may join, empty if there is none."""

    server_id: str
    name: str
    operator: str
    url: str
    link: str
    projects: list[wire.ProjectOffer]
    packages: list[wire.Package]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What the operator says and gives. `origin` is where visitors reach the pages; empty: where they found them."""

    published: Published
    operator: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """The handlers."""

    store: Store
    site: Site
    server_id: str
    name: str
    offer: Invitation
    clock: Callable[[], float] = time.time
    kept: Shared[Facts] = field(default_factory=Shared)

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/join", self.page)
        app.router.add_get("/join.json", self.twin)
        app.router.add_post(QR, self.picture)
        app.router.add_get(ROUTE + "{name}", self.package)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page, for the system that the visitor's browser names."""
        facts, packages = await self._facts(), self.offer.published.packages()
        look = look_there(request)
        mine = [package for kind in FITTING.get(look.system, ()) for package in packages if package.system == kind]
        context: dict[str, Any] = {
            "here": "/join", "json_url": "/join.json", "operator": self.offer.operator, "facts": facts,
            "notices": facts.notices,
            "mine": mine, "others": [package for package in packages if package not in mine],
            "systems": SYSTEMS,
            "origin": self.offer.origin or _asked_for(request), "now": 0.0,
        }  # fmt: skip
        body = Body(self.site.page("join", context, look).encode())
        return send(request, body, "text/html", varies=BY_SYSTEM)

    async def twin(self, request: web.Request) -> web.StreamResponse:
        """The same as JSON."""
        facts = await self._facts()
        said = Twin(
            server_id=self.server_id, name=self.name, operator=self.offer.operator, url=facts.url,
            link=facts.link, projects=facts.projects, packages=self.offer.published.packages(),
        )  # fmt: skip
        return send(request, Body(plain.to_json(SCHEMA, said)), "application/json")

    async def picture(self, request: web.Request) -> web.Response:
        """Draw an invite link to this server as a QR code. Raises UsageError for any other text."""
        if (request.content_length or MAX_CHARACTERS + 1) > MAX_CHARACTERS:
            raise TooLarge("that is longer than any invite link")
        link = Link.parse((await request.read()).decode("ascii", "replace"))
        if link.server_id != self.server_id:
            raise UsageError("this is the link of another server")
        headers = {"Cache-Control": "no-store"}
        return web.Response(text=qr_svg(str(link)), content_type="image/svg+xml", headers=headers)

    async def package(self, request: web.Request) -> web.StreamResponse:
        """A published client, in parts if the visitor asks for parts."""
        name = request.match_info["name"]
        file = self.offer.published.file(name)
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-cache"}
        return web.FileResponse(file, chunk_size=1 << 18, headers=headers)

    async def _facts(self) -> Facts:
        def look(connection: Connection) -> Facts:
            return Facts(
                url=recall(connection, "url") or "", link=open_links.shown(connection, self.clock()),
                projects=accounts.offers(connection), welcome=runs_here(connection),
                notices=announcements.current(connection, self.clock()),
            )  # fmt: skip

        async def make() -> Facts:
            return await self.store.read(look)

        return await self.kept.get("join", make)


FITTING: Final = {"linux": ("deb", "wheel"), "windows": ("windows",), "macos": ("macos",)}
"""The kinds of packages for a system, the one to take first first."""


def qr_svg(text: str) -> str:
    """Return a text as a QR code, dark on light with its quiet zone, of no fixed size."""
    code = segno.make(text, micro=False, error="l")
    drawn: str = code.svg_inline(omitsize=True, light="#ffffff", border=4, svgclass="qr", lineclass=None)
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _asked_for(request: web.Request) -> str:
    """Return the origin that the visitor used, if it looks like one."""
    return f"{request.scheme}://{request.host}" if _HOST.fullmatch(request.host) else ""
