"""Streams: what they send and when they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from dsage.errors import StorageFull
from dsage_server import shared
from dsage_server.web.live import KEPT_NEWS, Streams, _News
from dsage_server.web.testing import World

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]


async def message(response: ClientResponse) -> dict[str, str]:
    """Return the next message of a stream that carries fragments."""
    while True:
        line = await response.content.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            found: dict[str, str] = json.loads(line[6:])
            return found


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_stream_sends_everything_once_and_then_what_changed(world: World, browse: Open) -> None:
    client = await browse()
    async with client.get("/index.live") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert set(await message(response)) == {
            "live_mosaic",
            "live_numbers",
            "live_running",
            "live_board",
            "live_events",
        }
        world.join("late-lark-100")
        changed: dict[str, str] = {}
        while "late-lark-100" not in changed.get("live_board", ""):
            changed |= await message(response)
        assert "live_running" not in changed


async def test_a_quiet_stream_says_that_it_is_there(world: World, browse: Open) -> None:
    client = await browse(Streams(period_s=0.01, keepalive_s=0.02))
    async with client.get("/status.live") as response:
        await message(response)
        assert await response.content.readuntil(b": still here\n\n")


async def test_streams_are_capped_by_address_and_freed_when_visitors_leave(world: World, browse: Open) -> None:
    streams = Streams(period_s=0.01, per_address=2)
    client = await browse(streams)
    one, two = await client.get("/index.live"), await client.get("/status.live")
    refused = await client.get("/index.live")
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "5"
    assert (await refused.json(content_type="application/problem+json"))["code"] == "busy"
    assert (await client.get("/index.live", headers={"X-Forwarded-For": "evil, 192.0.2.7"})).status == 200
    assert streams.open == {"127.0.0.1": 2, "192.0.2.7": 1}
    one.close()
    two.close()
    await until(lambda: "127.0.0.1" not in streams.open)


async def test_streams_are_capped_in_all(world: World, browse: Open) -> None:
    client = await browse(Streams(period_s=0.01, in_all=1))
    assert (await client.get("/index.live", headers={"X-Forwarded-For": "192.0.2.7"})).status == 200
    assert (await client.get("/index.live", headers={"X-Forwarded-For": "192.0.2.8"})).status == 503


async def test_shutdown_ends_streams_at_once(world: World, browse: Open) -> None:
    streams = Streams(period_s=60)
    client = await browse(streams)
    response = await client.get("/index.live")
    await message(response)
    streams.close()
    async with asyncio.timeout(20):
        assert await response.content.read() == b"\n"


async def test_many_streams_cost_one_read(world: World, browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read = world.store.read

    async def counted(query: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(query)

    monkeypatch.setattr(world.store, "read", counted)
    client = await browse(Streams(period_s=60))
    responses = await asyncio.gather(*[client.get("/index.live") for _ in range(10)])
    for response in responses:
        await message(response)
    assert reads == 1


async def test_a_database_that_fails_ends_the_stream_and_is_logged(
    world: World, browse: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared, "LEISURE", 0.0)  # else a slow machine keeps what it made for long
    client = await browse()
    response = await client.get("/index.live")
    await message(response)

    async def fail(query: object) -> None:
        raise StorageFull("no room")

    monkeypatch.setattr(world.store, "read", fail)
    async with asyncio.timeout(10):
        await response.content.read()
    assert "could not be refreshed" in caplog.text


def test_news_are_made_once_for_all_who_saw_the_same_and_never_mixed_up() -> None:
    news = _News()
    first, second = {"a": "1", "b": "2"}, {"a": "1", "b": "3"}
    assert json.loads(news.of({}, first)[6:]) == first
    assert json.loads(news.of(first, second)[6:]) == {"b": "3"}
    assert news.of(first, second) is news.of(first, second)
    assert news.of(second, dict(second)) == b""
    assert news.of(second, second) == b""
    for number in range(3 * KEPT_NEWS):
        state = {"a": str(number)}
        assert json.loads(news.of({}, state)[6:]) == state
