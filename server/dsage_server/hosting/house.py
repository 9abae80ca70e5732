"""The hosting process: drives runs over the machine API, as the server tells it to, until the server is gone."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dsage import bundle as bundles
from dsage.connection import Connection, fetch_chain
from dsage.driver import Driver
from dsage.errors import (
    Busy,
    Conflict,
    DSageError,
    NotAllowed,
    ServerAway,
    StorageFull,
    TooLarge,
    UnitFailed,
)
from dsage.requests import Requests
from dsage.sandbox import Level
from dsage.trust.chain import Chain
from dsage.trust.documents import Manifest
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey
from dsage.wire import RunView
from dsage_server.hosting.boxes import Boxes
from dsage_server.hosting.lines import MAX_REASON, Greeting, Host, Left, Line, Renew
from dsage_server.hosting.stepping import Boxed

log = logging.getLogger(__name__)

AWAY_S: Final = 2.0
"""How long to wait before asking again a server that was away."""


class TokenRequests(Requests):
    """The requests of a program that has a token for one run, and no key; `renewed` gets the next token."""

    def __init__(self, conn: Connection, server_id: str, token: str, renewed: Callable[[], Awaitable[str]]) -> None:
        super().__init__(conn, server_id, _no_key)
        self._token = token
        self._renewed = renewed

    async def sign_in(self) -> str:
        """Have the token renewed."""
        self._token = await self._renewed()
        return ""


@dataclass(slots=True)
class Tenant:
    """One run that is driven here."""

    host: Host
    task: asyncio.Task[None] | None = None
    renewed: asyncio.Queue[str] = field(default_factory=asyncio.Queue)


class House:
    """Every run that is driven in this process."""

    def __init__(self, greeting: Greeting, line: Line[Host]) -> None:
        self._line = line
        self._link = Link.parse(greeting.link)
        self._apps = Path(greeting.folder) / "apps"
        self._boxes = Boxes(Level(greeting.level), Path(greeting.folder))
        self._tenants: dict[int, Tenant] = {}
        self._chain: Chain | None = None

    async def serve(self) -> None:
        """Do what the server says until it is gone."""
        try:
            async for said in self._line.heard():
                self._hear(said)
        finally:
            tasks = [tenant.task for tenant in self._tenants.values() if tenant.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._boxes.close()

    def _hear(self, said: Host) -> None:
        known = self._tenants.get(said.run)
        if known is not None:
            known.renewed.put_nowait(said.token)
            return
        tenant = self._tenants[said.run] = Tenant(said)
        tenant.task = asyncio.create_task(self._house(tenant))

    async def _house(self, tenant: Tenant) -> None:
        """Drive a run for as long as that may be done here, and say so when it is over."""
        run, reason = tenant.host.run, ""
        try:
            async with await self._connected() as conn:
                await self._drive(tenant, conn)
        except (Conflict, ServerAway, Busy, StorageFull) as error:
            log.info("run %s is left: %s", run, error.message)
        except DSageError as error:
            reason = f"{error.code}: {error.message}"
        except OSError as error:
            reason = f"storage-full: {error.strerror or error}"
        finally:
            del self._tenants[run]
            await self._boxes.drop(run)
            self._line.say(Left(run=run, reason=reason[:MAX_REASON]))

    async def _connected(self) -> Connection:
        while True:
            try:
                return await Connection.open(self._link)
            except ServerAway as error:
                log.info("%s", error.message)
                await asyncio.sleep(AWAY_S)

    async def _drive(self, tenant: Tenant, conn: Connection) -> None:
        run = tenant.host.run

        async def renewed() -> str:
            self._line.say(Renew(run=run))
            return await tenant.renewed.get()

        api = TokenRequests(conn, self._link.server_id, tenant.host.token, renewed)
        view = await api.run(run)
        manifest = await self._proven(api, conn, view, tenant.host.authorisation)
        folder = await self._unpacked(conn, manifest)
        stepper = Boxed(self._boxes, run, folder, manifest, view.params)
        ended = await Driver(stepper, api, run, say=log.info).drive()
        log.info("run %s is %s %s", run, ended.state, ended.reason)

    async def _proven(self, api: Requests, conn: Connection, view: RunView, authorisation: str) -> Manifest:
        """Return what the run's code is, if root -> code key -> app and run holds now. Raises a TrustError.

        These are the checks of a volunteer's client, but for those of a unit: nothing is stepped that it would not run.
        """
        now = time.time()
        chain, envelope = await fetch_chain(conn, self._link, now)
        self._chain = chain if self._chain is None else self._chain.advance(envelope, now)
        manifest = self._chain.manifest(await api.document(view.app), now)
        self._chain.authorisation(await api.document(authorisation), manifest, view.app, now)
        for name in manifest.needs:
            if not (name.isidentifier() and importlib.util.find_spec(name)):
                raise UnitFailed(f"there is no {name} where drivers are hosted, and {manifest.title} needs it")
        return manifest

    async def _unpacked(self, conn: Connection, manifest: Manifest) -> Path:
        """Return the folder with the app's source, which is that of the signed hash."""
        if manifest.bundle_bytes > bundles.MAX_BUNDLE_BYTES:
            raise TooLarge(f"the app's bundle has {manifest.bundle_bytes} bytes")
        data = await conn.call("GET", f"/v1/bundles/{manifest.bundle}", None, bytes)
        folder = self._apps / manifest.bundle
        await asyncio.to_thread(bundles.unpack, data, folder, expected_sha256=manifest.bundle)
        return folder


def _no_key() -> PrivateKey:
    raise NotAllowed("a hosted driver has no key")
