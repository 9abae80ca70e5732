"""Refusals as problem documents (RFC 9457), the same from the machine API and from the pages."""

from __future__ import annotations

import http
import logging
import math
from typing import Final

import msgspec
from aiohttp import web

from dsage.errors import Busy, DSageError, NotFound, RequestError, StorageFull, TooLarge, WrongMethod

MEDIA_TYPE: Final = "application/problem+json"
RETRY_S: Final = 5
WAITING: Final = frozenset({429, 503, 507})
"""Statuses that carry Retry-After."""

log = logging.getLogger(__name__)


class Problem(msgspec.Struct, kw_only=True):
    """Why a request was refused: `detail` in one sentence, `hint` what to do next, `code` the word for programs.

    `type` is a name, not an address: servers are many, and it is the same at all. docs/errors.md lists the codes.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    instance: str


def document(error: DSageError, path: str, hint: str | None = None) -> Problem:
    """Return an error as the problem document of a request for a path; `hint` says something else to do."""
    return Problem(
        type=f"urn:dsage:error:{error.code}", title=title(type(error)), status=error.status,
        detail=error.message, code=error.code, hint=error.hint if hint is None else hint, instance=path,
    )  # fmt: skip


def title(kind: type[DSageError]) -> str:
    """Return what a class of errors means, in one sentence."""
    return (kind.__doc__ or "").splitlines()[0]


def answer(error: DSageError, path: str, hint: str | None = None) -> web.Response:
    """Return an error as the response to a request for a path."""
    status = error.status
    if status >= 500 and not isinstance(error, Busy | StorageFull):  # these are told once, and not for each caller
        log.warning("%s: %s", path, error.message)
    retry_s = error.retry_s if isinstance(error, Busy) else RETRY_S
    headers = {"Retry-After": str(max(math.ceil(retry_s), 1))} if status in WAITING else None
    return web.Response(
        body=msgspec.json.encode(document(error, path, hint)), status=status, content_type=MEDIA_TYPE, headers=headers
    )


def refusal(error: web.HTTPException, request: web.Request) -> web.Response:
    """Return what aiohttp refuses, an unknown address or method for instance, as a problem document."""
    response = answer(meant(error, request), request.path)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def meant(error: web.HTTPException, request: web.Request) -> DSageError:
    """Return the error of ours that stands for one of aiohttp's."""
    if error.status == NotFound.status:
        return NotFound(f"there is nothing at {request.path[:200]}")
    if error.status == WrongMethod.status:
        return WrongMethod(f"{request.path[:200]} does not answer {request.method}")
    if error.status == TooLarge.status:
        return TooLarge("the body is larger than anything that is taken here")
    return RequestError(f"{http.HTTPStatus(error.status).phrase}: {error.reason}")
