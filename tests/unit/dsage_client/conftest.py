"""A client put together from real parts, with a server in memory and a runner that a test can hold."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dsage.connection import Transport
from dsage.trust.chain import Chain
from dsage.trust.envelope import Envelope
from dsage.trust.keys import PrivateKey
from dsage.wire import HostInfo
from dsage_client.agent import Agent
from dsage_client.events import Event
from dsage_client.gate import Gate
from dsage_client.session import Session
from dsage_client.settings import Settings
from dsage_client.testing import GatedRunner, MemoryServer


@dataclass
class Client:
    """Everything about one client that a test looks at; `running` starts an agent on its folder."""

    settings: Settings
    server: MemoryServer
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    runner: GatedRunner = field(default_factory=GatedRunner)
    events: list[Event] = field(default_factory=list)
    roots: list[Envelope] = field(default_factory=list)
    clock: Callable[[], float] | None = None
    transport: Transport | None = None

    def agent(self, gate: Gate | None = None) -> Agent:
        """Return a new agent, as after a start of the program."""

        async def connect() -> Transport:
            return self.transport or self.server

        chain = Chain.first(
            self.server.root, server_id=self.server.link.server_id, root_key_hash=self.server.link.root, now=None
        )
        host = HostInfo(client="test", platform="test", cores=1, memory_bytes=1, sandbox="none")
        timing = {} if self.clock is None else {"clock": self.clock}
        session = Session(connect, self.key, chain, self.roots.append, host, **timing)
        return Agent(self.settings, session, self.runner, self.events.append, gate=gate, draw=lambda: 0.0)

    @asynccontextmanager
    async def running(self, gate: Gate | None = None) -> AsyncIterator[Agent]:
        """Run an agent and stop it in good order at the end."""
        agent = self.agent(gate)
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            agent.stop()
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds."""
        async with asyncio.timeout(10.0):
            while not condition():
                await asyncio.sleep(0)

    def killed(self, folder: Path) -> Client:
        """Return the client that starts after a kill -9 at this instant: all it has is what lay on disk."""
        shutil.copytree(self.settings.folder, folder)
        return Client(settings=replace(self.settings, folder=folder), server=self.server, key=self.key)

    def kinds(self) -> list[str]:
        """Return the kinds of all events so far."""
        return [event.kind for event in self.events]

    def text(self) -> str:
        """Return what a person would have read."""
        return "\n".join(event.text for event in self.events)


@pytest.fixture
async def client(tmp_path: Path) -> Client:
    settings = Settings(folder=tmp_path, slots=2, backoff_low_s=0.002, backoff_high_s=0.01, checkpoint_every_s=0.0)
    return Client(settings=settings, server=MemoryServer())
