"""A world in a store, and the pages over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dsage_server.store.engine import Store
from dsage_server.store.testing import fresh
from dsage_server.web.live import Streams
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import SERVER_ID, World

NOW = 1_800_000_000.0
Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty world."""
    store = Store(fresh(tmp_path))
    yield World(store, NOW)
    store.close()


@pytest.fixture
async def browse(world: World) -> AsyncIterator[Open]:
    """Open the pages of the world, with a stream that looks at it every few milliseconds."""
    clients: list[Client] = []

    async def start(streams: Streams | None = None) -> Client:
        app = make_pages(
            world.store, server_id=SERVER_ID, name="Test <Lab>", clock=lambda: world.now, streams=streams, period_s=0.01
        )
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
