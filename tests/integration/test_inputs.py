"""Input files from a researcher's disk into a volunteer's sandbox, and all that may be wrong with them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsage import bundle, codec, wire
from dsage.connection import Connection
from dsage.driver import Driver
from dsage.errors import NotFound, UsageError
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.sandbox import Level
from dsage.trust.documents import UnitDocument
from dsage_client import membership
from dsage_client.agent import Agent
from dsage_client.events import Event
from dsage_client.joining import host_info
from dsage_client.runner import SandboxRunner
from dsage_client.session import Session
from dsage_client.settings import Settings
from dsage_server.retention.archive import archive_run
from dsage_server.server import Running
from dsage_server.store import blobs as tables
from dsage_server.testing import HandDriver, Host, World, document, running_server, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = '''
import hashlib
from pathlib import Path

from dsage import DistributedFunction, Unit, running


class Digest(DistributedFunction):
    """Hashes the parts of a file that lies with the researcher, and tries to change it."""

    def units(self):
        for part in range(self.parts):
            yield Unit(part, quorum=1, inputs={"table.bin": Path(self.table), "again": Path(self.table)})

    @staticmethod
    def compute(part):
        path = running.input("table.bin")
        tried = []
        for attempt in (lambda: path.write_bytes(b""), path.unlink, lambda: path.chmod(0o777),
                        lambda: (path.parent / "new").touch(), lambda: path.rename(path.parent / "other")):
            try:
                attempt()
            except OSError:
                continue
            tried.append(1)
        try:
            running.input("nothing")
        except Exception as error:
            message = str(error)
        names = sorted(each.name for each in path.parent.iterdir())
        return [part, hashlib.sha256(path.read_bytes()).hexdigest(), len(tried), names, message]

    def process_result(self, unit, value):
        self.result = [*(self.result or []), value]
'''


@asynccontextmanager
async def client(running: Running, folder: Path) -> AsyncIterator[list[Event]]:
    """A real client at work in this process, in the real sandbox."""
    settings = Settings(folder=folder, slots=2, own_work=True, backoff_low_s=0.05, backoff_high_s=0.2)
    key = membership.client_key(settings)
    member = await membership.enrol(settings, await running.invite(), key, running.hub.clock())

    async def connect() -> Connection:
        return await Connection.open(member.server, ca_pem=member.ca_pem.encode())

    chain = membership.load_chain(settings, member.server)
    info = host_info(settings, Level.BUBBLEWRAP)
    session = Session(connect, key, chain, lambda _: None, info)
    settings.work.mkdir()
    runner = SandboxRunner(Level.BUBBLEWRAP, settings.work, niceness=0, units_per_box=100)
    events: list[Event] = []
    agent = Agent(settings, session, runner, events.append)
    task = asyncio.create_task(agent.run())
    try:
        yield events
    finally:
        agent.stop()
        await task
        await runner.close()


def big_file(folder: Path, size: int = 5 << 20) -> tuple[Path, str]:
    path = folder / "big.bin"
    path.write_bytes(os.urandom(size))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_file_travels_from_the_researcher_into_the_sandbox(tmp_path: Path, world: World) -> None:
    path, sha256 = big_file(tmp_path)
    source = tmp_path / "app.py"
    source.write_text(APP)
    packed = bundle.pack(f"{source}:Digest")
    params: dict[str, Any] = {"parts": 5, "table": str(path)}
    async with (
        client(world.running, tmp_path / "client") as events,
        await Researcher.open(Home(world.folder)) as researcher,
    ):
        number = await researcher.submit(packed, packed.function(**params), params)
        ended = await Driver(packed.function(**params), researcher, number).drive()
    assert sorted(ended.result) == [
        [part, sha256, 0, ["again", "table.bin"], ended.result[0][4]] for part in range(5)
    ], [event.text for event in events]
    assert "no input 'nothing'" in ended.result[0][4]
    assert (tmp_path / "client" / "inputs" / sha256).stat().st_size == 5 << 20
    assert not list((tmp_path / "client" / "work").glob("box-*"))
    blobs = world.running.hub.blobs
    assert (await blobs.find(sha256)).size == 5 << 20


async def test_inputs_stay_while_their_run_needs_them_and_go_with_its_archive(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        hub = running.hub
        now = [hub.clock()]
        object.__setattr__(hub.blobs, "clock", lambda: now[0])
        world_of = await Researcher.open(Home(tmp_path))
        async with world_of as researcher:
            path, sha256 = big_file(tmp_path, 1000)
            assert await researcher.upload(path) == sha256
            source = tmp_path / "app.py"
            source.write_text(APP)
            driver = await HandDriver.submitted(researcher, f"{source}:Digest", parts=1, table="")
            await driver.make(1, inputs={"a": sha256})
            now[0] += 3 * 86400.0
            await hub.blobs.collect()
            assert (await hub.blobs.find(sha256)).size == 1000
            await driver.commit(finished=True, result=codec.encode(None))
            await hub.blobs.collect()
            assert (await hub.blobs.find(sha256)).size == 1000, "an ended run keeps its inputs"
            await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
            await hub.blobs.collect()
            with pytest.raises(NotFound):
                await hub.blobs.find(sha256)
            bundles = await hub.store.read(lambda c: tables.runs_without(c, tables.BUNDLE))
            assert bundles == [], "its source can be had as before"


async def kept(world: World, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    await world.running.hub.blobs.keep(sha256, data)
    return sha256


async def test_a_step_with_an_unknown_input_fails_whole(world: World) -> None:
    driver, known = await world.run(), await kept(world, b"known")
    with pytest.raises(NotFound, match="inputs that this server does not have"):
        await driver.commit(
            units=[
                wire.NewUnit(key="a", args=codec.encode(1), quorum=1),
                wire.NewUnit(key="b", args=codec.encode(1), quorum=1, inputs={"x": known, "y": "0" * 64}),
            ]
        )
    assert (await world.view(driver)).units == {}
    await driver.make(1, inputs={"x": known})


async def test_inputs_count_as_disk_of_their_unit(world: World) -> None:
    driver, known = await world.run(), await kept(world, bytes(1000))
    with pytest.raises(UsageError, match="1000 bytes; its disk_bytes are 999"):
        await driver.make(1, inputs={"x": known}, disk_bytes=999)
    await driver.make(1, inputs={"x": known, "twice": known}, disk_bytes=1000)


async def introduced(world: World, *features: str) -> Host:
    host = await world.host()
    info = wire.HostInfo(client="t", platform="t", cores=1, memory_bytes=1 << 34, disk_bytes=1 << 34, sandbox="none")
    await host.exchange(host=msgspec.structs.replace(info, features=list(features)))
    return host


async def test_only_hosts_that_can_fetch_inputs_get_such_units(world: World) -> None:
    driver, known = await world.run(), await kept(world, b"known")
    await driver.make(7, inputs={"x": known})
    old, new = await introduced(world), await introduced(world, wire.INPUTS)
    reply = await old.exchange(want=1)
    assert reply.units == []
    assert reply.reason == "the waiting units need a newer DSage on this computer"
    (got,) = await new.fetch()
    assert document(got).inputs["x"].sha256 == known
    assert document(got).inputs["x"].bytes == 5
    await driver.make(8)
    (plain,) = await old.fetch()
    assert b"inputs" not in plain.document, "clients of before refuse fields that they do not know"


async def test_a_client_of_before_says_nothing_of_features(world: World) -> None:
    host = await world.host()
    said = {
        "client": "old",
        "platform": "p",
        "cores": 1,
        "memory_bytes": 1,
        "sandbox": "none",
        "offers": [],
        "tags": [],
    }
    body = msgspec.msgpack.encode({"host": said, "holding": [], "want": 0, "wait_s": 0.0})
    headers = {"Content-Type": wire.MEDIA_TYPE}
    status, problem, _ = await host.raw("POST", "/v1/exchange", data=body, headers=headers)
    assert (status, problem) == (200, None)


@pytest.mark.parametrize(
    "inputs",
    [
        {"../x": "0" * 64},
        {"/etc/passwd": "0" * 64},
        {"": "0" * 64},
        {".": "0" * 64},
        {"..": "0" * 64},
        {"a/b": "0" * 64},
        {"a\\b": "0" * 64},
        {"a\n": "0" * 64},
        {"a\0": "0" * 64},
        {"-rf": "0" * 64},
        {"x" * 65: "0" * 64},
        {"ünïcode": "0" * 64},
        {"x": "0" * 63},
        {"x": "../" + "0" * 61},
        {"x": "0" * 64 + "\n"},
        {f"x{number}": "0" * 64 for number in range(65)},
    ],
)
async def test_names_that_could_lead_elsewhere_are_refused(world: World, inputs: dict[str, str]) -> None:
    driver = await world.run()
    with pytest.raises(UsageError):
        await driver.make(1, inputs=inputs)
    fields = {
        "server_id": "s", "unit": 1, "run": "r", "app": "a", "args": "", "credit_milli": 1, "cpu_s": 1.0, "wall_s": 1.0,
        "memory_bytes": 1, "disk_bytes": 1, "output_bytes": 1, "expires": 1.0,
    }  # fmt: skip
    signed = fields | {"inputs": {name: {"sha256": sha256, "bytes": 1} for name, sha256 in inputs.items()}}
    assert msgspec.json.decode(msgspec.json.encode(fields), type=UnitDocument).inputs == {}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(signed), type=UnitDocument)


async def test_a_file_that_was_lost_comes_back_and_the_unit_is_done(tmp_path: Path, world: World) -> None:
    """The object behind a blob is gone; the host hands the unit back, unblamed, until somebody sends the file again."""
    path, sha256 = big_file(tmp_path, 3000)
    source = tmp_path / "app.py"
    source.write_text(APP)
    blobs = world.running.hub.blobs
    async with await Researcher.open(Home(world.folder)) as researcher:
        await researcher.upload(path)
        driver = await HandDriver.submitted(researcher, f"{source}:Digest", parts=1, table="")
        await driver.make(4, inputs={"table.bin": sha256})
        await blobs.objects.delete([(await blobs.find(sha256)).object])
        async with client(world.running, tmp_path / "client") as events:

            async def handed_back() -> bool:
                return any(event.kind == "lost-input" for event in events)

            await until(handed_back)
            assert await researcher.upload(path) == sha256
            answers = await driver.answers(10.0)
        assert codec.decode(answers.answers[0].value or b"")[:2] == [4, sha256]
        view = await researcher.run(driver.run)
        assert view.replicas.get("error", 0) == 0
        assert view.replicas["returned"] >= 1
        await driver.commit(folded=[answers.answers[0].unit], finished=True, result=codec.encode(None))
