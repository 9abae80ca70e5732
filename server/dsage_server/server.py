"""Wiring: keys, database, hub, listeners and the tasks that keep time, as one running server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from dsage.errors import DSageError, SandboxRefused
from dsage.home import Home
from dsage.sandbox import Report, strongest
from dsage.sandbox.space import working_space
from dsage.trust.ceremony import FirstKeys, first_keys
from dsage.trust.chain import Chain
from dsage.trust.invite import Link
from dsage_server import certificates, maintenance, roles, timekeeping
from dsage_server.addresses import certificate_names, host_of, names_of, parse_address, public_url, spelled, visited
from dsage_server.api.accounts import dismiss
from dsage_server.api.callers import visitor
from dsage_server.api.doors import Told, most_connections
from dsage_server.api.http import timely
from dsage_server.api.limits import VISITORS, Limits
from dsage_server.api.openapi import Description
from dsage_server.api.routes import Api, limits_of
from dsage_server.blobs.place import blobs_of
from dsage_server.blobs.uploads import Uploads
from dsage_server.exporting import EXPORT
from dsage_server.hosting.keeper import HOUSE, Keeper
from dsage_server.hub import Hub
from dsage_server.listening import listen
from dsage_server.locking import one_by_one, only_one
from dsage_server.metrics import ROUTE, Metrics, Watch
from dsage_server.published import Published
from dsage_server.sessions import Sessions
from dsage_server.settings import Settings
from dsage_server.spans import Spans
from dsage_server.store import claims, hosts, processes
from dsage_server.store.engine import Store
from dsage_server.store.hosting import REMEMBERED
from dsage_server.store.meta import recall, remember
from dsage_server.store.migrate import upgrade
from dsage_server.store.place import chosen
from dsage_server.store.tokens import token_secret, use_challenge
from dsage_server.web.joining import Invitation
from dsage_server.web.live import Streams
from dsage_server.web.operators.machine import Machine
from dsage_server.web.pages import make_pages
from dsage_validator.boxes import Boxes

log = logging.getLogger(__name__)

METRICS_PORT: Final = 8472
LAB_PROJECTS: Final = ("lab", "factor")
FREE: Final = ("/static/", "/healthz")
"""Of the pages: files that a browser keeps, and what supervisors ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that serves: its addresses, and what the operator should know."""

    hub: Hub
    keys: FirstKeys
    url: str
    pages_url: str
    sandbox: Report | None
    away_s: float
    metrics_url: str = ""

    def link(self, code: str = "") -> Link:
        """Return an invite link (with a code) or a researcher's link (without)."""
        return self.keys.link(self.url, code)

    async def invite(self, uses: int = 1, valid_s: float = 7 * 86400.0) -> Link:
        """Make an invite."""
        now = self.hub.clock()
        return self.link(await self.hub.store.write(lambda c: hosts.make_invite(c, uses, valid_s, now)))


@asynccontextmanager
async def serving(home: Home, settings: Settings) -> AsyncIterator[Running]:
    """Start a server and stop it again. Raises Conflict if one runs on this folder already, and they share no database;
    ServerAway if its database does not answer."""
    folder = settings.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        where = chosen(folder, settings.store)
        roles.check(settings.roles, shared=isinstance(where, str))
        stack.enter_context(only_one(folder, shared=isinstance(where, str)))
        async with one_by_one(folder):
            ca, names = certificates.authority(settings), certificate_names(settings)
            keys = await asyncio.to_thread(first_keys, home, names, settings.name, LAB_PROJECTS, ca=ca)
            await asyncio.to_thread(upgrade, where)
        store = Store(where)
        group: list[roles.Task] = []
        stack.callback(store.close)
        place: processes.Place | None = None
        if store.shared:
            place = store.write_now(partial(processes.join, roles=",".join(sorted(settings.roles)), now=time.time()))
            stack.callback(_leave, store, place)
            store.slot = place.slot
        chain = Chain.first(
            keys.envelope, server_id=keys.root.server_id, root_key_hash=keys.link("https://x:1").root, now=None
        )
        store.write_now(partial(timekeeping.note_root, version=chain.root.version))
        blobs = blobs_of(settings, store, keys.root.server_id)
        await blobs.adopt(settings.folder / "bundles")
        sessions = Sessions(
            store.write_now(token_secret),
            lambda challenge, expires: store.write(lambda c: use_challenge(c, challenge, expires, time.time())),
        )
        serves = roles.API in settings.roles
        hub = Hub(
            store=store, unit_key=keys.unit_key, chain=chain, blobs=blobs, sessions=sessions, serves=serves,
            quota=settings.quota, approve_first_runs=settings.approve_first_runs,
        )  # fmt: skip
        if place is not None:
            group.append(("keeping its number", partial(roles.keep_number, hub, place)))
        hub.pressure.most_held = min(settings.held_calls, most_connections() // 2)
        now = hub.clock()
        away = store.write_now(lambda c: timekeeping.extend_after_outage(c, now, shared=store.shared))
        await hub.load()
        await maintenance.look(hub)
        await timekeeping.end_revoked(hub)
        work_dir = stack.enter_context(working_space(folder / (f".work-{store.slot}" if store.shared else "work")))
        report, boxes = None, None
        if settings.roles & {roles.VALIDATOR, roles.HOSTING}:
            report = await _sandbox(settings, work_dir)
        level = report.level if report else None
        if roles.VALIDATOR in settings.roles:
            boxes = Boxes(level, work_dir)
            store.write_now(lambda connection: remember(connection, "checks", "on" if level else "off"))
        if roles.HOSTING in settings.roles:
            store.write_now(lambda connection: remember(connection, REMEMBERED, "on" if level else "off"))
            if level is not None:
                keeper = Keeper(hub, level, folder / HOUSE, place)
                group.append(("driving hosted runs", keeper.keep))
        if boxes is not None:
            stack.push_async_callback(boxes.close)
            group += roles.checking(hub, boxes, work_dir)
        hub.can_check = store.read_now(lambda connection: recall(connection, "checks")) == "on"
        url = pages_url = metrics_url = ""
        streams = Streams()
        if serves:
            url, pages_url = await _listen(stack, hub, home, settings, keys.ca, group, streams)
        if settings.metrics:
            metrics_url = await _listen_for_metrics(stack, hub, home, settings, streams)
        stack.callback(_end_waits, hub)
        roles.start(stack, group + roles.tasks(hub, settings.roles, home.root_file, settings))
        yield Running(
            hub=hub, keys=keys, url=url, pages_url=pages_url, sandbox=report, away_s=away, metrics_url=metrics_url
        )


async def _listen(
    stack: AsyncExitStack,
    hub: Hub,
    home: Home,
    settings: Settings,
    ca: str,
    group: list[roles.Task],
    streams: Streams,
) -> tuple[str, str]:
    """Open the doors; return the addresses of the machine API and of the pages. Links pin `ca`."""
    name = host_of(public_url(settings, settings.port))
    published = Published.of(settings.folder)
    context = certificates.context(home.tls, settings, name)
    description = Description()
    pages_app = make_pages(
        hub.store,
        server_id=hub.server_id,
        name=settings.name,
        clock=hub.clock,
        names=names_of(settings.pages, settings),
        joining=Invitation(published=published, operator=settings.operator, origin=settings.pages_url),
        exports=settings.folder / EXPORT,
        description=description,
        streams=streams,
        machine=Machine(home, settings),
        dismiss=partial(dismiss, hub),
        hub=hub,
    )
    Limits(VISITORS, address_of=visitor, free=FREE).add_to(pages_app)
    pages_app.middlewares.append(timely)
    pages = await listen(
        stack,
        pages_app,
        settings.pages,
        settings.pages_port,
        None,
        told=_hearers(stack, hub, settings, "pages"),
        proxies=settings.proxies,
    )
    pages_url = settings.pages_url or f"http://{spelled(settings.pages)}:{pages}"
    uploads = Uploads(hub.blobs, partial(hub.allowances.take, what="blob_bytes"))
    stack.push_async_callback(uploads.close)
    api = Api(
        hub=hub, uploads=uploads, name=settings.name, pages_url=pages_url,
        ca_file=certificates.authority_file(home.tls, settings), root_file=home.root_file,
        published=published, limits=limits_of(hub), description=description, operator=settings.operator,
        visited=visited(pages_url),
    )  # fmt: skip
    port = await listen(
        stack,
        api.app(),
        settings.listen,
        settings.port,
        context,
        api.hot(),
        _hearers(stack, hub, settings, "api"),
        settings.proxies,
    )
    url = public_url(settings, port)
    description.api_url, description.pages_url = url, pages_url
    await hub.store.write(lambda connection: remember(connection, "url", url))
    await hub.store.write(lambda connection: remember(connection, "ca", ca))
    await hub.store.write(lambda connection: remember(connection, "pages_url", pages_url))
    renewing = partial(certificates.keep_current, home.tls, settings, context, name)
    group.append(("renewing the certificate", renewing))
    return url, pages_url


def _hearers(stack: AsyncExitStack, hub: Hub, settings: Settings, listener: str) -> list[Told]:
    """Return who hears of each answer of a listener."""
    found: list[Told] = [Watch(hub.meters, listener)] if settings.metrics else []
    if settings.traces:
        spans = Spans.to(settings.traces, listener)
        stack.push_async_callback(asyncio.to_thread, spans.close)
        found.append(spans.told)
    return found


async def _listen_for_metrics(stack: AsyncExitStack, hub: Hub, home: Home, settings: Settings, streams: Streams) -> str:
    """Open the door for Prometheus; return its address."""
    address, port = parse_address(settings.metrics, METRICS_PORT)
    address = address or "localhost"
    app = Metrics(hub, Machine(home, settings), lambda: sum(streams.open.values())).app(names_of(address, settings))
    port = await listen(stack, app, address, port, None)
    return f"http://{spelled(address)}:{port}{ROUTE}"


async def _sandbox(settings: Settings, work_dir: Path) -> Report | None:
    try:
        return await strongest(work_dir, strangers=not settings.sandbox_own)
    except SandboxRefused as error:
        log.warning("apps with checks of their own and hosted runs are refused here: %s", error.message)
        return None


def _leave(store: Store, place: processes.Place) -> None:
    with suppress(DSageError):  # a database that is away finds out by itself
        store.write_now(partial(claims.release_all, slot=place.slot))
        store.write_now(partial(processes.leave, place=place))


def _end_waits(hub: Hub) -> None:
    hub.closing = True
    hub.waiting.call_all()
