"""Peers that hold on to connections, at the doors of a real server: they are shown out, and honest ones are served."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from dsage import wire
from dsage.errors import Busy, UsageError
from dsage.trust import tls
from dsage_server import listening
from dsage_server.api import doors, http
from dsage_server.listening import listen
from dsage_server.testing import Host, World, running_server, until

Start = Callable[[], Awaitable[World]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """A server that starts once a test has set its patience."""
    async with AsyncExitStack() as stack:

        async def started() -> World:
            return World(await stack.enter_async_context(running_server(tmp_path)), tmp_path, stack)

        yield started


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def connected(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(world.running.url)
    return await asyncio.open_connection(where.hostname, where.port, ssl=trusting())


def head(host: Host, length: int, *more: str) -> bytes:
    lines = [
        "POST /v1/exchange HTTP/1.1", "Host: x", f"{wire.PROTOCOL_HEADER}: {wire.PROTOCOL}",
        f"Authorization: Bearer {host.token}", f"Content-Length: {length}", *more,
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Say whether the server has closed a connection."""
    try:
        async with asyncio.timeout(0.001):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except (ConnectionError, ssl.SSLError):
        return True


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_five_thousand_connections_without_a_request(
    start: Start, monkeypatch: pytest.MonkeyPatch, closing: ExitStack
) -> None:
    monkeypatch.setattr(doors, "HANDSHAKE_S", 2.0)
    monkeypatch.setattr(doors, "FIRST_REQUEST_S", 2.0)
    monkeypatch.setattr(doors, "LOOK_S", 0.2)
    world = await start()
    host = await world.host()
    where = urlsplit(world.running.url)
    mute: list[socket.socket] = []
    for _ in range(5000):
        mute.append(closing.enter_context(socket.socket()))
        mute[-1].setblocking(False)
        mute[-1].connect_ex((where.hostname, where.port))
        if len(mute) % 500 == 0:
            async with asyncio.timeout(20.0):
                assert await host.fetch() == []
    polite = [await connected(world) for _ in range(20)]
    for _, writer in polite[:10]:
        writer.write(b"POST /v1/exchange HTTP/1.1\r\nHost:")

    async def all_gone() -> bool:
        return all([await ended(reader) for reader, _ in polite])

    await until(all_gone)
    await until(lambda: _all_closed(mute))
    assert await host.fetch() == []
    for _, writer in polite:
        writer.close()


async def _all_closed(sockets: list[socket.socket]) -> bool:
    for each in sockets:
        try:
            if each.recv(100, socket.MSG_PEEK):
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


async def test_one_connection_too_many_ends_the_one_that_was_silent_for_longest(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "most_connections", lambda: 20)
    world = await start()
    host = await world.host()
    asked = await connected(world)
    asked[1].write(b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in await asked[0].readuntil(b"\r\n")
    silent = [await connected(world) for _ in range(18)]
    assert [await ended(reader) for reader, _ in silent] == [False] * 18
    late = [await connected(world) for _ in range(5)]
    await until(lambda: ended(silent[4][0]))
    assert [await ended(reader) for reader, _ in silent] == [True] * 5 + [False] * 13
    assert [await ended(reader) for reader, _ in late] == [False] * 5
    assert not asked[0].at_eof()
    assert await host.fetch() == []
    for _, writer in [asked, *silent, *late]:
        writer.close()


async def test_a_body_that_drips_is_refused(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_GRACE_S", 0.3)
    monkeypatch.setattr(doors, "LINGERING_S", 0.2)
    monkeypatch.setattr(listening, "LINGERING_S", 0.2)
    world = await start()
    host = await world.host()
    reader, writer = await connected(world)
    writer.write(head(host, 1000) + b"\x80")
    async with asyncio.timeout(20.0):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"the body came too slowly: 1 bytes" in answer
    writer.close()
    assert await host.fetch() == []


async def test_large_bodies_that_never_end_fill_no_more_memory_than_there_is_for_them(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_ARRIVING_BYTES", 1 << 20)
    world = await start()
    host, other = await world.host(), await world.host()
    lines = [await connected(world) for _ in range(3)]
    for _, writer in lines:
        writer.write(head(host, 8 << 20) + bytes(512 << 10))
    answers = [asyncio.create_task(reader.readuntil(b"\r\n")) for reader, _ in lines]
    done, waiting = await asyncio.wait(answers, timeout=60.0, return_when=asyncio.FIRST_COMPLETED)
    assert [answer.result().split()[1] for answer in done] == [b"503"]
    with pytest.raises(Busy, match="large bodies"):
        await other.conn.call("POST", "/v1/exchange", bytes(1 << 20), bytes, token=other.token)
    assert await other.fetch() == []
    for _, writer in lines:
        writer.transport.abort()
    await asyncio.gather(*waiting, return_exceptions=True)

    async def gone() -> bool:
        return http._arriving.bytes == 0

    await until(gone)
    with pytest.raises(UsageError):
        await other.conn.call("POST", "/v1/exchange", bytes(1 << 20), bytes, token=other.token)


async def test_a_body_that_comes_steadily_may_take_its_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_GRACE_S", 0.2)
    world = await start()
    host = await world.host()

    async def steady() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(8192)
            await asyncio.sleep(0.05)  # what is tested is a peer that takes its time

    status, problem, _ = await host.raw("POST", "/v1/exchange", data=steady())
    assert (status, problem["code"]) == (400, "usage")
    assert "not a Exchange" in problem["detail"]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01 no http at all\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/hello HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 60 + b"\r\n",
        b"POST /v1/exchange HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/exchange HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v1/hello HTTP/1.1\r\nHost: x\r\nExpect: the-moon\r\nConnection: close\r\n\r\n",
    ],
)
async def test_heads_that_are_none_or_too_large(
    start: Start, nonsense: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world = await start()
    reader, writer = await connected(world)
    writer.write(nonsense)
    async with asyncio.timeout(20.0):
        answer = await reader.read()
    head, _, problem = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"Content-Type: application/problem+json" in head
    assert b"nosniff" in head
    assert b"aiohttp" not in answer
    assert json.loads(problem)["code"] == "request"
    writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def served(stack: AsyncExitStack, folder: Path, pieces: int, gone: asyncio.Event) -> int:
    """Serve a long answer over TLS; `gone` is set once a request for it has ended."""

    async def long(request: web.Request) -> web.StreamResponse:
        try:
            response = web.StreamResponse()
            response.content_length = pieces << 16
            await response.prepare(request)
            for _ in range(pieces):
                await response.write(bytes(1 << 16))
            return response
        finally:
            gone.set()

    tls.make_authority(folder)
    tls.make_leaf(folder, ["localhost"])
    app = web.Application()
    app.add_routes([web.get("/long", long)])
    return await listen(stack, app, "127.0.0.1", 0, tls.server_context(folder))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system's kernel does not end such peers")
async def test_who_does_not_read_is_shown_out_and_who_reads_slowly_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "READING_S", 1.0)
    gone, pieces = asyncio.Event(), 512
    async with AsyncExitStack() as stack:
        port = await served(stack, tmp_path, pieces, gone)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), limit=1 << 16)
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < pieces << 16:
            got += len(await reader.read(1 << 18))
            if got % (4 << 20) < (1 << 16):
                await asyncio.sleep(0.2)  # what is tested is a peer that takes its time
        await gone.wait()
        gone.clear()
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(20.0):
            await gone.wait()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
            await reader.readexactly(pieces << 16)
        writer.close()
