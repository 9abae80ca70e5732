"""A server that is gone for a week and a computer that slept for days, on clocks of the test's own: nothing is waited
for longer than was said, nothing is lost, nothing is said twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.unit.dsage_client.conftest import Client
from tests.unit.dsage_client.conftest import client as client

from dsage.errors import ServerAway
from dsage.wire import ExchangeReply
from dsage_client import agent as agents
from dsage_client import patience, statement
from dsage_client.agent import Agent
from dsage_client.guest.reasons import Reason
from dsage_client.guest.sentences import moment, sentence
from dsage_client.membership import Membership
from dsage_client.parts import Part
from dsage_client.patience import MAX_IDLE_S
from dsage_client.settings import Settings
from dsage_client.testing import MemoryServer

WEEK_S = 7 * 86_400.0
HIGH_S = 60.0
AWAY = ServerAway("no server answers at https://localhost:1: no route to host")


class Hastened(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while it `hastens`, and jumps to the next timer when there is nothing to do."""

    _ahead_s = 0.0
    _still: float | None = None

    @property
    def hastens(self) -> bool:
        return self._still is not None

    @hastens.setter
    def hastens(self, yes: bool) -> None:
        now = self.time()
        self._ahead_s = now - super().time()
        self._still = now if yes else None

    def time(self) -> float:
        return super().time() + self._ahead_s if self._still is None else self._still

    def _run_once(self) -> None:
        if self._still is not None and not self._ready and self._scheduled:
            self._still = max(self._still, self._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


class Watched:
    """A server, and when it was called; it names `spread_s` in its replies."""

    def __init__(self, inner: MemoryServer, now: Callable[[], float], spread_s: float) -> None:
        self.link, self.ca_pem = inner.link, inner.ca_pem
        self.calls: list[float] = []
        self._inner, self._now, self._spread_s = inner, now, spread_s

    async def call(self, method: str, path: str, body: Any, reply: Any, **how: Any) -> Any:
        self.calls.append(self._now())
        answer = await self._inner.call(method, path, body, reply, **how)
        return msgspec.structs.replace(answer, spread_s=self._spread_s) if reply is ExchangeReply else answer

    def stream(self, *what: Any, **how: Any) -> Any:
        return self._inner.stream(*what, **how)

    async def close(self) -> None:
        """Nothing to close."""


def part(client: Client, agent: Agent) -> Part:
    return Part(client.settings, Membership(link=str(client.server.link), ca_pem="", pseudonym="tester"), agent)


@pytest.mark.parametrize(
    ("spread_s", "most_s"), [(0.0, HIGH_S), (300.0, 450.0), (1e9, 1.5 * MAX_IDLE_S)], ids=["usual", "many", "lying"]
)
def test_a_week_without_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spread_s: float, most_s: float
) -> None:
    with asyncio.Runner(loop_factory=Hastened) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Hastened)
        started = time.time() - loop.time()
        clocks = SimpleNamespace(monotonic=loop.time, time=lambda: started + loop.time())
        for module in (agents, patience):
            monkeypatch.setattr(module, "time", clocks)
        runner.run(_a_week(tmp_path, loop, clocks.time, spread_s, most_s))


async def _a_week(folder: Path, loop: Hastened, wall: Callable[[], float], spread_s: float, most_s: float) -> None:
    settings = Settings(folder=folder, slots=1, backoff_high_s=HIGH_S)
    client = Client(settings=settings, server=MemoryServer())
    server = client.transport = Watched(client.server, loop.time, spread_s)
    client.runner.gate.clear()
    async with client.running() as agent:
        agent._patience._draw = lambda: 1.0
        await client.server.give(21)
        await client.until(lambda: client.runner.running)
        await client.server.strike(AWAY)
        gone = wall()
        client.runner.gate.set()
        await client.until(lambda: "finished" in client.kinds() and agent.away_since is not None)
        server.calls.clear()
        loop.hastens = True
        await asyncio.sleep(WEEK_S)
        loop.hastens = False
        gaps = [later - sooner for sooner, later in zip(server.calls, server.calls[1:], strict=False)]
        assert max(gaps) <= most_s + 1.0
        assert WEEK_S / (most_s + 1.0) <= len(server.calls) <= 2.0 * WEEK_S / HIGH_S + 20
        assert len(list(settings.spool.iterdir())) == 1
        assert agent.away_since == pytest.approx(gone, abs=10.0)
        standing = statement.why(part(client, agent), wall())
        said = sentence(standing, now=wall())
        assert standing.reason is Reason.SERVER_AWAY
        assert standing.until is not None
        assert "localhost:1 has not answered since 20" in said, said
        assert said.endswith(f"; next try {moment(standing.until, now=wall())}")
        assert client.kinds().count("away") <= 20, "a week is no reason to fill the log"
        promised = standing.until
        await client.server.strike(None)
        loop.hastens = True
        while not client.server.ended:
            await asyncio.sleep(0.1)
        loop.hastens = False
        assert wall() <= promised + 2.0
        assert agent.away_since is None
    assert client.server.statuses() == {1: "done"}


@pytest.mark.parametrize("lost", [False, True], ids=["lease kept", "lease lost"])
@pytest.mark.parametrize("slept_s", [3600.0, 3 * 86_400.0])
async def test_a_computer_that_slept_goes_on_by_itself(client: Any, lost: bool, slept_s: float) -> None:
    slept = 0.0
    client.clock = lambda: time.time() + slept
    client.runner.gate.clear()
    async with client.running() as agent:
        await client.server.give(1, 2)
        await client.until(lambda: len(client.runner.running) == 2)
        slept = slept_s
        client.server.forget_tokens()
        await client.server.strike(ServerAway("the connection broke: it had been dead for long"))
        await client.until(lambda: not agent.connected)
        if lost:
            await client.server.abort(2)
        await client.server.strike(None)
        await client.until(lambda: agent.connected)
        if lost:
            await client.until(lambda: client.runner.cancelled == [2])
        client.runner.gate.set()
        await client.until(lambda: len(client.server.ended) == 2)
        await client.server.give(3)
        await client.until(lambda: len(client.server.ended) == 3)
    assert client.server.logins == 2
    assert sorted(client.server.order) == [1, 2, 3], "each is reported once"
    assert client.server.statuses() == {1: "done", 2: "aborted" if lost else "done", 3: "done"}
    assert client.kinds().count("away") == 1
