"""The pinned connection: who is believed, what refusals become, and what happens when nobody answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from dsage import connection, errors, wire
from dsage.connection import Connection, fetch_chain, login, problem
from dsage.home import Home
from dsage.trust import tls
from dsage.trust.ceremony import FirstKeys, first_keys
from dsage.trust.documents import Login
from dsage.trust.envelope import Envelope, open_as
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def packed(message: object) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(message), content_type=wire.MEDIA_TYPE)


class LittleServer:
    """A TLS server with real keys whose answers a test chooses."""

    def __init__(self, home: Home, names: list[str]) -> None:
        self.home = home
        self.keys: FirstKeys = first_keys(home, names, "test")
        self.handler: Handler | None = None
        self.seen: list[web.Request] = []
        self.connections: set[object] = set()
        self.link = Link("https://localhost:1", "x", "0" * 64, "0" * 64)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.connections.add(request.transport)
        if request.path == "/v1/ca":
            return web.Response(body=(self.home.tls / "ca.pem").read_bytes())
        if request.path == "/v1/root":
            return packed(self.keys.envelope)
        assert self.handler is not None
        return await self.handler(request)


@contextlib.asynccontextmanager
async def serving(folder: Path, names: list[str] | None = None) -> AsyncIterator[LittleServer]:
    server = LittleServer(Home(folder), names or ["localhost", "127.0.0.1"])
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    await web.SockSite(runner, listener, ssl_context=tls.server_context(server.home.tls)).start()
    server.link = server.keys.link(f"https://localhost:{port}")
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LittleServer]:
    async with serving(tmp_path / "server") as running:
        yield running


async def test_a_call_carries_version_token_and_messages(server: LittleServer) -> None:
    async def echo(request: web.Request) -> web.Response:
        step = msgspec.msgpack.decode(await request.read(), type=wire.Step)
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.headers[wire.PROTOCOL_HEADER] == "1"
        assert request.query.getall("unit") == ["1", "2"]
        return packed(wire.StepReply(step=step.step, hungry=3))

    server.handler = echo
    async with await Connection.open(server.link) as conn:
        reply = await conn.call(
            "POST",
            "/v1/runs/1/steps",
            wire.Step(fence=1, step=7, state=b""),
            wire.StepReply,
            token="secret",
            query=[("unit", 1), ("unit", 2)],
        )
        assert reply == wire.StepReply(step=7, hungry=3)


async def test_raw_bytes_go_and_come_as_they_are(server: LittleServer) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    server.handler = echo
    async with await Connection.open(server.link) as conn:
        assert await conn.call("PUT", "/v1/bundles/x", b"\x00raw\xff", bytes) == b"\x00raw\xff"
        await conn.call("POST", "/v1/runs/1/cancel")


async def test_one_tls_connection_serves_many_calls(server: LittleServer) -> None:
    async with await Connection.open(server.link) as conn:
        server.connections.clear()
        for _ in range(5):
            await conn.call("GET", "/v1/root", None, Envelope)
        assert len(server.connections) == 1


async def test_a_stored_certificate_saves_fetching_it(server: LittleServer) -> None:
    async with await Connection.open(server.link) as first:
        pem = first.ca_pem
    server.seen.clear()
    async with await Connection.open(server.link, ca_pem=pem) as conn:
        await conn.call("GET", "/v1/root")
    assert [request.path for request in server.seen] == ["/v1/root"]


async def test_another_authority_is_refused(server: LittleServer, tmp_path: Path) -> None:
    async with serving(tmp_path / "other") as other:
        mixed = Link(other.link.url, server.link.server_id, server.link.ca, server.link.root)
        with pytest.raises(errors.BadSignature, match="not the one that the invite link names"):
            await Connection.open(mixed)
        pem = (server.home.tls / "ca.pem").read_bytes()
        async with await Connection.open(mixed, ca_pem=pem) as conn:
            with pytest.raises(errors.BadSignature, match="vouches for"):
                await conn.call("GET", "/v1/root")
        assert [request.path for request in other.seen] == ["/v1/ca"], "nothing reaches a server not believed"


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, ["elsewhere.example"]) as server, await Connection.open(server.link) as conn:
        with pytest.raises(errors.BadSignature, match="vouches for"):
            await conn.call("GET", "/v1/root")


def test_an_expired_certificate_points_to_the_clock() -> None:
    import ssl

    error = ssl.SSLCertVerificationError("x")
    error.verify_code, error.verify_message = 10, "certificate has expired"
    assert isinstance(connection._untrusted("https://h:1", error, None), errors.Expired)


async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    link = Link(f"https://localhost:{port}", "x", "0" * 64, "0" * 64)
    with pytest.raises(errors.ServerAway, match=rf"no server answers at https://localhost:{port}: Connection refused$"):
        await Connection.open(link)


async def test_a_server_without_tls_is_told_apart() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 no TLS here\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    async with plain:
        with pytest.raises(errors.ServerAway):
            await Connection.open(Link(f"https://127.0.0.1:{port}", "x", "0" * 64, "0" * 64))


async def test_silence_and_broken_replies_are_the_server_away(server: LittleServer) -> None:
    release = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with await Connection.open(server.link) as conn:
        server.handler = silent
        with pytest.raises(errors.ServerAway, match=r"did not answer within 0\.05 s"):
            await conn.call("POST", "/v1/exchange", timeout_s=0.05)
        release.set()
        server.handler = breaks
        with pytest.raises(errors.ServerAway, match="broke"):
            await conn.call("POST", "/v1/exchange")


async def test_a_reply_without_end_is_cut_off(server: LittleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while request.transport is not None:
                await response.write(bytes(1 << 16))
                await asyncio.sleep(0)
        return response

    monkeypatch.setattr(connection, "MAX_BODY_BYTES", 1 << 20)
    server.handler = endless
    async with await Connection.open(server.link) as conn:
        with pytest.raises(errors.TooLarge):
            await conn.call("GET", "/v1/status", None, bytes)


async def test_nonsense_is_a_request_error(server: LittleServer) -> None:
    async def nonsense(request: web.Request) -> web.Response:
        return web.Response(body=b"<html>")

    server.handler = nonsense
    async with await Connection.open(server.link) as conn:
        with pytest.raises(errors.RequestError, match="makes no sense"):
            await conn.call("GET", "/v1/hello", None, wire.Hello)


async def test_a_redirect_is_not_followed(server: LittleServer) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/v1/root")

    server.handler = elsewhere
    async with await Connection.open(server.link) as conn:
        with pytest.raises(errors.RequestError, match="302"):
            await conn.call("GET", "/v1/hello", None, wire.Hello)


def every_class() -> list[type[errors.DSageError]]:
    return [kind for kind in errors._tree(errors.DSageError) if kind.__module__ == "dsage.errors"]


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.code)
def test_a_refusal_comes_back_as_its_class(kind: type[errors.DSageError]) -> None:
    told = {"status": kind.status, "detail": "a sentence", "code": kind.code, "hint": "a hint"}
    error = problem(kind.status, {}, json.dumps(told).encode())
    assert type(error) is kind
    assert (error.message, error.hint) == ("a sentence", "a hint")


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "message"),
    [
        (404, {}, b"not json", errors.RequestError, "the server answered 404"),
        (400, {}, b'["a list"]', errors.RequestError, "the server answered 400"),
        (400, {}, b'{"code": "no-such-code", "detail": "x"}', errors.RequestError, "x"),
        (400, {}, b'{"code": ["usage"], "detail": 7, "title": "t"}', errors.RequestError, "t"),
        (500, {}, b"", errors.RequestError, "the server answered 500"),
        (502, {}, b"<html>", errors.ServerAway, "the proxy before the server cannot reach it (it answered 502)"),
        (403, {}, b'{"detail": "red \\u001b[31m\\u0007alert"}', errors.RequestError, "red  [31m alert"),
    ],
)
def test_refusals_of_other_kinds(
    status: int, headers: dict[str, str], body: bytes, kind: type[errors.DSageError], message: str
) -> None:
    error = problem(status, headers, body)
    assert type(error) is kind
    assert error.message == message


@pytest.mark.parametrize(("header", "retry_s"), [("7", 7.0), ("soon", 5.0), ("", 5.0), ("1e9", 3600.0), ("-3", 0.0)])
def test_busy_says_when_to_come_back(header: str, retry_s: float) -> None:
    error = problem(503, {"Retry-After": header}, b"")
    assert isinstance(error, errors.Busy)
    assert error.retry_s == retry_s


async def test_the_chain_comes_from_the_pinned_root(server: LittleServer, tmp_path: Path) -> None:
    async with await Connection.open(server.link) as conn:
        chain, envelope = await fetch_chain(conn, server.link, time.time())
        assert chain.root == server.keys.root
        assert envelope == server.keys.envelope
        other = Link(server.link.url, server.link.server_id, server.link.ca, "1" * 64)
        with pytest.raises(errors.TrustError):
            await fetch_chain(conn, other, time.time())


async def test_a_root_that_does_not_accept_the_authority_is_refused(server: LittleServer) -> None:
    from dsage.trust.ceremony import sign_root

    server.keys = FirstKeys(
        root=server.keys.root,
        envelope=sign_root(server.home, ca_keys=["2" * 64]),
        unit_key=server.keys.unit_key,
        ca=server.keys.ca,
        root_key=None,
        made=(),
    )
    async with await Connection.open(server.link) as conn:
        with pytest.raises(errors.BadSignature, match="does not accept"):
            await fetch_chain(conn, server.link, time.time())


async def test_login_signs_the_challenge(server: LittleServer) -> None:
    key = PrivateKey.generate()
    server_id = server.link.server_id

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v1/challenge":
            return packed(wire.ChallengeReply(challenge=b"once", server_id=server_id, valid_s=60))
        envelope = msgspec.msgpack.decode(await request.read(), type=Envelope)
        proof = open_as(envelope, Login, [key.public])
        assert (proof.challenge, proof.server_id, proof.key, proof.role) == (b"once", server_id, key.public, "host")
        return packed(wire.LoginReply(token="t", valid_s=900, name="n"))

    server.handler = answer
    async with await Connection.open(server.link) as conn:
        assert (await login(conn, key, "host", server_id)).token == "t"


async def test_a_challenge_of_another_server_is_not_signed(server: LittleServer) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/v1/challenge"
        return packed(wire.ChallengeReply(challenge=b"once", server_id="another", valid_s=60))

    server.handler = answer
    async with await Connection.open(server.link) as conn:
        with pytest.raises(errors.WrongServer):
            await login(conn, PrivateKey.generate(), "host", server.link.server_id)
