"""HTTP manners of the machine API: bodies in, bodies out, errors as problem+json, protocol versions."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from sqlalchemy.exc import SQLAlchemyError

from dsage.errors import Busy, DSageError, NotFound, RequestError, TooLarge, TooOld, UsageError
from dsage.wire import MAX_BODY_BYTES, MEDIA_TYPE, OLDEST_PROTOCOL, PROTOCOL, PROTOCOL_HEADER
from dsage_server import tracing
from dsage_server.api import problems
from dsage_server.api.limits import head_of

log = logging.getLogger(__name__)

M = TypeVar("M")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_PATHS: Final = frozenset({"/v1/ca", "/v1/hello", "/healthz", "/join", "/api/v1/openapi.json"})
"""Served to any version: what a peer needs to find out that it is too old, and what proxies ask."""
SPOKEN: Final = str(PROTOCOL)
BODY_GRACE_S: Final = 20.0
"""How long a body may take whatever its size; past that it must have come at BODY_BYTES_PER_S."""
BODY_BYTES_PER_S: Final = 16 << 10
"""Slower than any line that a call of a client gets through in its own time limit."""
MOST_ARRIVING_BYTES: Final = 256 << 20
"""Memory for bodies that have come in part, in this process; only those above SMALL_BYTES are refused for it."""
SMALL_BYTES: Final = 64 << 10

_encoder = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class _Arriving:
    """What has come of bodies that are not complete."""

    bytes: int = 0


_arriving = _Arriving()


class Reply(web.Response):
    """A message as the response, head and body sent at once: building heads took a quarter of a request's time."""

    sent = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send all of it, unless the peer wants something rare, which is aiohttp's to answer."""
        body = self.body
        if request.version != HttpVersion11 or not request.keep_alive or not isinstance(body, bytes):
            return await super().prepare(request)
        self.sent = True
        await request.writer.write_eof(
            _head(int(time.time())) % (len(body), head_of(request) + tracing.head_of(request)) + body
        )
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """End the response."""
        if not self.sent:
            await super().write_eof(data)

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return self.sent or super().keep_alive


@functools.lru_cache(maxsize=1)
def _head(now: int) -> bytes:
    date = formatdate(now, usegmt=True)
    return (f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA_TYPE}\r\nDate: {date}\r\nContent-Length: %d\r\n%s\r\n").encode()


def reply(message: Any) -> web.Response:
    """Return a message, or a list of them, as the response."""
    return Reply(body=_encoder.encode(message), content_type=MEDIA_TYPE)


async def body(request: web.Request, kind: type[M], most: int = MAX_BODY_BYTES) -> M:
    """Return the request's message. Raises UsageError if it is not one, TooLarge beyond `most` bytes."""
    data = await read_capped(request, most)
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is not a {kind.__name__}: {error}") from None


async def read_capped(request: web.Request, most: int) -> bytes:
    """Return the body's bytes. Raises what `pieces` raises, and Busy if memory is short for a large one."""
    if request.content_length is not None and request.content_length <= most and request.content.is_eof():
        _check_plain(request)
        return request.content.read_nowait()  # all of it came along with the head, as most bodies do
    parts: list[bytes] = []
    size = 0
    try:
        async for piece in pieces(request, most):
            parts.append(piece)
            size += len(piece)
            _arriving.bytes += len(piece)
            if _arriving.bytes > MOST_ARRIVING_BYTES and size > SMALL_BYTES:
                raise Busy("too many large bodies are on their way to this server", retry_s=problems.RETRY_S)
        return b"".join(parts)
    finally:
        _arriving.bytes -= size


async def pieces(request: web.Request, most: int) -> AsyncGenerator[bytes, None]:
    """Yield the body's bytes as they come; the time that the taker needs for them is not held against the peer.

    Raises TooLarge as soon as more than `most` have come or are announced, UsageError for a compressed or broken
    body, RequestError when it comes too slowly.
    """
    _check_plain(request)
    if request.content_length is not None and request.content_length > most:
        raise TooLarge(f"a body of {request.content_length} bytes; at most {most} are taken here")
    clock = asyncio.get_running_loop().time
    size, waited_s = 0, 0.0
    while True:
        since = clock()
        try:
            async with asyncio.timeout(BODY_GRACE_S + size / BODY_BYTES_PER_S - waited_s):
                piece = await request.content.readany()
        except TimeoutError:
            raise RequestError(
                f"the body came too slowly: {size} bytes in {waited_s + clock() - since:.0f} s"
            ) from None
        except web.RequestPayloadError as error:
            raise UsageError(f"the body broke off or makes no sense: {error}") from None
        waited_s += clock() - since
        size += len(piece)
        if size > most:
            raise TooLarge(f"a body of more than {most} bytes")
        if not piece:
            return
        yield piece


def _check_plain(request: web.Request) -> None:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UsageError("a compressed body; bodies are taken as they are here")


def number(text: str, what: str) -> int:
    """Return a number from a path or query. Raises NotFound."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound(f"there is no {what} {text[:40]!r}")
    return int(text)


def seconds(text: str | None) -> float:
    """Return a duration from a query; 0 if there is none. Raises UsageError."""
    try:
        value = float(text or 0)
    except ValueError:
        raise UsageError(f"{text!r} is not a number of seconds") from None
    if not 0 <= value < 1e6:
        raise UsageError(f"{text!r} is not a sensible number of seconds")
    return value


@web.middleware
async def manners(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into problem documents and refuse protocol versions that are not served."""
    try:
        spoken = request.headers.get(PROTOCOL_HEADER)
        if spoken != SPOKEN and request.path not in OPEN_PATHS:
            _check_protocol(spoken)
        return await handler(request)
    except DSageError as error:
        return problems.answer(error, request.path)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problems.refusal(error, request)
    except SQLAlchemyError as error:
        log.exception("the database failed on %s", request.path)
        return problems.answer(Busy(f"the database failed: {type(error).__name__}"), request.path)
    except Exception:  # the outermost place: the caller gets a problem document, the operator the traceback
        log.exception("a call failed: %s %s", request.method, request.path)
        failed = DSageError("something went wrong on this server", hint="Try again; the operator's log says more.")
        return problems.answer(failed, request.path)


@web.middleware
async def timely(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody drip a form: what has a body that is still on its way is done within BODY_GRACE_S.

    For listeners that take small bodies only. Raises RequestError.
    """
    if not request.can_read_body or request.content.is_eof():
        return await handler(request)
    try:
        async with asyncio.timeout(BODY_GRACE_S):
            return await handler(request)
    except TimeoutError:
        raise RequestError(f"the body came too slowly: it may take {BODY_GRACE_S:g} s") from None


def _check_protocol(header: str | None) -> None:
    spoken = int(header) if header and header.isascii() and header.isdigit() and len(header) < 6 else 0
    if spoken < OLDEST_PROTOCOL:
        raise TooOld(f"protocol {header or 'unknown'} is not served any more; {OLDEST_PROTOCOL} to {PROTOCOL} are")
    if spoken > PROTOCOL:
        raise UsageError(
            f"protocol {spoken} is newer than this server's {PROTOCOL}",
            hint="Ask the operator to update the server, or use an older client.",
        )
