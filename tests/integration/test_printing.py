"""What a unit prints, from the sandbox of a volunteer's computer to its researcher, while it runs and at every end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dsage import bundle, codec, wire
from dsage.connection import Connection
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.sandbox import Level
from dsage_client import membership, policy
from dsage_client.agent import Agent
from dsage_client.joining import host_info
from dsage_client.runner import SandboxRunner
from dsage_client.session import Session
from dsage_client.settings import Settings
from dsage_server.testing import HandDriver, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = """
import os, sys, time
from dsage import DistributedFunction


class Talk(DistributedFunction):
    needs = ("numpy",)

    @staticmethod
    def compute(how):
        print("begun,", how)
        print("to stderr", file=sys.stderr)
        os.system("echo from a program")
        if how == "raise":
            raise ValueError("no good")
        if how == "wait":
            time.sleep(600)
        if how == "flood":
            while True:
                print("x" * 99999)
        print("ended")
        return how
"""


@asynccontextmanager
async def client(world: World, folder: Path) -> AsyncIterator[None]:
    """A real client at work in this process, in the real sandbox."""
    settings = Settings(folder=folder, slots=2, own_work=True, backoff_low_s=0.05, backoff_high_s=0.2)
    key = membership.client_key(settings)
    member = await membership.enrol(settings, await world.running.invite(), key, world.running.hub.clock())

    async def connect() -> Connection:
        return await Connection.open(member.server, ca_pem=member.ca_pem.encode())

    chain = membership.load_chain(settings, member.server)
    session = Session(connect, key, chain, lambda _: None, host_info(settings, Level.BUBBLEWRAP))
    settings.work.mkdir()
    runner = SandboxRunner(Level.BUBBLEWRAP, settings.work, niceness=0, units_per_box=100)
    agent = Agent(settings, session, runner, lambda _: None)
    task = asyncio.create_task(agent.run())
    try:
        yield
    finally:
        agent.stop()
        await task
        await runner.close()


async def test_what_a_unit_prints_reaches_its_researcher(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "SOON_S", 0.2)
    source = tmp_path / "talk.py"
    source.write_text(APP)
    packed = bundle.pack(f"{source}:Talk")
    async with client(world, tmp_path / "client"), await Researcher.open(Home(world.folder)) as researcher:
        number = await researcher.submit(packed, packed.function(), {})
        run = HandDriver(researcher, number, (await researcher.drive(number)).fence)
        await run.make("wait")
        seen: list[wire.Attempt] = []

        async def talks() -> bool:
            seen[:] = await researcher.attempts(number)
            return any(each.output for each in seen)

        await until(talks)
        assert (seen[0].state, seen[0].output) == ("leased", b"begun, wait\nto stderr\nfrom a program\n")
        await run.make("return", "raise", "flood", disk_bytes=32 << 20)
        by: dict[str, wire.Attempt] = {}

        async def all_ended() -> bool:
            args = {each.unit: codec.decode(each.args) for each in (await researcher.units(number)).units}
            by.update({args[each.unit]: each for each in reversed(await researcher.attempts(number))})
            return all(how in by and by[how].ended for how in ("return", "raise", "flood"))

        await until(all_ended)
        await researcher.cancel(number)
    assert by["return"].output == b"begun, return\nto stderr\nfrom a program\nended\n"
    assert by["return"].wall_s > 0
    assert (by["raise"].state, by["raise"].reason) == ("error", "exception")
    assert by["raise"].output == b"begun, raise\nto stderr\nfrom a program\n"
    assert "ValueError: no good" in by["raise"].detail
    assert (by["flood"].reason, len(by["flood"].output)) == ("disk", wire.MAX_OUTPUT)
    assert "printed more than 16777216 bytes" in by["flood"].detail
