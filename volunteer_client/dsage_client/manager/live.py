"""Live pages: one stream of server-sent events an open page, fed by what the agent says of itself.

With no page open there is no stream and nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from dsage.errors import Busy
from dsage_client.door.words import Status
from dsage_client.words import _

Fragments: TypeAlias = Callable[[Status], Awaitable[dict[str, str]]]

PERIOD_S: Final = 0.5
"""At most one message in so long: nobody reads faster."""
KEEPALIVE_S: Final = 15.0
"""How soon it is noticed that a browser has fallen silent, or its session has ended."""
STALLED_S: Final = 20.0
MAX_STREAMS: Final = 16


class Live:
    """The open streams. `follow` gives the status now and whenever it has changed."""

    def __init__(
        self, follow: Callable[[], AsyncIterator[Status]], *, period_s: float = PERIOD_S,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:  # fmt: skip
        self._follow = follow
        self._period_s = period_s
        self._keepalive_s = keepalive_s
        self._closing = asyncio.Event()
        self.open = 0

    def close(self) -> None:
        """End every stream within a moment; for good."""
        self._closing.set()

    async def serve(
        self, request: web.Request, fragments: Fragments, still: Callable[[], bool]
    ) -> web.StreamResponse:  # fmt: skip
        """Answer with the parts of a page that change until the browser leaves, the agent ends, or `still` says no.

        Raises Busy if too many pages are open.
        """
        if self.open >= MAX_STREAMS:
            raise Busy(_("Too many of these pages are open."), hint=_("Close some of them."))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self.open += 1
        try:
            async with contextlib.aclosing(_ticking(self._follow(), self._keepalive_s, self._closing)) as ticks:
                await response.prepare(request)
                await response.write(b"retry: 2000\n\n")
                seen: dict[str, str] = {}
                async for status in ticks:
                    if not still():
                        break
                    current = seen if status is None else await fragments(status)
                    news = {name: html for name, html in current.items() if seen.get(name) != html}
                    message = b"data: " + msgspec.json.encode(news) + b"\n\n" if news else b": still here\n\n"
                    async with asyncio.timeout(STALLED_S):
                        await response.write(message)
                    seen = current
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._period_s):
                            await self._closing.wait()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionResetError:
            pass
        finally:
            self.open -= 1
        return response


async def _ticking(
    news: AsyncIterator[Status], every_s: float, closing: asyncio.Event
) -> AsyncGenerator[Status | None, None]:
    """Pass on each status, and None whenever nothing came for so long, until `closing` is set."""
    end = asyncio.ensure_future(closing.wait())
    following = asyncio.ensure_future(_next(news))
    try:
        while not closing.is_set():
            done, _rest = await asyncio.wait({end, following}, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
            if following in done:
                status = following.result()
                if status is None:
                    return
                following = asyncio.ensure_future(_next(news))
                yield status
            elif not done:
                yield None
    finally:
        end.cancel()
        following.cancel()
        await asyncio.gather(end, following, return_exceptions=True)
        if isinstance(news, AsyncGenerator):
            await news.aclose()


async def _next(news: AsyncIterator[Status]) -> Status | None:
    return await anext(news, None)
