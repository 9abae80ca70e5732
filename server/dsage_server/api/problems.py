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


def document(error: DSageError, path: str) -> Problem:
    """Return an error as the problem document of a request for a path."""
    return Problem(
        type=f"urn:dsage:error:{error.code}", title=title(type(error)), status=error.status,
        detail=error.message, code=error.code, hint=error.hint, instance=path,
    )  # fmt: skip


def title(kind: type[DSageError]) -> str:
    """Return what a class of errors means, in one sentence."""
    return (kind.__doc__ or "").splitlines()[0]


def answer(error: DSageError, path: str) -> web.Response:
    """Return an error as the response to a request for a path."""
    status = error.status
    if status >= 500 and not isinstance(error, Busy | StorageFull):  # these are told once, and not for each caller
        log.warning("%s: %s", path, error.message)
    retry_s = error.retry_s if isinstance(error, Busy) else RETRY_S
    headers = {"Retry-After": str(max(math.ceil(retry_s), 1))} if status in WAITING else None
    return web.Response(
        body=msgspec.json.encode(document(error, path)), status=status, content_type=MEDIA_TYPE, headers=headers
    )


def refusal(error: web.HTTPException, request: web.Request) -> web.Response:
    """Return what aiohttp refuses, an unknown address or method for instance, as a problem document."""
    refused: DSageError
    if error.status == 404:
        refused = NotFound(f"there is nothing at {request.path}")
    elif error.status == 405:
        refused = WrongMethod(f"{request.path} does not answer {request.method}")
    elif error.status == 413:
        refused = TooLarge("the body is larger than anything that is taken here")
    else:
        refused = RequestError(f"{http.HTTPStatus(error.status).phrase}: {error.reason}")
    response = answer(refused, request.path)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
