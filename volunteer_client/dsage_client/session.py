"""One client's conversation with its server: the connection, the login, and the root.json that is believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from dsage import blobs
from dsage.connection import Transport, check_ca, login
from dsage.errors import BadSignature, Busy, Expired, LoggedOut, ServerAway, TooLarge
from dsage.trust.chain import Chain
from dsage.trust.documents import ResultBatch
from dsage.trust.envelope import Envelope, hash_of, seal
from dsage.trust.keys import PrivateKey
from dsage.wire import Exchange, ExchangeReply, HostInfo
from dsage_client.line import Line
from dsage_client.spool import Finished

ROLE: Final = "host"
GRACE_S: Final = 20.0
"""How much longer than the server's hold a call may take before the server counts as away."""

MAX_DOCUMENT_BYTES: Final = 256 << 10
"""A manifest or authorisation has a kilobyte or so."""

MAX_REFUSED: Final = 64
"""Projects that a server hears of."""

T = TypeVar("T")


class Session:
    """Speaks to one server, logging in when needed. `chain` is what is believed of it right now, `changed` whether this
    host is no longer what the server heard of it, and `line` what bulk passes through."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Transport]],
        key: PrivateKey,
        chain: Chain,
        keep_root: Callable[[Envelope], None],
        host: HostInfo,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.chain = chain
        self.clock = clock
        self.line = Line()
        self._connect = connect
        self._key = key
        self._keep_root = keep_root
        self._host = host
        self._resting: frozenset[str] = frozenset()
        self.changed = False
        self._transport: Transport | None = None
        self._token: str | None = None
        self._introduced: str | None = None
        self._login = asyncio.Lock()

    @property
    def server_id(self) -> str:
        """The server's id, as its root key signed it."""
        return self.chain.root.server_id

    @property
    def stale(self) -> Expired | None:
        """Why nothing of this server is believed at this time: its newest root.json is not in force."""
        try:
            self.chain.check_root(self.clock())
        except Expired as error:
            return error
        return None

    async def exchange(
        self, message: Exchange, results: list[Finished], *, timeout_s: float | None = None
    ) -> ExchangeReply:
        """Make the one call of a client: `results` become its reports and its signed proof.

        The first call of each login, and the first after a call whose reply may have been lost, introduces the host,
        and the server then takes back every lease that it does not list. Raises LoggedOut (the next call logs in
        again), ServerAway, Busy, TooOld, NotAllowed, TrustError, RequestError.
        """
        message.reports = [finished.report() for finished in results]
        message.proof = self._proof(results) if results else None
        limit = message.wait_s + GRACE_S if timeout_s is None else timeout_s
        async with asyncio.timeout(timeout_s):
            transport = await self._open()
            token = await self._logged_in(transport)
            message.host = None if token == self._introduced else self._described()
            self.changed = False
            try:
                reply = await transport.call(
                    "POST", "/v1/exchange", message, ExchangeReply, token=token, timeout_s=limit
                )
            except LoggedOut:
                self._token = None if self._token == token else self._token
                raise
            except (ServerAway, TimeoutError):
                self._introduced = None
                raise
        self._introduced = token
        return reply

    def introduce(self, host: HostInfo) -> None:
        """What this host offers has changed: the next call says so."""
        if host != self._host:
            self._host, self._introduced, self.changed = host, None, True

    def rest(self, projects: frozenset[str]) -> None:
        """These projects fail here: for now they get nothing."""
        if projects != self._resting:
            self._resting, self._introduced, self.changed = projects, None, True

    async def ask(self, method: str, path: str, reply: type[T], body: Any = None) -> T:
        """Make a request about this volunteer's account. Raises LoggedOut, NotAllowed, ServerAway, TrustError."""
        transport = await self._open()
        token = await self._logged_in(transport)
        try:
            return await transport.call(method, path, body, reply, token=token)
        except LoggedOut:
            self._token = None if self._token == token else self._token
            raise

    async def document(self, sha256: str) -> Envelope:
        """Fetch a manifest or authorisation by its hash, and check that. Its signature is the chain's matter."""
        envelope = await self._call("GET", f"/v1/documents/{sha256}", None, Envelope)
        if hash_of(envelope) != sha256:
            raise BadSignature(f"the server sent another document than {sha256[:12]}")
        if len(msgspec.msgpack.encode(envelope)) > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"document {sha256[:12]} has more than {MAX_DOCUMENT_BYTES} bytes")
        return envelope

    async def bundle(self, sha256: str, size: int, path: Path) -> None:
        """Fetch a bundle of `size` bytes into a file, as `dsage.blobs.download`. No login is needed for it."""
        await self.line.passed(0)
        transport = await self._open()
        await blobs.download(transport, None, sha256, size, path, place="/v1/bundles", passed=self.line.passed)

    async def blob(self, sha256: str, size: int, path: Path) -> None:
        """Fetch a blob of `size` bytes into a file, as `dsage.blobs.download`, under the login that exchanges made.

        It makes none itself: after a login the server hears first what is held. Raises Busy until there is one.
        """
        await self.line.passed(0)
        transport, token = await self._open(), self._token
        if token is None:
            raise Busy("this client is not logged in yet", retry_s=0.5)
        try:
            await blobs.download(transport, token, sha256, size, path, passed=self.line.passed)
        except LoggedOut as error:
            raise Busy(f"the next call logs in again: {error.message}", retry_s=0.5) from error

    async def refresh_root(self) -> bool:
        """Fetch root.json and believe it if it follows from the present one; say whether it is a newer one.

        Raises RolledBack, BadSignature, WrongRole, WrongServer, Expired, ServerAway; the present one stays. Raises
        StorageFull, or BadSignature if it withdraws the CA of this very connection, when it is believed all the same.
        """
        envelope = await self._call("GET", "/v1/root", None, Envelope)
        chain = self.chain.advance(envelope, self.clock())
        if chain.root.version == self.chain.root.version:
            return False
        self.chain = chain
        if self._transport is not None:
            check_ca(chain, self._transport)
        self._keep_root(envelope)
        return True

    async def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    def _described(self) -> HostInfo:
        refuses = sorted(self._resting.union(self._host.refuses))[:MAX_REFUSED]
        return msgspec.structs.replace(self._host, refuses=refuses)

    def _proof(self, results: list[Finished]) -> Envelope:
        signed = [finished.signed() for finished in results]
        return seal(ResultBatch(server_id=self.server_id, key=self._key.public, results=signed), self._key)

    async def _open(self) -> Transport:
        async with self._login:
            if self._transport is None:
                self._transport = await self._connect()
            check_ca(self.chain, self._transport)
            return self._transport

    async def _call(self, method: str, path: str, body: None, reply: type[T], *, timeout_s: float = 30.0) -> T:
        return await (await self._open()).call(method, path, body, reply, timeout_s=timeout_s)

    async def _logged_in(self, transport: Transport) -> str:
        async with self._login:
            if self._token is None:
                self._token = (await login(transport, self._key, ROLE, self.server_id)).token
            return self._token
