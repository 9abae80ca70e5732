"""The names that a listener answers to: what is served to this computer alone is not for pages of other sites, whose
names may lead here all of a sudden (DNS rebinding)."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dsage.errors import NotAllowed


def answering_to(names: frozenset[str]) -> Middleware:
    """Return the middleware that refuses requests for another host than this computer, or one of `names`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_ours(request.headers.get("Host", ""), names):
            raise NotAllowed(
                "these pages are not served under this name", hint="A proxy must pass on the name given by --pages-url."
            )
        return await handler(request)

    return middleware


def _is_ours(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this machine: by an address, as "localhost", or by one of `names`."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        ipaddress.ip_address(name)
    except ValueError:
        name = host.partition(":")[0].lower().rstrip(".")
        return name in names or name == "localhost" or name.endswith(".localhost")
    return True
