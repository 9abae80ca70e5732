"""What a researcher's programs ask of a server: one method for each request, the login taken care of.

Looking needs no key, and tells more to those of the run's project, so it logs in if there is one. What changes a run
is signed for. The first call logs in with the researcher's code key, and logs in again whenever the token has run out.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, Self

import msgspec

from dsage import bundle as bundles
from dsage import codec, shipping
from dsage.bundle import Bundle
from dsage.connection import Connection, fetch_chain
from dsage.errors import (
    NoServer,
    NotAllowed,
    NotFound,
    ServerAway,
    StorageFull,
    TrustError,
    UsageError,
)
from dsage.files import write_whole
from dsage.function import DistributedFunction
from dsage.home import Home, Login
from dsage.labels import labels
from dsage.requests import Requests
from dsage.trust.ceremony import load_root
from dsage.trust.chain import Chain
from dsage.trust.documents import Authorisation, Manifest
from dsage.trust.envelope import Envelope, hash_of, open_as, seal
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey
from dsage.wire import (
    RunCreated,
    RunView,
    SubmitRun,
)

RUN_DAYS: Final = 90
"""How long volunteers may believe a run's authorisation."""
TOKEN: Final = "DSAGE_TOKEN"
"""The environment variable with an API token, for programs that have no key."""
DEFAULT_KEY: Final = "lab"
DEFAULT_PROJECT: Final = "lab"


class Researcher(Requests):
    """One researcher at one server. `link` is the server, `chain` what to believe of it."""

    def __init__(self, home: Home, link: Link, key_name: str, conn: Connection, chain: Chain) -> None:
        self.home = home
        self.link = link
        self.chain = chain
        self._key_name = key_name
        self._key: PrivateKey | None = None
        self._bundles: set[str] = set()
        """What was sent to the server, which keeps it for as long as a run needs it and some time more."""
        super().__init__(conn, link.server_id, lambda: self.key, os.environ.get(TOKEN, "").strip())

    @classmethod
    async def open(cls, home: Home, link: Link | None = None, key_name: str | None = None) -> Self:
        """Connect to `link`, else to the server of the stored login; nothing is signed yet.

        Raises NoServer if none is known, ServerAway, or a TrustError if it is not the one that was pinned.
        """
        if link is None or key_name is None:
            stored = _stored(home, needed=link is None)
            link = link or stored.server
            key_name = key_name or _present(home, stored.key)
        conn = await Connection.open(link)
        try:
            chain, envelope = await fetch_chain(conn, link, time.time())
            _keep_newest(home, link, chain, envelope)
        except BaseException:
            await conn.close()
            raise
        return cls(home, link, key_name, conn, chain)

    @property
    def name(self) -> str:
        """The server's address."""
        return self.link.url

    async def close(self) -> None:
        """Close the connection."""
        await self._conn.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def key(self) -> PrivateKey:
        """The code key. Raises NotAllowed if there is none of this name here."""
        if self._key is None:
            try:
                self._key = PrivateKey.load(self.home.code_key(self._key_name))
            except NotFound as error:
                others = ", ".join(self.home.code_key_names())
                raise NotAllowed(
                    f"there is no code key {self._key_name!r} on this computer",
                    hint=f"There is {others}: choose by --key NAME."
                    if others
                    else "Make one (`dsage keys new code`) and have the operator certify it.",
                ) from error
        return self._key

    # -- runs ------------------------------------------------------------------------------------------------

    async def submit(
        self,
        packed: Bundle,
        function: DistributedFunction,
        params: dict[str, Any],
        *,
        project: str | None = None,
        likely: str = "",
        priority: int = 0,
        platforms: Sequence[str] = (),
        tags: Sequence[str] = (),
        key: str = "",
        hosted: bool = False,
    ) -> int:
        """Sign the app version and the run, upload what is missing, and return the run's number.

        `function` is an instance of the packed class; its state is where the run begins. Without a `project` it
        runs under `likely`, `lab`, or another that the key is certified for. Raises NotAllowed if there is none.
        `priority` (-100 to 100) orders the runs of one researcher. Its units go to computers of one of `platforms`
        (else those of the class) that have all `tags`, and those of the class. Raises UsageError for what is no tag.
        The same `key` of the same researcher is the same run, however often it is submitted. A `hosted` run is driven
        by the server.
        """
        now = time.time()
        manifest = bundles.manifest(packed, self.project(project, likely))
        signed = seal(manifest, self.key)
        self.chain.manifest(signed, now)
        authorisation = Authorisation(
            server_id=self.link.server_id,
            project=manifest.project,
            run_key=_run_key(self.key, key) if key else secrets.token_hex(16),
            app=hash_of(signed),
            issued=now,
            expires=now + RUN_DAYS * 86400.0,
            **asdict(function.limits),
        )
        request = SubmitRun(
            manifest=signed,
            authorisation=seal(authorisation, self.key),
            params=codec.encode(params),
            state=function.dump_state(),
            priority=priority,
            platforms=list(platforms or packed.function.platforms),
            tags=list(labels([*packed.function.tags, *tags])),
            hosted=hosted,
        )
        if packed.sha256 not in self._bundles:
            await self._send_bundle(packed)
        try:
            created = await self._authed("POST", "/v1/runs", request, RunCreated)
        except ServerAway:
            created = await self._authed("POST", "/v1/runs", request, RunCreated)
        except NotFound:
            await self._send_bundle(packed)
            created = await self._authed("POST", "/v1/runs", request, RunCreated)
        return created.run

    async def _send_bundle(self, packed: Bundle) -> None:
        await self._authed("PUT", f"/v1/bundles/{packed.sha256}", packed.data, None)
        self._bundles.add(packed.sha256)

    async def function_of(self, view: RunView, local: Bundle | None = None) -> DistributedFunction:
        """Return the object that drives a run: of `local` if that is the run's very source, else as it was stored.

        Stored source is imported only if this computer's own code key signed it. Raises UsageError if `local`
        is other source, NotAllowed if somebody else signed, a TrustError if the signature does not hold.
        """
        manifest, signed = await self._manifest_of(view)
        if local is not None:
            if local.sha256 != manifest.bundle or local.entry != manifest.entry:
                raise UsageError(
                    f"run {view.run} was started from other source than this",
                    hint="Leave the target out to use the source that was stored, or go back to the old source.",
                )
            kind = local.function
        else:
            kind = (await self._stored(manifest, signed, view.run)).function
        params = codec.decode(view.params)
        return construct(kind, params)

    async def _manifest_of(self, view: RunView) -> tuple[Manifest, Envelope]:
        signed = await self.document(view.app)
        return self.chain.manifest(signed, time.time()), signed

    async def source_of(self, run: int) -> Bundle:
        """Return a run's stored source, its class imported apart from everything else. Raises as `function_of`."""
        return await self._stored(*await self._manifest_of(await self.run(run)), run)

    async def _stored(self, manifest: Manifest, signed: Envelope, run: int) -> Bundle:
        try:
            open_as(signed, Manifest, [self.key.public])
        except TrustError as error:
            raise NotAllowed(
                f"the source of run {run} is not signed by the code key {self._key_name!r}",
                hint=f"Name the source that you trust: dsage attach {run} TARGET",
            ) from error
        data = await self._conn.call("GET", f"/v1/bundles/{manifest.bundle}", None, bytes)
        folder = self.home.folder / "sources" / manifest.bundle
        bundles.unpack(data, folder, expected_sha256=manifest.bundle)
        kind = shipping.load(data, manifest.entry, folder=str(folder))
        return Bundle(data, manifest.bundle, manifest.entry, kind)

    def project(self, wanted: str | None, likely: str) -> str:
        """Return the project to sign for: the one wanted, else the `likely` one, `lab`, or any that the key is for."""
        mine = [c.projects for c in self.chain.root.code_keys if c.key == self.key.public]
        projects = [name for names in mine for name in names]
        if not projects:
            raise NotAllowed(f"the server does not know the code key {self._key_name!r}")
        if wanted is None:
            return next((name for name in (likely, DEFAULT_PROJECT) if name in projects), projects[0])
        if wanted not in projects:
            raise NotAllowed(
                f"the code key {self._key_name!r} is not certified for the project {wanted!r}",
                hint=f"It is for {', '.join(projects)}; the operator adds one by `dsage keys certify`.",
            )
        return wanted


def construct(kind: type[DistributedFunction], params: dict[str, Any]) -> DistributedFunction:
    """Return `kind(**params)`. Raises UsageError if it does not take them."""
    try:
        return kind(**params)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise UsageError(
            f"{kind.__name__} does not take these parameters: {str(error).removeprefix(f'{kind.__name__}.__init__() ')}"
        ) from error


def _run_key(researcher: PrivateKey, key: str) -> str:
    """Return the run key that stands for a researcher's own word for a run."""
    return codec.digest(codec.encode([researcher.public, key]))[:32]


def _stored(home: Home, *, needed: bool) -> Login:
    try:
        return Login.load(home)
    except NotFound as error:
        if needed:
            raise NoServer("no server is known here") from error
        return Login(link="", key=DEFAULT_KEY)


def _present(home: Home, name: str) -> str:
    """Return the remembered key's name or, if that key is not here and just one other is, the other's."""
    here = home.code_key_names()
    return here[0] if len(here) == 1 and name not in here else name


def _keep_newest(home: Home, link: Link, chain: Chain, envelope: Envelope) -> None:
    """Keep the newest root.json of a server. Raises RolledBack if this one is older or another of its version."""
    path = home.folder / "roots" / f"{link.server_id}-{link.root[:16]}.json"
    try:
        seen = Chain.first(load_root(path), server_id=link.server_id, root_key_hash=link.root, now=None)
    except NotFound:
        seen = None
    if seen is not None:
        seen.advance(envelope, time.time())
    if seen is None or seen.root.version < chain.root.version:
        try:
            write_whole(path, msgspec.json.encode(envelope))
        except OSError as error:
            raise StorageFull(f"{path} cannot be written: {error.strerror}") from error
