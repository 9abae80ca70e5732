"""Peers that send as slowly as they can, to both listeners of a real server: they are shown out, others are served."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from dsage_server import listening, server
from dsage_server.api import doors, http, routes
from dsage_server.api.buckets import Policy
from dsage_server.testing import World, running_server

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADS = {"machine": b"POST /v1/login HTTP/1.1\r\nDSage-Protocol: 1\r\n", "pages": b"POST /join/qr HTTP/1.1\r\n"}
FEW = Policy(name="few", rate_per_s=0.001, burst=4)
BODY = b"Host: localhost\r\nContent-Length: 1000\r\n\r\nx"


@pytest.fixture(params=["machine", "pages"])
def listener(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """A server without much patience; for a flood, one that takes few requests."""
    if "flood" in request.node.name:
        monkeypatch.setattr(server, "VISITORS", FEW)
        monkeypatch.setattr(routes, "BY_NETWORK", FEW)
    monkeypatch.setattr(doors, "FIRST_REQUEST_S", 1.0)
    monkeypatch.setattr(doors, "LOOK_S", 0.1)
    monkeypatch.setattr(http, "BODY_GRACE_S", 0.5)
    monkeypatch.setattr(listening, "KEEPALIVE_S", 1.0)
    monkeypatch.setattr(listening, "LINGERING_S", 0.1)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


@pytest.fixture
async def knock(world: World, listener: str) -> AsyncIterator[Open]:
    """Open connections to the listener."""
    running = world.running
    where = urlsplit(running.url if listener == "machine" else running.pages_url)
    context = None
    if where.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    writers: list[asyncio.StreamWriter] = []

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
        writers.append(writer)
        return reader, writer

    yield opened
    for writer in writers:
        writer.transport.abort()


async def drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Send letter by letter, until the other side has had enough."""
    try:
        for letter in text:
            writer.write(bytes([letter]))
            await writer.drain()
            await asyncio.sleep(0.05)  # what is tested is a peer that takes its time
    except ConnectionError:
        return


async def left(reader: asyncio.StreamReader) -> bytes:
    """Return what the server still says until it closes the connection, also if what is still sent then is refused.

    Whoever waits for it hears all of it: a stream whose connection was reset gives nothing any more of what it has.
    """
    said = b""
    async with asyncio.timeout(30.0):
        with suppress(ConnectionError, ssl.SSLError):
            while piece := await reader.read(1 << 16):
                said += piece
    return said


async def served(world: World, listener: str) -> None:
    """Check that somebody who behaves is served."""
    if listener == "machine":
        host = await world.host()
        assert await host.fetch() == []
    else:
        async with aiohttp.ClientSession() as session, session.get(world.running.pages_url) as answer:
            assert answer.status == 200


async def test_a_first_head_that_drips(world: World, knock: Open, listener: str) -> None:
    peers = [await knock() for _ in range(20)]
    dripping = [asyncio.create_task(drip(writer, HEADS[listener] * 100)) for _, writer in peers]
    await served(world, listener)
    assert {await left(reader) for reader, _ in peers} == {b""}
    for task in dripping:
        task.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    await served(world, listener)


async def test_a_later_head_that_drips(knock: Open, listener: str) -> None:
    reader, writer = await knock()
    writer.write(WHOLE)
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    dripping = asyncio.create_task(drip(writer, HEADS[listener] * 100))
    await left(reader)
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


async def test_a_body_that_drips(world: World, knock: Open, listener: str) -> None:
    peers = [await knock() for _ in range(10)]
    for _, writer in peers:
        writer.write(HEADS[listener] + BODY)
    dripping = [asyncio.create_task(drip(writer, b"y" * 900)) for _, writer in peers]
    for answer in await asyncio.gather(*[left(reader) for reader, _ in peers]):
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"too slowly" in answer
    for task in dripping:
        task.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    await served(world, listener)


async def test_a_flood_is_refused_by_network_and_nobody_else_is(world: World, listener: str) -> None:
    """Behind a proxy on this machine callers are told apart by what it says of them."""
    base = world.running.url if listener == "machine" else world.running.pages_url
    path = "/v1/hello" if listener == "machine" else "/join.json"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:

        async def ask(address: str) -> tuple[int, str, bytes]:
            async with session.get(base + path, headers={"X-Forwarded-For": address}) as answer:
                return answer.status, answer.headers["RateLimit"].partition(";t=")[0], await answer.read()

        found = [await ask(f"2001:db8::{number}") for number in range(1, FEW.burst + 3)]
        assert [status for status, _, _ in found] == [200] * FEW.burst + [429] * 2
        assert [told for _, told, _ in found] == [f'"few";r={left}' for left in (3, 2, 1, 0, 0, 0)]
        assert b'"code":"too-many"' in found[-1][2]
        assert (await ask("2001:db8:0:1::1"))[0] == 200
