"""Requests that change something must come from our own pages: what browsers say about where they come from.

Browsers say so in `Sec-Fetch-Site`, which no page can forge; where they do not send it (plain http beyond this
machine), in `Origin`. Programs that send neither are let through only without cookies. (The Fetch Metadata way of
refusing cross-site requests: https://www.w3.org/TR/fetch-metadata/.)
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from dsage.errors import NotAllowed

SAFE: Final = frozenset({"GET", "HEAD"})


@web.middleware
async def only_our_own(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what another site made a visitor's browser send."""
    if request.method not in SAFE and not is_our_own(request):
        raise NotAllowed("this came from another site", hint="Open the page here and press the button there.")
    return await handler(request)


def is_our_own(request: web.Request) -> bool:
    """Whether an unsafe request was sent by a page of this site, or by a program that has no cookies of ours."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return bool(request.host) and _host_of(origin) == request.host
    return not request.cookies


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
