"""One kept-alive HTTPS connection, as cheap as it can be made: one request under way, the least of a parser."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Final, cast
from urllib.parse import urlsplit

from dsage.errors import ServerAway, TooLarge
from dsage.wire import MAX_BODY_BYTES, MEDIA_TYPE, PROTOCOL, PROTOCOL_HEADER

END_OF_HEAD: Final = b"\r\n\r\n"
STATUS: Final = slice(9, 12)
"""Where "HTTP/1.1 200 OK" has its number (RFC 9112, section 4)."""
MAX_HEAD_BYTES: Final = 16 << 10


class Line(asyncio.Protocol):
    """A connection to a server.

    `since` is when the call that waits for its reply began (0 if there is none), `retry_s` what the last refusal asked.
    """

    __slots__ = ("_body", "_buffer", "_ends", "_head", "_status", "_transport", "_waiter", "retry_s", "since")

    def __init__(self) -> None:
        self.since = self.retry_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = bytearray()
        self._head = b""
        self._status = self._body = self._ends = 0

    @classmethod
    async def open(cls, url: str, context: ssl.SSLContext) -> Line:
        """Connect to the server at `url`. Raises ServerAway if nothing (trusted) answers there."""
        parts = urlsplit(url)
        try:
            _, line = await asyncio.get_running_loop().create_connection(
                cls, parts.hostname or "", parts.port or 443, ssl=context, server_hostname=parts.hostname
            )
        except OSError as error:
            raise ServerAway(f"no server answers at {url}: {error}") from None
        line._head = (
            f" HTTP/1.1\r\nHost: {parts.netloc}\r\n{PROTOCOL_HEADER}: {PROTOCOL}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        ).encode()
        return line

    def authorise(self, token: str) -> None:
        """Send this token with every later call."""
        self._head += f"Authorization: Bearer {token}\r\n".encode()

    def post(self, path: bytes, body: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the future has the status and the body of its reply, or raises ServerAway."""
        waiter = asyncio.get_running_loop().create_future()
        if self._transport is None:
            waiter.set_exception(ServerAway("the connection had ended"))
            return waiter
        self.since = time.perf_counter()
        self._waiter = waiter
        self._transport.write(b"POST %b%bContent-Length: %d\r\n\r\n%b" % (path, self._head, len(body), body))
        return waiter

    async def quiet(self, seconds: float) -> None:
        """Do nothing for so long. Raises ServerAway as soon as the connection ends."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        if self._transport is None:
            raise ServerAway("the connection had ended")
        self._waiter = waiter
        timer = loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def cut(self) -> None:
        """End the connection at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # -- called by the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._ends and not self._read_head():
            return
        if len(self._buffer) < self._ends:
            return
        answer = self._status, bytes(self._buffer[self._body : self._ends])
        del self._buffer[: self._ends]
        self._ends = 0
        waiter, self._waiter = self._waiter, None
        self.since = 0.0
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiter, self._waiter = self._waiter, None
        self.since = 0.0
        if waiter is not None and not waiter.done():
            waiter.set_exception(ServerAway(f"the connection broke: {exc or 'the server closed it'}"))

    def _read_head(self) -> bool:
        end = self._buffer.find(END_OF_HEAD)
        if end < 0:
            return len(self._buffer) > MAX_HEAD_BYTES and self._refuse("a head without an end")
        head = bytes(self._buffer[:end]).lower()
        length = field(head, b"content-length")
        if not head[STATUS].isdigit() or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return self._refuse("a reply without a length, or a longer one than the protocol allows")
        self._status, self._body = int(head[STATUS]), end + len(END_OF_HEAD)
        self._ends = self._body + int(length)
        retry = field(head, b"retry-after") if self._status >= 500 else b""
        self.retry_s = float(retry) if retry.isdigit() else 0.0
        return True

    def _refuse(self, why: str) -> bool:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TooLarge(f"the server sent {why}"))
        self.cut()
        return False


def _wake(waiter: asyncio.Future[tuple[int, bytes]]) -> None:
    if not waiter.done():
        waiter.set_result((0, b""))


def field(head: bytes, name: bytes) -> bytes:
    """Return a field of a reply's head, all in lower case; nothing if it is not there."""
    _, found, rest = head.partition(b"\r\n%b:" % name)
    return rest.partition(b"\r\n")[0].strip() if found else b""
