"""One real server for the tests of a module, and a world around it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from one_self_test import one_self_test

from dsage_server.server import Running
from dsage_server.store import known, standings
from dsage_server.store.testing import VARIABLE, kinds
from dsage_server.testing import World, running_server

__all__ = ["one_self_test"]
ON_BOTH = {"test_server_control", "test_server_looking", "test_server_reports", "test_server_ends"}
"""Modules that run on each database; the others on the one that the environment names."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in ON_BOTH:
        metafunc.parametrize("database", kinds(), indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[None]:
    """The kind of database that a module's servers get."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(request, "param"):
            patch.setenv(VARIABLE, request.param)
        yield


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(shared_folder: Path, database: None) -> AsyncIterator[Running]:
    async with running_server(shared_folder) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_server: Running, shared_folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(shared_server, shared_folder, stack)
        yield world
        await world.close()


@pytest.fixture
def few_are_enough() -> Iterator[None]:
    """However few volunteers there are, they judge each other; by no units whose answer is known, which come by
    chance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standings, "ENOUGH", 0)
        patch.setattr(known, "SHARE", 0.0)
        yield
