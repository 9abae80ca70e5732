"""Live pages: one stream of server-sent events a page.

However many people watch a page, it is made once for all of them (shared.py). A stream sends the fragments that
differ from what it sent before; a visitor who reads slowly skips states instead of queueing them, and one who
reconnects gets everything as it stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from dsage.errors import Busy, DSageError
from dsage_server.api.callers import visitor
from dsage_server.api.limits import network
from dsage_server.shared import PERIOD_S

T = TypeVar("T")

KEEPALIVE_S: Final = 15.0
"""Proxies close connections that say nothing for 30 to 60 s."""
STALLED_S: Final = 20.0
"""A visitor who takes longer to read one message is cut off; the browser comes back by itself."""
KEPT_NEWS: Final = 64
"""Messages in memory, with the states of a page that they lead from and to."""
PER_ADDRESS: Final = 16
IN_ALL: Final = 1000

_log = logging.getLogger(__name__)


class Streams:
    """The open streams of all pages, counted by visitor's address (of IPv6, by network)."""

    def __init__(
        self, *, period_s: float = PERIOD_S, per_address: int = PER_ADDRESS, in_all: int = IN_ALL,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:  # fmt: skip
        self._period_s = period_s
        self._per_address = per_address
        self._in_all = in_all
        self._keepalive_s = keepalive_s
        self._closing = asyncio.Event()
        self._news = _News()
        self.open: Counter[str] = Counter()

    def close(self) -> None:
        """End every stream within a moment; for good."""
        self._closing.set()

    async def serve(
        self, request: web.Request, fragments: Callable[[], Awaitable[dict[str, str]]]
    ) -> web.StreamResponse:
        """Answer with a stream of changed fragments until the visitor leaves or the server ends; raises Busy."""
        with self._place(network(visitor(request))):
            await fragments()
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            )
            try:
                await response.prepare(request)
                if request.method != "HEAD":
                    await self._tell(request, response, fragments)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionResetError:
                pass
            except (DSageError, SQLAlchemyError):
                _log.exception("a live page could not be refreshed; its visitors will reconnect")
            return response

    @contextlib.contextmanager
    def _place(self, address: str) -> Iterator[None]:
        if self.open[address] >= self._per_address or self.open.total() >= self._in_all:
            raise Busy("too many live pages are open already", hint="Close some of them, or reload to see news.")
        self.open[address] += 1
        try:
            yield
        finally:
            self.open[address] -= 1
            if not self.open[address]:
                del self.open[address]

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, fragments: Callable[[], Awaitable[dict[str, str]]]
    ) -> None:
        loop = asyncio.get_running_loop()
        seen: dict[str, str] = {}
        spoke = loop.time()
        await response.write(b"retry: 3000\n\n")
        while not self._closing.is_set() and request.transport is not None:
            current = await fragments()
            news = self._news.of(seen, current)
            if news or loop.time() - spoke >= self._keepalive_s:
                async with asyncio.timeout(STALLED_S):
                    await response.write(news or b": still here\n\n")
                seen, spoke = current, loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_s):
                    await self._closing.wait()


class _News:
    """What is new between two states of a page, as a message: made once for all who saw the first of them."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[dict[str, str], dict[str, str], bytes]] = {}

    def of(self, seen: dict[str, str], current: dict[str, str]) -> bytes:
        """Return the message; an empty one if nothing is new. The states are kept with it, so their ids stay theirs."""
        if seen is current:
            return b""
        key = (id(seen), id(current)) if seen else (0, id(current))
        if key not in self._made:
            changed = {name: html for name, html in current.items() if seen.get(name) != html}
            message = b"data: " + msgspec.json.encode(changed) + b"\n\n" if changed else b""
            while len(self._made) >= KEPT_NEWS:
                del self._made[next(iter(self._made))]
            self._made[key] = (seen, current, message)
        return self._made[key][2]
