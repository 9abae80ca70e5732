"""Refusals as problem documents: every class of errors, and what aiohttp refuses by itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy.exc import OperationalError

from dsage.connection import problem
from dsage.errors import Busy, DSageError, RequestError
from dsage.wire import PROTOCOL_HEADER
from dsage_server.api.http import manners

Raises = Callable[[BaseException], Awaitable[TestClient[web.Request, web.Application]]]


def tree(kind: type[DSageError]) -> Iterator[type[DSageError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


async def answered(error: BaseException) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer to a call that raises `error`."""

    async def fail(_: web.Request) -> web.Response:
        raise error

    app = web.Application(middlewares=[manners])
    app.add_routes([web.get("/v1/x", fail)])
    async with (
        TestClient(TestServer(app)) as client,
        client.get("/v1/x", headers={PROTOCOL_HEADER: "1"}) as response,
    ):
        return response.status, dict(response.headers), await response.read()


@pytest.mark.parametrize("kind", sorted(set(tree(DSageError)), key=str))
async def test_every_error_is_a_problem_document_and_is_raised_again_on_the_other_side(
    kind: type[DSageError],
) -> None:
    status, headers, body = await answered(kind("it did not work", hint="Do this."))
    assert status == kind.status
    assert headers["Content-Type"] == "application/problem+json"
    assert json.loads(body) == {
        "type": f"urn:dsage:error:{kind.code}", "title": (kind.__doc__ or "").splitlines()[0], "status": status,
        "detail": "it did not work", "code": kind.code, "hint": "Do this.", "instance": "/v1/x",
    }  # fmt: skip
    assert ("Retry-After" in headers) == (status in (429, 503, 507))
    raised = problem(status, headers, body)
    expected = RequestError if kind is DSageError else kind
    assert (type(raised), raised.message, raised.hint) == (expected, "it did not work", "Do this.")


@pytest.mark.parametrize(
    ("error", "status", "code", "header"),
    [
        (web.HTTPNotFound(), 404, "not-found", None),
        (web.HTTPMethodNotAllowed("PUT", ["GET", "HEAD"]), 405, "method", ("Allow", "GET,HEAD")),
        (web.HTTPRequestEntityTooLarge(10, 20), 413, "too-large", None),
        (web.HTTPBadRequest(), 400, "request", None),
        (OperationalError("SELECT", {}, Exception("gone")), 503, "busy", ("Retry-After", "5")),
        (ZeroDivisionError("a secret"), 500, "error", None),
    ],
)
async def test_what_nobody_meant_to_refuse_is_one_too(
    error: BaseException, status: int, code: str, header: tuple[str, str] | None
) -> None:
    given, headers, body = await answered(error)
    assert (given, json.loads(body)["code"], headers["Content-Type"]) == (status, code, "application/problem+json")
    assert header is None or header in headers.items()
    assert b"secret" not in body


async def test_busy_says_when_to_come_back_in_whole_seconds() -> None:
    _, headers, body = await answered(Busy("much to do", retry_s=1.2))
    assert headers["Retry-After"] == "2"
    again = problem(503, headers, body)
    assert isinstance(again, Busy)
    assert again.retry_s == 2.0
