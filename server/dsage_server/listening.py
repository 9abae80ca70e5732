"""Where the server listens."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Final

from aiohttp import web

from dsage.errors import Conflict, UsageError
from dsage_server.api.callers import Proxies
from dsage_server.api.doors import (
    HEADERS,
    KEEPALIVE_S,
    LINGERING_S,
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    Doors,
    Site,
    Told,
    most_connections,
    quiet_log,
)
from dsage_server.api.http import Handler

SHUTDOWN_S: Final = 2.0
BACKLOG: Final = 1024
_HINTS: Final = {
    errno.EADDRINUSE: "Another program has this port, perhaps another server: choose another with --listen or --pages.",
    errno.EADDRNOTAVAIL: "That is no address of this computer: choose one that it has with --listen or --pages.",
    errno.EACCES: "Ports below 1024 belong to root: choose another with --listen or --pages.",
}


async def listen(
    stack: AsyncExitStack,
    app: web.Application,
    address: str,
    port: int,
    context: ssl.SSLContext | None,
    hot: Mapping[tuple[str, str], Handler] | None = None,
    told: Sequence[Told] = (),
    proxies: Proxies = (),
) -> int:
    """Serve an app on an address (every one if empty, IPv4 and IPv6) and return the port.

    Raises Conflict if the port is taken, UsageError for an address that cannot be had.

    A handler is cancelled when its peer hangs up, so that no work is handed out to nobody. What is in `hot`, by
    method and path, is served without the application's router and middlewares: they cost a quarter of a request.
    Those in `told` hear of each answer; `proxies` say from where their callers come.
    """
    app.on_response_prepare.append(_add_headers)
    sockets = stack.enter_context(ExitStack())
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=quiet_log(),
        shutdown_timeout=SHUTDOWN_S,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGERING_S,
        handler_cancellation=True,
        max_field_size=MAX_FIELD_BYTES,
        max_headers=MAX_FIELDS,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    doors = Doors(runner, hot or {}, most_connections(), told, proxies)
    watch = asyncio.create_task(doors.watch())
    stack.push_async_callback(_cancelled, watch)
    bound = port
    try:
        for family, where in _addresses(address):
            listener = socket.socket(family, socket.SOCK_STREAM)
            sockets.callback(listener.close)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((where, bound))
            bound = listener.getsockname()[1]
            await Site(runner, doors, listener, context, BACKLOG).start()
    except OSError as error:
        kind = Conflict if error.errno == errno.EADDRINUSE else UsageError
        raise kind(
            f"cannot listen on {address or 'every address'}, port {port}: {error.strerror or error}",
            hint=_HINTS.get(error.errno or 0, "Choose another address with --listen or --pages."),
        ) from None
    return bound


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _addresses(address: str) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(address or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique = sorted({(family, str(where[0])) for family, _, _, _, where in found})
    return [(family, where) for family, where in unique if family is socket.AF_INET or _has_ipv6()]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
