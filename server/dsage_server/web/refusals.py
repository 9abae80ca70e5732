"""What every answer carries, and pages for what cannot be answered."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dsage.errors import DSageError, RequestError, TooMany
from dsage_server.api import problems
from dsage_server.sentences.refusals import CODES
from dsage_server.web.looks import Look, look_of
from dsage_server.web.show import Site

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TLS_ONLY_S: Final = 30 * 86400
"""How long browsers keep to TLS after a visit: long enough for whoever comes once in a while, short enough for an
operator who wants to serve something else under this name (docs/deployment.md)."""
FRONT_HINT: Final = "The front page leads to everything there is."

_log = logging.getLogger(__name__)


def adding_headers(origin: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return the signal handler that puts the security headers on every answer, streams and errors included.

    Pictures, all of them public, may be shown elsewhere: beside a link to the page that they stand on. Where visitors
    know the pages by an https `origin` of the usual port, their browsers come back by TLS only. A name with a port is
    shared with other services, for which nobody can promise that here.
    """
    tls = origin.startswith("https://") and ":" not in origin.removesuffix(":443").removeprefix("https://")
    headers = HEADERS | ({"Strict-Transport-Security": f"max-age={TLS_ONLY_S}"} if tls else {})

    async def add(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)
        if response.content_type == "image/png":
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    return add


def refusing(site: Site) -> Middleware:
    """Return the middleware that turns errors into pages, or into problem documents for programs."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = _answer(site, request, problems.meant(error, request), FRONT_HINT)
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
            return answer
        except DSageError as error:
            return _answer(site, request, error, error.hint)
        except web.RequestPayloadError:
            broken = RequestError("what was sent broke off or makes no sense")
            return _answer(site, request, broken, broken.hint)
        except Exception:  # noqa: BLE001 - the outermost place: the visitor gets a page, the operator the traceback
            _log.exception("a page failed: %s %s", request.method, request.path)
            failed = DSageError("something went wrong on this server while it made the page")
            return _answer(site, request, failed, "Try again; the operator's log says more.")

    return middleware


def _answer(site: Site, request: web.Request, error: DSageError, hint: str) -> web.Response:
    answer = problems.answer(error, request.path, hint)
    if not _wants_data(request):
        make = _page_again if isinstance(error, TooMany) else _page
        answer.body = make(site, error.status, error.code, error.message, hint, look_of(request))
        answer.content_type, answer.charset = "text/html", "utf-8"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _page(site: Site, status: int, code: str, detail: str, hint: str, look: Look) -> bytes:
    meant = CODES.get(code, CODES["error"]).one
    told = {"status": status, "meant": meant, "detail": detail, "hint": hint}
    return site.page("error", told, look).encode()


_page_again = functools.lru_cache(maxsize=64)(_page)
"""The same of what is said to whoever asks too often: if each made a page, refusing would cost more than answering."""


def _wants_data(request: web.Request) -> bool:
    if request.path.endswith((".json", ".live")) or request.path.startswith(("/api/", "/healthz")):
        return True
    accepted = request.headers.get("Accept", "")
    return "json" in accepted and "html" not in accepted
