"""The real `dsage join`, as processes, against a real server: sandbox, TLS, keys and all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from dsage import bundle
from dsage.driver import Driver
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.invite import Link
from dsage_server.server import Running
from dsage_server.testing import running_server

DSAGE = str(Path(sys.executable).with_name("dsage"))
MOST_IDLE_BYTES = 80 << 20

APP = '''
import time
from dsage import DistributedFunction, Unit, checkpoint, close, restored


class Sum(DistributedFunction):
    title = "Sum"

    def units(self):
        for i in range(1, self.n + 1):
            yield Unit(i, quorum=1)

    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        self.result = (self.result or 0) + value


class Noisy(Sum):
    """No two answers are the same bytes."""

    agree = close(rtol=1e-6)
    homogeneous = True

    def units(self):
        for i in range(1, self.n + 1):
            yield Unit(i, quorum=2, adaptive=False)

    @staticmethod
    def compute(i):
        return i + time.time_ns() % 10**9 * 1e-16


class Copies(Sum):
    """The answer of a copy is right only if it was perturbed and restored by one seed, which is not 0."""

    @staticmethod
    def perturb(i, seed):
        return i + seed

    @staticmethod
    def compute(i):
        return [i]

    @staticmethod
    def restore(i, value, seed):
        return value[0] - seed if seed else None


class Slow(Sum):
    """Counts processor time in checkpoints; stops when it has seen one from an earlier life."""

    @staticmethod
    def compute(i):
        if restored() is not None:
            return ["resumed", restored()]
        count = 0
        while True:
            ends = time.process_time() + 0.05
            while time.process_time() < ends:
                pass
            count += 1
            checkpoint(count)

    def process_result(self, unit, value):
        self.result = value
'''


class Client:
    """One `dsage join` process; `events` are the JSON lines it has printed."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.process = process
        self.folder = folder / "client"
        self.events: list[dict[str, Any]] = []
        self._heard = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._heard:
                self.events.append(json.loads(line))
                self._heard.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60.0), self._heard:
            await self._heard.wait_for(condition)

    def count(self, kind: str) -> int:
        return sum(event["kind"] == kind for event in self.events)

    async def end(self, number: signal.Signals) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        status = await asyncio.wait_for(self.process.wait(), 30.0)
        await self._reader
        return status


@asynccontextmanager
async def joined(folder: Path, link: Link | None, *options: str) -> AsyncIterator[Client]:
    words = [] if link is None else [str(link)]
    process = await asyncio.create_subprocess_exec(
        DSAGE, "join", *words, "--when", "always", "--home", str(folder), "--json", "--own-work", *options,
        stdout=PIPE, env={**os.environ, "DSAGE_HOME": str(folder)},
    )  # fmt: skip
    client = Client(process, folder)
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await client._reader


async def refused(folder: Path, *words: str) -> tuple[int, str]:
    """Run `dsage join` to its end and return its exit status and what it said."""
    process = await asyncio.create_subprocess_exec(
        DSAGE, "join", *words, "--home", str(folder), stdout=PIPE, stderr=PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 30.0)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def submitted(folder: Path, kind: str, **params: int) -> Any:
    """Submit `kind` of the app above to the server of `folder`; return a task that drives it to its answer."""
    source = folder / "app.py"
    source.write_text(APP)
    packed = bundle.pack(f"{source}:{kind}")
    function = packed.function(**params)
    researcher = await Researcher.open(Home(folder))
    number = await researcher.submit(packed, function, params)

    async def drive() -> Any:
        async with researcher:
            return (await Driver(function, researcher, number).drive()).result

    return asyncio.create_task(drive())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


async def test_a_volunteer_joins_computes_and_leaves_nothing_behind(server: Running, tmp_path: Path) -> None:
    home = tmp_path / "a"
    async with joined(home, await server.invite(), "--slots", "1", "--show", "leaderboard") as client:
        run = await submitted(tmp_path, "Sum", n=5)
        assert await run == 15
        await client.until(lambda: client.count("accepted") == 5)
        assert client.events[0]["kind"] == "sandbox"
        assert psutil.Process(client.process.pid).memory_info().rss < MOST_IDLE_BYTES
        children = psutil.Process(client.process.pid).children(recursive=True)
        assert await client.end(signal.SIGINT) == 130
    _, alive = psutil.wait_procs(children, timeout=30)
    assert [(p.pid, p.status(), p.ppid(), p.cmdline()) for p in alive] == []
    (part,) = (home / "client" / "servers").iterdir()
    assert not list((part / "spool").glob("*"))
    assert not list((part / "held").glob("*"))
    assert not os.path.lexists(home / "client" / "work")
    assert (part / "client.key").stat().st_mode & 0o777 == 0o600


async def test_a_volunteer_computes_its_own_copy_of_a_unit_that_can_be_perturbed(
    server: Running, tmp_path: Path
) -> None:
    async with joined(tmp_path / "a", await server.invite(), "--slots", "1") as client:
        assert await (await submitted(tmp_path, "Copies", n=3)) == 6
        await client.until(lambda: client.count("accepted") == 3)


async def test_two_volunteers_agree_by_the_rule_of_an_app_whose_answers_are_never_the_same(
    server: Running, tmp_path: Path
) -> None:
    async with (
        joined(tmp_path / "a", await server.invite(), "--slots", "1") as one,
        joined(tmp_path / "b", await server.invite(), "--slots", "1") as other,
    ):
        assert await (await submitted(tmp_path, "Noisy", n=3)) == pytest.approx(6, rel=1e-6)
        for client in (one, other):
            await client.until(lambda client=client: client.count("accepted") == 3)  # type: ignore[misc]


async def test_a_client_comes_back_without_its_link_and_a_used_code_is_not_sent_again(
    server: Running, tmp_path: Path
) -> None:
    link = await server.invite()
    names = []
    for again in (link, link, None):
        async with joined(tmp_path / "a", again) as client:
            await client.until(lambda client=client: client.count("connected") == 1)  # type: ignore[misc]
            names += [event["data"]["pseudonym"] for event in client.events if event["kind"] == "joined"]
            assert await client.end(signal.SIGTERM) == 0
    assert len(names) == 3
    assert len(set(names)) == 1


async def test_a_killed_client_leaves_no_process_and_goes_on_from_its_checkpoint(
    server: Running, tmp_path: Path
) -> None:
    home = tmp_path / "a"
    run = await submitted(tmp_path, "Slow", n=1)
    async with joined(home, await server.invite(), "--slots", "1") as client:
        await client.until(lambda: client.count("working") == 1)
        while not list((home / "client" / "servers").glob("*/held/*.checkpoint")):
            await asyncio.sleep(0.02)  # the box, which comes after everything else, needs the processor
        children = psutil.Process(client.process.pid).children(recursive=True)
        assert children
        await client.end(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    async with joined(home, None, "--slots", "1") as client:
        resumed, count = await run
        assert resumed == "resumed"
        assert count >= 1
        await client.until(lambda: client.count("accepted") == 1)
        assert [e["data"]["replica"] for e in client.events if e["kind"] == "working"] == [1]
        await client.end(signal.SIGTERM)


async def test_a_killed_sandbox_child_is_said_and_the_client_goes_on(server: Running, tmp_path: Path) -> None:
    run = await submitted(tmp_path, "Slow", n=1)
    async with joined(tmp_path / "a", await server.invite(), "--slots", "1") as client:
        await client.until(lambda: client.count("working") == 1)
        while not list((client.folder / "servers").glob("*/held/*.checkpoint")):
            await asyncio.sleep(0.02)  # the box, which comes after everything else, needs the processor
        for child in psutil.Process(client.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        await client.until(lambda: client.count("failed") == 1)
        told = next(event for event in client.events if event["kind"] == "failed")
        assert told["data"]["reason"] == "crash"
        assert "failed here (crash)" in told["text"]
        await client.until(lambda: client.count("told") == 1)
        assert await client.end(signal.SIGTERM) == 0
    run.cancel()


async def test_a_client_outlives_a_restart_of_its_server(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running_server(tmp_path) as first:
            port = int(first.url.rpartition(":")[2])
            client = await stack.enter_async_context(joined(tmp_path / "a", await first.invite(), "--slots", "1"))
            assert await (await submitted(tmp_path, "Sum", n=3)) == 6
        await client.until(lambda: client.count("away") >= 1)
        async with running_server(tmp_path, port=port):
            assert await (await submitted(tmp_path, "Sum", n=4)) == 10
            await client.until(lambda: client.count("accepted") == 7)
            assert client.count("connected") == 2
            assert await client.end(signal.SIGTERM) == 0


async def test_two_clients_need_a_folder_each(server: Running, tmp_path: Path) -> None:
    async with joined(tmp_path / "a", await server.invite()) as client:
        await client.until(lambda: client.count("connected") == 1)
        status, said = await refused(tmp_path / "a", "--when", "always")
    assert status == 7
    assert "another client is running with the folder" in said


async def test_what_is_wrong_with_joining_is_said_in_a_sentence(server: Running, tmp_path: Path) -> None:
    good = await server.invite()
    away = Link("https://127.0.0.1:9", good.server_id, good.ca, good.root, good.code)
    other = Link(good.url, good.server_id, good.ca, "0" * 64, good.code)
    forged = Link(good.url, good.server_id, "0" * 64, good.root, good.code)
    cases: list[tuple[list[str], int, str]] = [
        ([str(server.link("never-issued")), "--when", "always"], 4, "invite"),
        ([str(away), "--when", "always"], 6, "no server answers at https://127.0.0.1:9"),
        ([str(other), "--when", "always"], 4, "signed by"),
        ([str(forged), "--when", "always"], 4, "authority"),
        (["nonsense", "--when", "always"], 2, "not an invite link"),
        ([str(server.link()), "--when", "always"], 2, "no invite code"),
    ]
    for words, status, sentence in cases:
        assert (await refused(tmp_path / "b", *words))[0] == status, words
        assert sentence in (await refused(tmp_path / "b", *words))[1]
        assert not list((tmp_path / "b" / "client").glob("servers/*/membership.json"))
