"""Limits as callers meet them: headers on every answer, 429 for one too many, keys and networks apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from dsage.errors import NotAllowed
from dsage.wire import PROTOCOL_HEADER
from dsage_server.api.buckets import Policy
from dsage_server.api.callers import visitor
from dsage_server.api.http import manners, reply
from dsage_server.api.limits import Limits, head_of


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(clock: Clock) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def message(_: web.Request) -> web.Response:
        return reply({"ok": True})

    async def missing(_: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"long")
        return response

    app = web.Application(middlewares=[manners])
    limits = Limits(
        Policy(name="network", rate_per_s=1.0, burst=3), Policy(name="key", rate_per_s=2.0, burst=4),
        address_of=visitor, key_of=lambda request: request.headers.get("Authorization"), free=("/free",), ticks=clock,
    )  # fmt: skip
    limits.add_to(app)
    app.add_routes([web.get("/", message), web.get("/missing", missing), web.get("/stream", stream)])
    app.add_routes([web.get("/free/x", message)])
    async with TestClient(TestServer(app), headers={PROTOCOL_HEADER: "1"}) as client:
        yield client


async def test_every_answer_says_what_is_left_and_one_too_many_is_refused(
    client: TestClient[web.Request, web.Application], clock: Clock
) -> None:
    for path, left in (("/", 2), ("/missing", 1), ("/stream", 0)):
        async with client.get(path) as answer:
            assert answer.headers["RateLimit"] == f'"network";r={left};t={4 - left}'
            assert answer.headers["RateLimit-Policy"] == '"network";q=3;w=3'
    async with client.get("/") as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"], problem["status"]) == (429, "too-many", 429)
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["RateLimit"].startswith('"network";r=0;')
    clock.now += 1.0
    async with client.get("/") as answer:
        assert answer.status == 200


async def test_what_is_not_there_is_not_free(client: TestClient[web.Request, web.Application]) -> None:
    for path, status in [("/free/x", 200)] * 5 + [("/free/nothing", 404)] * 3 + [("/free/nothing", 429)]:
        async with client.get(path) as answer:
            assert answer.status == status
    async with client.get("/free/x") as answer:
        assert answer.status == 200


async def test_what_another_middleware_refuses_is_counted() -> None:
    @web.middleware
    async def strict(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise NotAllowed("this came from another site")

    app = web.Application(middlewares=[manners, strict])
    Limits(Policy(name="network", rate_per_s=0.01, burst=2), address_of=visitor).add_to(app)
    async with TestClient(TestServer(app), headers={PROTOCOL_HEADER: "1"}) as client:
        assert [(await client.get("/")).status for _ in range(3)] == [403, 403, 429]


async def test_a_key_has_a_bucket_of_its_own(client: TestClient[web.Request, web.Application]) -> None:
    for _ in range(4):
        await client.get("/")
    for left in (3, 2, 1, 0):
        async with client.get("/", headers={"Authorization": "a"}) as answer:
            assert answer.headers["RateLimit"].startswith(f'"key";r={left};')
    assert (await client.get("/", headers={"Authorization": "a"})).status == 429
    assert (await client.get("/", headers={"Authorization": "b"})).status == 200


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
async def test_an_ipv6_network_is_one_caller(
    client: TestClient[web.Request, web.Application], first: str, second: str, same: bool
) -> None:
    for _ in range(4):
        await client.get("/", headers={"X-Forwarded-For": first})
    async with client.get("/", headers={"X-Forwarded-For": second}) as answer:
        assert answer.status == (429 if same else 200)


async def test_what_is_free_is_not_counted(client: TestClient[web.Request, web.Application]) -> None:
    for _ in range(10):
        async with client.get("/free/x") as answer:
            assert answer.status == 200
            assert "RateLimit" not in answer.headers


async def test_a_head_made_by_hand_says_the_same(client: TestClient[web.Request, web.Application]) -> None:
    seen: list[bytes] = []

    async def other(request: web.Request) -> web.Response:
        seen.append(head_of(request))
        return web.Response()

    app = web.Application()
    Limits(Policy(name="network", rate_per_s=1.0, burst=3), address_of=visitor).add_to(app)
    app.add_routes([web.get("/", other)])
    async with TestClient(TestServer(app)) as plain, plain.get("/") as answer:
        told = "".join(f"{name}: {answer.headers[name]}\r\n" for name in ("RateLimit", "RateLimit-Policy"))
    assert seen == [told.encode()]
