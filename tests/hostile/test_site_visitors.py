"""Visitors of a real server's pages who send what no browser sends, leave in the middle, or come in crowds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from dsage.home import Home
from dsage_server.published import Published
from dsage_server.server import Running
from dsage_server.testing import running_server
from dsage_server.web.live import PER_ADDRESS

Say = Callable[[bytes], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

HOST: Final = b"Host: localhost\r\n"
FORM: Final = b"Content-Type: application/x-www-form-urlencoded\r\n"
HEADS: Final = (
    b"GET /\xff\xfe HTTP/1.1\r\n" + HOST,
    b"GET /%ff%fe%00 HTTP/1.1\r\n" + HOST,
    b"GET /login/%ff%00 HTTP/1.1\r\n" + HOST,
    b"GET /?x=%ff&%00=\xff HTTP/1.1\r\n" + HOST,
    b"GET //evil.example/ HTTP/1.1\r\n" + HOST,
    b"GET http://evil.example/ HTTP/1.1\r\n" + HOST,
    b"GET http://[/ HTTP/1.1\r\n" + HOST,
    b"GET /static/..%2f..%2fserver.py HTTP/1.1\r\n" + HOST,
    b"GET /static/%2e%2e/pages.py HTTP/1.1\r\n" + HOST,
    b"GET /client/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + HOST,
    b"GET /export/..%2findex.json HTTP/1.1\r\n" + HOST,
    b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n" + HOST,
    b"GET /" + b"a" * 90_000 + b" HTTP/1.1\r\n" + HOST,
    b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: a=" + b"a" * 90_000 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: " + b"a=b; " * 800 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 1000,
    b"GET /me HTTP/1.1\r\n" + HOST + b"Cookie: __Host-volunteer=\xff\xfe; theme=\xff; language=\xff\r\n",
    b"GET /runs.json HTTP/1.1\r\n" + HOST + b"Authorization: Bearer dsage_\xff\xfe\r\n",
    b"GET /runs.json HTTP/1.1\r\n" + HOST + b"Authorization: \xff\r\n",
    b"GET /admin HTTP/1.1\r\n" + HOST + b"Cookie: __Host-operator=\xed\xa0\x80\r\n",
    b"POST /logout/operator HTTP/1.1\r\nOrigin: http://localhost\r\n" + HOST + b"Cookie: __Host-operator=\xff\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Accept-Language: \xff;q=\xff,,,;;de;q=nan, de;q=1.1.1\r\nAccept: \xff\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Accept-Language: " + b"de;q=0.1," * 400 + b"\r\n",
    b'GET / HTTP/1.1\r\n' + HOST + b'If-None-Match: \xff""", W/, *\r\nIf-Modified-Since: \xff\r\nRange: x\r\n',
    b"GET /join HTTP/1.1\r\n" + HOST + b"User-Agent: \xff<x-evil>\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n",
    b"GET / HTTP/1.1\r\nHost: [\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b?c#d@e\r\n",
    b"GET /discoveries.atom HTTP/1.1\r\nHost: localhost:<x-evil>\r\n",
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST,
    b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST,
    b"TRACE / HTTP/1.1\r\n" + HOST,
    b"PUT /run/1 HTTP/1.1\r\n" + HOST,
    b"POST /look HTTP/1.1\r\nOrigin: http://[x\r\n" + HOST,
    b"POST /look HTTP/1.1\r\n" + FORM + HOST + b"Content-Length: 100000000\r\n",
    b"POST /look HTTP/1.1\r\n" + FORM + HOST + b"Content-Length: -1\r\n",
    b"POST /look HTTP/1.1\r\n" + FORM + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"POST /look HTTP/1.1\r\n" + FORM + HOST + b"Transfer-Encoding: chunked\r\n\r\nevil\r\n",
    b"POST /look HTTP/1.1\r\n" + FORM + HOST + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nevil",
    b"POST /look HTTP/1.1\r\nContent-Type: \xff;;=\r\n" + HOST + b"Content-Length: 2\r\n\r\nab",
    b"POST /join/qr HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n\xff\xff\x00#",
    b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: " + b"\xff<x>," * 100 + b"\r\nForwarded: for=x;host=evil\r\n",
    b"GET /status.live HTTP/1.1\r\n" + HOST + b"Last-Event-ID: \xff\r\nX-Forwarded-For: fe80::1%%<x-evil>\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b" folded: x\r\nTransfer-Encoding : chunked\r\n",
)  # fmt: skip


@pytest.fixture
async def running(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Running]:
    """A server; whatever visitors do, it has nothing to tell its operator."""
    async with running_server(tmp_path) as server:
        yield server
    said = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    told = [record for record in said if record.exc_info or record.levelno >= logging.ERROR]
    assert not told


@pytest.fixture
async def say(running: Running) -> AsyncIterator[Say]:
    """Open a connection and say something."""
    where = urlsplit(running.pages_url)
    writers: list[asyncio.StreamWriter] = []

    async def said(words: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writers.append(writer)
        writer.write(words)
        return reader, writer

    yield said
    for writer in writers:
        writer.transport.abort()


async def get(running: Running, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Ask for a page; return status, headers and body."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, running.pages_url + path, headers=sent) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


async def test_no_head_makes_a_page_fail(running: Running, say: Say) -> None:
    for head in HEADS:
        reader, writer = await say(head if b"\r\n\r\n" in head else head + b"\r\n")
        async with asyncio.timeout(30):
            answer = await reader.readuntil(b"\r\n\r\n")
        version, status, _ = answer.split(b" ", 2)
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), head[:80]
        assert int(status) < 500, head[:80]
        if b"evil.example\r\n" in head and b"Host: evil" in head:
            assert status == b"403"
        writer.transport.abort()
    assert (await get(running, "/"))[0] == 200


async def test_no_head_puts_a_tag_into_a_page(running: Running) -> None:
    evil = "<x-evil onevil=1>"
    for path in ("/", "/join", "/discoveries.atom", "/nothing" + evil, "/login/" + evil, "/leaderboard?q=" + evil):
        _, _, body = await get(
            running, path, User_Agent=evil, Referer=evil, Accept_Language=evil, Cookie="theme=" + evil
        )
        assert b"<x-evil" not in body, path


async def test_nobody_leaves_a_trace_by_leaving(running: Running, say: Say, tmp_path: Path) -> None:
    """In the middle of a stream, of a download, of a form, and of a page that is not made yet."""
    package = tmp_path / "dsage_1.4.0_amd64.deb"
    package.write_bytes(b"a package" * 1_000_000)
    Published.of(Home(tmp_path).server).publish([package])
    for path in (b"/index.live", b"/client/dsage_1.4.0_amd64.deb", b"/", b"/status.live"):
        for _ in range(PER_ADDRESS):
            reader, writer = await say(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
            if path != b"/":
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                await reader.read(10)
            writer.transport.abort()
    for _ in range(20):
        _, writer = await say(b"POST /look HTTP/1.1\r\n" + FORM + HOST + b"Content-Length: 50\r\n\r\nlanguage=")
        writer.transport.abort()
    async with asyncio.timeout(30):
        while True:  # whoever left has freed a place
            reader, writer = await say(b"GET /index.live HTTP/1.1\r\n" + HOST + b"\r\n")
            if b" 200 " in await reader.readuntil(b"\r\n\r\n"):
                break
            writer.transport.abort()


async def test_a_network_has_so_many_streams_however_many_addresses(running: Running) -> None:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))

        async def stream(address: str) -> aiohttp.ClientResponse:
            heard = session.get(running.pages_url + "/index.live", headers={"X-Forwarded-For": address})
            return await stack.enter_async_context(heard)

        for number in range(PER_ADDRESS):
            assert (await stream(f"2001:db8:0:7::{number + 1:x}")).status == 200
        refused = await stream("2001:db8:0:7:ffff::1")
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) > 0
        problem = await refused.json(content_type="application/problem+json")
        assert (problem["code"], problem["hint"]) == ("busy", "Close some of them, or reload to see news.")
        assert (await stream("2001:db8:0:8::1")).status == 200
    assert (await get(running, "/", X_Forwarded_For="2001:db8:0:7::1"))[0] == 200


async def test_parts_and_conditions(running: Running, tmp_path: Path) -> None:
    whole, wheel = b"0123456789" * 1000, tmp_path / "dsage_1.4.0_amd64.deb"
    wheel.write_bytes(whole)
    Published.of(Home(tmp_path).server).publish([wheel])
    path = "/client/dsage_1.4.0_amd64.deb"
    _, first, body = await get(running, path)
    assert (body, first["Content-Disposition"]) == (whole, f'attachment; filename="{wheel.name}"')
    assert (await get(running, path, Range="bytes=10-19"))[::2] == (206, b"0123456789")
    for odd in ("bytes=20000-", "bytes=9-3", "bytes=-", "evil", "bytes=0-1,5-6", "bytes=" + "9" * 400 + "-"):
        status, _, part = await get(running, path, Range=odd)
        assert status in (200, 206, 416), odd
        assert len(part) <= len(whole)
    assert (await get(running, path, Range="bytes=0-1", If_Range='"another"'))[2] in (whole, b"01")
    assert (await get(running, path, If_None_Match=first["ETag"]))[::2] == (304, b"")
    for page in ("/leaderboard", "/leaderboard.json", "/static/dsage.css", "/discoveries.atom"):
        status, told, body = await get(running, page, Accept_Encoding="identity")
        assert (status, bool(body)) == (200, True)
        assert (await get(running, page, If_None_Match=told["ETag"]))[::2] == (304, b"")
        assert (await get(running, page, If_None_Match="*"))[0] == 304
        assert (await get(running, page, If_None_Match='W/"another", "x"'))[0] == 200
        status, head, nothing = await get(running, page, "HEAD", Accept_Encoding="identity")
        assert (status, nothing, head["Content-Length"]) == (200, b"", str(len(body)))
        assert head["ETag"] == told["ETag"]
    assert (await get(running, "/index.live", "HEAD"))[::2] == (200, b"")


async def test_a_stream_ends_with_its_server_and_goes_on_with_the_next(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with running_server(tmp_path) as running:
            stream = await session.get(running.pages_url + "/index.live")
            first = await stream.content.readuntil(b"\n\n")
            message = await stream.content.readuntil(b"\n\n")
            assert (first, message[:6]) == (b"retry: 3000\n\n", b"data: ")
        async with asyncio.timeout(30):
            await stream.content.read()
        async with running_server(tmp_path) as running, session.get(running.pages_url + "/index.live") as again:
            await again.content.readuntil(b"\n\n")
            assert b"live_numbers" in await again.content.readuntil(b"\n\n")
