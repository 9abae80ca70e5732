"""Addresses: where the server listens, under which names it is reached, and whether others can reach it."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Final
from urllib.parse import urlsplit

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
from dsage_server.settings import Settings

SHUTDOWN_S: Final = 2.0
BACKLOG: Final = 1024
EVERYWHERE: Final = ("", "0.0.0.0", "::")
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


def certificate_names(settings: Settings) -> list[str]:
    """Return every name under which clients may reach the server, for its certificate."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), settings.listen]
    if settings.public:
        names.append(host_of(settings.public))
    return list(dict.fromkeys(name for name in names if name not in EVERYWHERE))


def names_of(address: str, settings: Settings) -> frozenset[str] | None:
    """Return the names that what is served on an address answers to; None if it is open to the network."""
    if not only_here(f"https://{spelled(address)}" if address not in EVERYWHERE else "https://0.0.0.0"):
        return None
    named = {urlsplit(url).hostname or "" for url in (settings.public, settings.pages_url) if url}
    return frozenset({address.lower(), socket.gethostname().lower()} | named)


def public_url(settings: Settings, port: int) -> str:
    """Return the URL that goes into links."""
    if settings.public:
        return settings.public
    name = settings.listen
    if name in EVERYWHERE:
        name = socket.gethostname() if _resolves(socket.gethostname()) else "localhost"
    return f"https://{spelled(name)}:{port}"


def only_here(url: str) -> bool:
    """Whether a link with this URL works on this computer alone."""
    host = host_of(url)
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None)}
        return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)
    except OSError:
        return False


def visited(pages_url: str) -> bool:
    """Whether pages at this URL are open to other computers."""
    host = urlsplit(pages_url).hostname or ""
    return bool(host) and not only_here(f"https://{spelled(host)}")


def host_of(url: str) -> str:
    """Return the host of an https URL. Raises UsageError for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"{url!r} is not the address of a server", hint="It looks like https://HOST:PORT.")
    return parts.hostname


def spelled(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Return (address, port) of HOST, HOST:PORT, :PORT or [IPV6]:PORT. Raises UsageError."""
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"{text!r} is not an address", hint="It looks like HOST:PORT or [IPV6]:PORT.") from None
    if parts.path or parts.query or parts.fragment or parts.username:
        raise UsageError(f"{text!r} is not an address", hint="It looks like HOST:PORT or [IPV6]:PORT.")
    return host, default_port if port is None else port


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


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True
