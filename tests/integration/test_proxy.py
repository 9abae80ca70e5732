"""A client against a real server, on a network that ends calls which are held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from middlebox import Middlebox

from dsage.connection import Connection, fetch_chain
from dsage.trust.invite import Link
from dsage.wire import HostInfo
from dsage_client.agent import Agent
from dsage_client.events import Event
from dsage_client.session import Session
from dsage_client.settings import Settings
from dsage_client.testing import GatedRunner
from dsage_server.testing import Host, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def client(host: Host, folder: Path, port: int = 0) -> AsyncIterator[list[Event]]:
    """A client with the key of a host that has joined; `port` is where it reaches the server, if not directly."""
    at = host.conn.link
    link = Link(f"https://127.0.0.1:{port}", at.server_id, at.ca, at.root) if port else at
    chain, _ = await fetch_chain(host.conn, at, time.time())

    async def connect() -> Connection:
        return await Connection.open(link, ca_pem=host.conn.ca_pem)

    info = HostInfo(
        client="test", platform="test", cores=1, memory_bytes=1 << 34, disk_bytes=1 << 34, sandbox="none"
    )  # fmt: skip
    session = Session(connect, host.key, chain, lambda _: None, info)
    events: list[Event] = []
    settings = Settings(folder=folder, slots=1, backoff_low_s=0.05, backoff_high_s=0.2)
    agent = Agent(settings, session, GatedRunner(), events.append)
    task = asyncio.create_task(agent.run())
    try:
        yield events
    finally:
        agent.stop()
        await task


async def test_a_network_that_cuts_held_calls_is_learnt_and_not_spun_on(world: World, tmp_path: Path) -> None:
    host = await world.host()
    port = int(host.conn.link.url.rpartition(":")[2])
    async with Middlebox(target=port, cut_s=2.0) as box, client(host, tmp_path / "c", box.port) as events:
        await until(lambda: any(event.kind == "network" for event in events))
        assert box.cuts == 2
        told = next(event for event in events if event.kind == "network")
        how = "the server is asked every 50 s, and without work every 5 minutes"
        assert told.text == f"this network ends calls that wait for 2 s; from now on {how}"
        seen = len(events)
        await until(lambda: box.cuts == 3)
        assert [event.text for event in events[seen:] if event.kind == "away"] == []
