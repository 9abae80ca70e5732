"""A made-up server's site on a port of this computer, and visitors who know their way around it."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import html5lib
from aiohttp import ClientSession, web
from sqlalchemy import select

import dsage_projects
from dsage.trust.documents import CodeKey
from dsage.trust.keys import PrivateKey
from dsage.trust.testing import World as Trust
from dsage_server import seeding
from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import open_store
from dsage_server.exporting import make_edition
from dsage_server.hub import Hub
from dsage_server.published import Published
from dsage_server.seeding.filling import fill, made_signers
from dsage_server.seeding.people import Size
from dsage_server.seeding.words import PROJECTS
from dsage_server.store import announcements, api_tokens, deeds, schema, transfer, visits
from dsage_server.store.engine import Store
from dsage_server.store.meta import remember
from dsage_server.store.schema import credit_sum, metadata, volunteer
from dsage_server.store.testing import on_postgresql, shared_cluster
from dsage_server.store.visits import Role
from dsage_server.web.joining import Invitation
from dsage_server.web.live import Streams
from dsage_server.web.pages import make_pages
from dsage_server.web.public import PAGES

NOW: Final = 1_800_000_000.0
SEED: Final = 1
SMALL: Final = Size(volunteers=40, days=14, ledger=2000)
EACH: Final = 3
"""How many addresses of one route are followed, for each set of parameters, if nothing else is said."""
ELEMENT: Final = "{http://www.w3.org/1999/xhtml}"


def seeded(kept: Path, size: Size = SMALL) -> Path:
    """Return a filled database: made in a folder once, and again when what fills it has changed (half a minute)."""
    sources = [Path(schema.__file__), Path(__file__)]
    for package in (seeding, dsage_projects):
        sources += sorted(Path(package.__path__[0]).rglob("*.py"))
    code = hashlib.sha256(repr(size).encode() + b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    path = kept / f"of-{size.volunteers}-{code}.sqlite"
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for other in kept.glob(f"of-{size.volunteers}-*"):
                other.unlink()
            made = path.with_suffix(".part")
            store = Store(made)
            store.write_now(metadata.create_all)
            fill(store, size, SEED, NOW)
            store.write_now(_say_more)
            store.close()
            made.rename(path)
    return path


def _say_more(connection: Any) -> None:
    """Tell what no run tells: an announcement, a deed, a token, where clients find it."""
    announcements.announce(connection, "The server moves on Sunday: it will be away for an hour.", NOW)
    deeds.record(connection, NOW - 86400.0, "operator", "approved", "the researcher of run 1")
    api_tokens.make(connection, made_signers(SEED).code.public, "notebook", "read", 86400.0, NOW)
    remember(connection, "url", "https://lab.example.org:8470")


@dataclass
class Site:
    """A site that is served: its pages, and who is who there."""

    store: Store
    app: web.Application
    address: str
    tokens: dict[Role, str] = field(default_factory=dict)

    @property
    def volunteer(self) -> int:
        """The listed volunteer with the most credit."""
        best = select(credit_sum.c.volunteer_id).where(credit_sum.c.public).order_by(credit_sum.c.amount_milli.desc())
        number: int = self.store.read_now(lambda c: c.execute(best.limit(1)).scalar_one())
        return number

    @property
    def pseudonym(self) -> str:
        """How that volunteer is called."""
        named = select(volunteer.c.pseudonym).where(volunteer.c.id == self.volunteer)
        name: str = self.store.read_now(lambda c: c.execute(named).scalar_one())
        return name

    def subject(self, role: Role) -> str:
        """Return who comes in a role."""
        return {
            Role.VOLUNTEER: str(self.volunteer),
            Role.RESEARCHER: made_signers(SEED).code.public.hex(),
            Role.OPERATOR: "",
        }[role]

    def link(self, role: Role) -> str:
        """Return a link that logs in."""
        code = self.store.write_now(lambda c: visits.make_link(c, role, self.subject(role), NOW))
        return f"{self.address}/login/{code}"

    def cookies(self) -> list[Any]:
        """Return the cookies of somebody who is logged in as everything, as a browser takes them."""
        for role in Role:
            if role not in self.tokens:
                begin = partial(visits.begin, role=role, subject=self.subject(role), how="link", now=NOW)
                self.tokens[role] = self.store.write_now(begin)
        return [
            {"name": f"__Host-{role}", "value": token, "url": _as_tls(self.address), "secure": True, "httpOnly": True}
            for role, token in self.tokens.items()
        ]

    def routes(self) -> set[str]:
        """Return the routes of all pages for people, as the application has them."""
        known = set[str]()
        for route in self.app.router.routes():
            path = route.resource.canonical if route.resource else ""
            if route.method == "GET" and not path.startswith(("/static/", "/api/v1/", "/export/")):
                known.add(path.removesuffix("{form}"))
        files = {path for path in known if path.endswith((".json", ".svg", ".png", ".atom", ".zip", ".csv"))}
        return known - files - {page.route for page in PAGES if not page.template}

    def route_of(self, path: str) -> str:
        """Return which route a path is of; empty if none."""
        for resource in self.app.router.resources():
            known = resource.get_info()
            if known.get("path") == path or ("pattern" in known and known["pattern"].fullmatch(path)):
                return resource.canonical.removesuffix("{form}")
        return ""


def _as_tls(address: str) -> str:
    """Return an address whose secure cookies Chromium takes; it sends them to localhost without TLS too."""
    return address.replace("http://", "https://")


def hub_of(store: Store, folder: Path) -> Hub:
    """Return the hub of a server that has certified who made the runs."""
    signers, trust = made_signers(SEED), Trust()
    blobs = Blobs(store=store, objects=open_store(str(folder), signers.server_id, min_free_bytes=0), clock=lambda: NOW)
    until = NOW + 9e6
    known = CodeKey(key=signers.code.public, name="ada", projects=[each.name for each in PROJECTS], expires=until)
    chain = trust.chain(code_keys=[known])
    return Hub(store=store, unit_key=PrivateKey.generate(), chain=chain, blobs=blobs, clock=lambda: NOW)


@asynccontextmanager
async def serve(
    folder: Path, database: Path | None, streams: Streams | None = None, *, researchers: bool = False
) -> AsyncIterator[Site]:
    """Serve a copy of a database (an empty one without) as a server has it, in a folder of its own, or on PostgreSQL if
    the environment says so; with pages for `researchers` if that is said."""
    store = _copy(folder, database)
    server_id = made_signers(SEED).server_id
    export = folder / "export"
    if database is not None:
        store.read_now(lambda c: make_edition(c, export, server_id, NOW))
        package = folder / "dsage_1.4.0_amd64.deb"
        package.write_bytes(b"a package" * 1000)
        Published.of(folder).publish([package])
    app = make_pages(
        store, server_id=server_id, name="Idle Hours", clock=lambda: NOW, streams=streams, exports=export,
        joining=Invitation(published=Published.of(folder), operator="The Lab", origin=""),
        hub=hub_of(store, folder) if researchers else None,
    )  # fmt: skip
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    try:
        yield Site(store, app, f"http://localhost:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
        store.close()


def _copy(folder: Path, database: Path | None) -> Store:
    if on_postgresql():
        url = shared_cluster().migrated()
        if database is not None:
            transfer._moved(database, url, lambda _: None)
        return Store(url)
    path = folder / "dsage.sqlite"
    if database is not None:
        shutil.copy(database, path)
    store = Store(path)
    store.write_now(metadata.create_all)
    return store


@dataclass
class Found:
    """A page that a visitor who follows every link comes to; `parsed` is its tree."""

    path: str
    route: str
    status: int
    kind: str
    text: str = ""
    parsed: Any = None
    fault: str = ""


async def explore(site: Site, *, logged_in: bool = True, each: int = EACH, language: str = "") -> list[Found]:
    """Follow the links of a site from its routes without variables, `each` for a route and a set of parameters."""
    cookies = {each["name"]: each["value"] for each in site.cookies()} if logged_in else {}
    cookies |= {"language": language} if language else {}
    told = "; ".join(f"{name}={value}" for name, value in cookies.items())
    waiting = sorted(route for route in site.routes() if "{" not in route and route != "/healthz")
    seen, counts, found = set(waiting), dict[tuple[str, frozenset[str]], int](), []
    async with ClientSession(headers={"Cookie": told, "Accept": "text/html"} if told else None) as session:
        while waiting:
            page = await _visit(session, site, waiting.pop(0))
            found.append(page)
            for path in sorted(links_of(page)):
                parts = urlsplit(path)
                kind = site.route_of(parts.path), frozenset(part.partition("=")[0] for part in parts.query.split("&"))
                if path not in seen and counts.get(kind, 0) < each:
                    seen.add(path)
                    counts[kind] = counts.get(kind, 0) + 1
                    waiting.append(path)
    return found


async def _visit(session: ClientSession, site: Site, path: str) -> Found:
    async with session.get(site.address + path) as response:
        end = urlsplit(str(response.url))
        landed = end.path + (f"?{end.query}" if end.query else "")
        page = Found(landed, site.route_of(end.path), response.status, response.content_type)
        body = await response.read()
    if page.kind == "text/html":
        page.text = body.decode()
        try:
            page.parsed = html5lib.HTMLParser(strict=True).parse(page.text)
        except html5lib.html5parser.ParseError as error:
            page.fault = str(error)
    return page


def links_of(page: Found) -> set[str]:
    """Return the addresses of this site that a page leads to, without what stands after #."""
    if page.parsed is None:
        return set()
    every = (urljoin(page.path, link.get("href", "")) for link in page.parsed.iter(f"{ELEMENT}a"))
    return {address.partition("#")[0] for address in every if address.startswith("/")}
