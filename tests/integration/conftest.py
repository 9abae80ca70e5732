"""One real server for the tests of a module, and a world around it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from dsage_server.server import Running
from dsage_server.testing import World, running_server


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(shared_folder: Path) -> AsyncIterator[Running]:
    async with running_server(shared_folder) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_server: Running, shared_folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(shared_server, shared_folder, stack)
        yield world
        await world.close()
