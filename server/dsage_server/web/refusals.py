"""What every answer carries, and pages for what cannot be answered."""

from __future__ import annotations

import http
import logging
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dsage.errors import Busy, DSageError
from dsage_server.web.looks import look_of
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
    "Server": "DSage",
}
FRONT_HINT: Final = "The front page leads to everything there is."

_log = logging.getLogger(__name__)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: put the security headers on every answer, streams and errors included."""
    response.headers.update(HEADERS)


def refusing(site: Site) -> Middleware:
    """Return the middleware that turns errors into pages, or into problem documents for programs."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = _answer(site, request, error.status, _sentence(error.status), FRONT_HINT, "request")
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
            return answer
        except DSageError as error:
            answer = _answer(site, request, error.status, error.message, error.hint, error.code)
            if isinstance(error, Busy):
                answer.headers["Retry-After"] = str(max(1, round(error.retry_s)))
            return answer
        except Exception:  # noqa: BLE001 - the outermost place: the visitor gets a page, the operator the traceback
            _log.exception("a page failed: %s %s", request.method, request.path)
            sentence = "something went wrong on this server while it made the page"
            return _answer(site, request, 500, sentence, "Try again; the operator's log says more.", "error")

    return middleware


def _answer(site: Site, request: web.Request, status: int, detail: str, hint: str, code: str) -> web.Response:
    title = http.HTTPStatus(status).phrase
    sentence = detail[:1].upper() + detail[1:]
    if not _wants_data(request):
        body = site.page(
            "error", {"status": status, "title": title, "detail": sentence, "hint": hint}, look_of(request)
        )
        answer = web.Response(status=status, text=body, content_type="text/html", charset="utf-8")
    else:
        problem = {
            "type": "about:blank", "title": title, "status": status, "detail": sentence, "code": code, "hint": hint,
            "instance": request.path,
        }  # fmt: skip
        answer = web.Response(status=status, body=msgspec.json.encode(problem), content_type="application/problem+json")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _wants_data(request: web.Request) -> bool:
    if request.path.endswith((".json", ".live")) or request.path.startswith(("/api/", "/healthz")):
        return True
    accepted = request.headers.get("Accept", "")
    return "json" in accepted and "html" not in accepted


def _sentence(status: int) -> str:
    return {
        404: "there is no such page",
        405: "this page cannot be asked in this way",
    }.get(status, "this request cannot be answered")
