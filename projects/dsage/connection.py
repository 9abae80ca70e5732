"""The pinned HTTP connection that drivers and volunteers' clients speak to a server through.

One request in the life of a connection is made without verifying TLS: it fetches the certificate of the CA,
which is then checked against the hash in the invite link. Everything after it trusts that CA and nothing
else, also through a proxy, which only carries the encrypted bytes (CONNECT, RFC 9110, section 9.3.6). Bodies are
MessagePack; refusals come back as the `dsage.errors` class that the server raised.
"""

from __future__ import annotations

import io
import json
import math
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar, overload

import aiohttp
import msgspec

from dsage.errors import (
    BadSignature,
    Busy,
    DSageError,
    Expired,
    RequestError,
    ServerAway,
    TooLarge,
    TooMany,
    WrongServer,
    class_of,
)
from dsage.proxies import Proxy, proxy_for
from dsage.trust.chain import Chain
from dsage.trust.documents import Login
from dsage.trust.envelope import Envelope, seal
from dsage.trust.invite import SYSTEM_CA, Link
from dsage.trust.keys import PrivateKey
from dsage.trust.tls import pinned_context, spki_hash
from dsage.wire import (
    MAX_BODY_BYTES,
    MEDIA_TYPE,
    PROTOCOL,
    PROTOCOL_HEADER,
    ChallengeReply,
    LoginReply,
    Message,
)

MAX_PEM_BYTES: Final = 64 << 10
MAX_PROBLEM_BYTES: Final = 64 << 10
MAX_SENTENCE: Final = 500
"""Characters of a server's sentence that are shown: enough for any of ours, too few to flood a terminal."""
CONNECT_S: Final = 10.0
KEEP_ALIVE_S: Final = 60.0
BUSY_S: Final = 5.0
"""How long to stay away when a busy server does not say."""
LARGE_BYTES: Final = 1 << 20
"""A body of this size is sent piece by piece, so that the event loop can do other things in between."""
CHUNK_BYTES: Final = 64 << 10
GATEWAY: Final = frozenset({502, 504})
"""What a proxy answers while the server behind it restarts (RFC 9110, sections 15.6.3 and 15.6.5)."""
EXPIRED_CODES: Final = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (x509_vfy.h)."""
LET_THROUGH: Final = (
    "Ask whoever runs this network to let connections to that server through unopened; docs/volunteers.md says more."
)

Reply = TypeVar("Reply")
Body: TypeAlias = Message | Envelope | bytes | None
Query: TypeAlias = Mapping[str, str | int | float] | Sequence[tuple[str, str | int | float]]


class Transport(Protocol):
    """What callers use of a Connection; tests put servers and faults of their own in its place."""

    @property
    def link(self) -> Link: ...

    @property
    def ca_pem(self) -> bytes: ...

    async def call(
        self,
        method: str,
        path: str,
        body: Body,
        reply: type[Reply],
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
    ) -> Reply: ...

    def stream(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        headers: Mapping[str, str],
        silence_s: float,
        data: bytes | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Way:
    """How a server is reached: by which session, at what address, through which proxy."""

    session: aiohttp.ClientSession
    base: str
    proxy: Proxy | None


class Connection:
    """One kept-alive session with one server, whose certificate was checked against its invite link."""

    def __init__(self, link: Link, session: aiohttp.ClientSession, ca_pem: bytes, proxy: Proxy | None = None) -> None:
        self.link = link
        self.ca_pem = ca_pem
        self._session = session
        self._way = _Way(session, link.url.rstrip("/"), proxy)

    @classmethod
    async def open(cls, link: Link, *, ca_pem: bytes | None = None) -> Self:
        """Return a connection that trusts only the CA that `link` pins; `ca_pem` saves fetching it.

        With `link.ca` = "system" the machine's own certificate store decides, and `.ca_pem` is empty. The proxy of
        this computer is used if it has one (`dsage.proxies`). Raises BadSignature if the server shows another CA,
        ServerAway if nothing answers, UsageError for a proxy that cannot be used.
        """
        proxy = proxy_for(link.url)
        if link.ca == SYSTEM_CA:
            return cls(link, _session(ssl.create_default_context()), b"", proxy)
        pem = await _fetch_ca(link, proxy) if ca_pem is None else ca_pem
        return cls(link, _session(pinned_context(pem, link.ca)), pem, proxy)

    async def close(self) -> None:
        """Close the session and its sockets."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @overload
    async def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        reply: None = None,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        query: Query | None = None,
    ) -> None: ...

    @overload
    async def call(
        self,
        method: str,
        path: str,
        body: Body,
        reply: type[Reply],
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        query: Query | None = None,
    ) -> Reply: ...

    async def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        reply: type[Reply] | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        query: Query | None = None,
    ) -> Reply | None:
        """Make one request and return its reply as `reply` (`bytes`: as it came; None: not looked at).

        Raises the class of dsage.errors whose `code` the server names, Busy with `retry_s` for a 503,
        RequestError for what has no class, and ServerAway when there is no answer within `timeout_s` seconds.
        """
        status, headers, data = await _send(self._way, method, path, _packed(body), token, timeout_s, query)
        if status >= 300:
            raise problem(status, headers, data)
        if reply is None:
            return None
        if reply is bytes:
            return data  # type: ignore[return-value]  # Reply is bytes here
        try:
            return msgspec.msgpack.decode(data, type=reply)
        except msgspec.MsgspecError as error:
            raise RequestError(f"the server's reply to {method} {path} makes no sense: {error}") from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        headers: Mapping[str, str],
        silence_s: float,
        data: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make one request and yield the response before its body, which may be of any length and last any time.

        Raises what `call` raises, also inside the block: ServerAway when nothing moves for `silence_s` seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s)
        said = dict(headers) if token is None else {"Authorization": f"Bearer {token}", **headers}
        async with _asked(self._way, method, path, data, said, timeout, None) as response:
            if response.status >= 300:
                raise problem(response.status, response.headers, await _capped(response, MAX_PROBLEM_BYTES))
            yield response


async def fetch_chain(conn: Transport, link: Link, now: float) -> tuple[Chain, Envelope]:
    """Return what to believe of the server behind `link`, and its root.json to keep.

    Raises a TrustError if root.json is not of the pinned root key, or does not accept the CA in use.
    """
    envelope = await conn.call("GET", "/v1/root", None, Envelope)
    chain = Chain.first(envelope, server_id=link.server_id, root_key_hash=link.root, now=now)
    check_ca(chain, conn)
    return chain, envelope


def check_ca(chain: Chain, conn: Transport) -> None:
    """Raise BadSignature unless root.json accepts the CA that a connection rests on."""
    if not chain.accepts_ca(spki_hash(conn.ca_pem) if conn.ca_pem else SYSTEM_CA):
        raise BadSignature(f"root.json of {conn.link.url} does not accept the certificate authority it uses")


async def login(conn: Transport, key: PrivateKey, role: str, server_id: str) -> LoginReply:
    """Prove `key` over a fresh challenge and return a token; `role` is "host" or "researcher"."""
    challenge = await conn.call("POST", "/v1/challenge", None, ChallengeReply)
    if challenge.server_id != server_id:
        raise WrongServer(f"{conn.link.url} says it is server {challenge.server_id}, not {server_id}")
    proof = Login(server_id=server_id, challenge=challenge.challenge, ca=conn.link.ca, key=key.public, role=role)
    return await conn.call("POST", "/v1/login", seal(proof, key), LoginReply)


def problem(status: int, headers: Mapping[str, str], data: bytes) -> DSageError:
    """Return the error that a refusal (application/problem+json, or anything else) stands for."""
    try:
        told = json.loads(data)
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    sentence = _shown(told.get("detail")) or _shown(told.get("title")) or f"the server answered {status}"
    hint = _shown(told.get("hint")) or None
    kind = class_of(told.get("code"))
    if status in (Busy.status, TooMany.status) or (kind and issubclass(kind, Busy)):
        busy = kind if kind and issubclass(kind, Busy) else Busy
        return busy(sentence, hint=hint, retry_s=_seconds(headers.get("Retry-After")))
    if kind is None and status in GATEWAY:
        return ServerAway(f"the proxy before the server cannot reach it (it answered {status})")
    return (kind or RequestError)(sentence, hint=hint)


def _session(context: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, keepalive_timeout=KEEP_ALIVE_S),
        headers={PROTOCOL_HEADER: str(PROTOCOL), "Accept-Encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _fetch_ca(link: Link, proxy: Proxy | None) -> bytes:
    async with _session(False) as session:
        way = _Way(session, link.url.rstrip("/"), proxy)
        status, _, data = await _send(way, "GET", "/v1/ca", None, None, 30.0, None)
    if status >= 300:
        raise ServerAway(f"{link.url} answered {status} when it was asked for its certificate authority")
    if len(data) > MAX_PEM_BYTES:
        raise TooLarge(f"{link.url} sent {len(data)} bytes as its certificate authority")
    return data


async def _send(
    way: _Way,
    method: str,
    path: str,
    data: bytes | None,
    token: str | None,
    timeout_s: float,
    query: Query | None,
) -> tuple[int, Mapping[str, str], bytes]:
    headers = {"Content-Type": MEDIA_TYPE}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, CONNECT_S))
    async with _asked(way, method, path, data, headers, timeout, query) as response:
        most = MAX_BODY_BYTES if response.status < 300 else MAX_PROBLEM_BYTES
        return response.status, response.headers, await _capped(response, most)


@asynccontextmanager
async def _asked(
    way: _Way,
    method: str,
    path: str,
    data: bytes | None,
    headers: Mapping[str, str],
    timeout: aiohttp.ClientTimeout,
    query: Query | None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Make one request; what goes wrong on the way, also while the body is read, is said in our words."""
    base, proxy = way.base, way.proxy
    try:
        async with way.session.request(
            method,
            base + path,
            data=data if data is None or len(data) < LARGE_BYTES else io.BytesIO(data),
            headers=headers,
            params=query,
            allow_redirects=False,
            timeout=timeout,
            proxy=None if proxy is None else proxy.url,
        ) as response:
            yield response
    except TimeoutError:
        raise ServerAway(f"{base} did not answer within {timeout.total or timeout.sock_read:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise _untrusted(base, error.certificate_error, proxy) from None
    except aiohttp.ClientHttpProxyError as error:
        raise _turned_away(base, proxy, error) from None
    except aiohttp.ClientProxyConnectionError as error:
        raise ServerAway(
            f"the proxy {proxy} does not answer: {_reason(error.os_error)}",
            hint="Check HTTPS_PROXY, or the proxy in the system's settings; finished work is kept and sent later.",
        ) from None
    except aiohttp.ClientSSLError as error:
        raise ServerAway(f"{base} does not speak TLS as DSage does: {error.strerror or error}") from None
    except aiohttp.ClientConnectorError as error:
        raise ServerAway(f"no server answers at {base}: {_reason(error.os_error)}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ServerAway(f"the connection to {base} broke: {_shown(str(error)) or type(error).__name__}") from None


async def _capped(response: aiohttp.ClientResponse, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(CHUNK_BYTES):
        size += len(part)
        if size > most:
            raise TooLarge(f"the server's reply is longer than the {most} bytes allowed")
        parts.append(part)
    return b"".join(parts)


def _untrusted(base: str, error: Exception, proxy: Proxy | None) -> DSageError:
    reason = getattr(error, "verify_message", "") or str(error)
    if getattr(error, "verify_code", 0) in EXPIRED_CODES:
        return Expired(f"the certificate of {base} does not hold today: {reason}")
    if proxy is not None:
        return BadSignature(
            f"the proxy {proxy} opens the encryption: it shows a certificate of its own in place of that of {base}, so "
            "nothing is sent through it",
            hint=LET_THROUGH,
        )
    return BadSignature(
        f"the certificate of {base} is not one that its invite link vouches for ({reason}): something on the way "
        "opens the encryption, or the server has new keys; nothing is sent",
        hint=f"{LET_THROUGH} If it is the server, its operator has a new link for you.",
    )


def _turned_away(base: str, proxy: Proxy | None, error: aiohttp.ClientHttpProxyError) -> DSageError:
    """Return what the refusal of a proxy to connect means."""
    if error.status == 407:
        return ServerAway(
            f"the proxy {proxy} asks who you are, or does not accept what it was told",
            hint="Put the name and password into its address: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT",
        )
    said = _shown(error.message)
    return ServerAway(f"the proxy {proxy} does not connect to {base}: it answered {error.status} {said}".rstrip())


def _reason(error: OSError) -> str:
    """Return the system's words for a failed connection; asyncio's own repeat the address."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)


def _packed(body: Body) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else msgspec.msgpack.encode(body)


def _shown(text: Any) -> str:
    """Return a server's sentence without control characters: it may end up on a terminal."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text[:MAX_SENTENCE]).strip()


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or BUSY_S)
    except ValueError:
        return BUSY_S
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else BUSY_S
