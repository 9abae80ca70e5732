"""Perturbed copies on a real server: one fault, the same on every computer, does not agree with itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select

from dsage import bundle, codec, perturbing, wire
from dsage.errors import SandboxRefused
from dsage.function import Limits
from dsage.sandbox import Box, Level, Outcome, strongest
from dsage_server import own_checks
from dsage_server.store import own
from dsage_server.store.schema import standing
from dsage_server.testing import HandDriver, Host, World, document, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("few_are_enough")]

APP = '''
import struct

from dsage import DistributedFunction, close

ROUND = 1 << 60


class Blind(DistributedFunction):
    """Where on a circle the brightest of some lights is; places are kept with 24 bits, which is the same fault on every
    computer."""

    @staticmethod
    def compute(lights):
        place = max(lights, key=lambda light: light[1])[0]
        return round(struct.unpack("f", struct.pack("f", place))[0])

    def process_result(self, unit, value):
        self.result = value


class Turned(Blind):
    @staticmethod
    def perturb(lights, seed):
        return [[(place + seed) % ROUND, light] for place, light in lights]

    @staticmethod
    def restore(lights, value, seed):
        return (value - seed) % ROUND


class Sound(Turned):
    @staticmethod
    def compute(lights):
        return max(lights, key=lambda light: light[1])[0]


class Near(Sound):
    """Two estimates of one number by other random numbers."""

    agree = close(rtol=0.1)

    @staticmethod
    def perturb(lights, seed):
        return [seed / 2**64]

    @staticmethod
    def compute(args):
        return 100.0 + (args[0] if type(args[0]) is float else 0.0)

    @staticmethod
    def restore(lights, value, seed):
        return value


class Crashes(Sound):
    @staticmethod
    def perturb(lights, seed):
        raise RuntimeError("no such turn")


class Loops(Sound):
    @staticmethod
    def restore(lights, value, seed):
        while True:
            pass
'''
LIGHTS = [[123456789012345678, 5], [987654321098765432, 9]]
PLACE = LIGHTS[1][0]


class Computers:
    """Hosts that compute what they get as a client does, each copy in a real sandbox."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.driver: Any = None
        self.box: Any = None
        self.perturbs = False

    async def run(self, kind: str, **more: Any) -> None:
        """Submit a run with one unit, which these computers can do."""
        try:
            level = (await strongest(self.folder / "look", strangers=False)).level
        except SandboxRefused as refused:
            pytest.skip(str(refused))
        source = self.folder / "lights.py"
        source.write_text(APP)
        plain = await self.world.run()
        self.driver = await HandDriver.submitted(plain.researcher, f"{source}:{kind}")
        self.world.runs.append(self.driver)
        packed = bundle.pack(f"{source}:{kind}")
        self.perturbs = bundle.manifest(packed, "lab").perturbs
        bundle.unpack(packed.data, self.folder / "app", expected_sha256=packed.sha256)
        self.box = await Box.open(level or Level.LANDLOCK, self.folder / "app", packed.entry, self.folder / "work")
        self.world.stack.push_async_callback(self.box.close)
        await self.driver.make(LIGHTS, quorum=2, **more)

    async def host(self, *features: str) -> Host:
        """A computer joins."""
        host = await self.world.host()
        await host.introduce(features=features or (wire.AGREEMENT, wire.PERTURBED))
        return host

    async def work(self, host: Host) -> Outcome | None:
        """A computer takes the unit, if it may, and reports how it ended."""
        got = await host.fetch(1)
        if not got:
            return None
        seed = perturbing.seed_of(got[0].lease) if self.perturbs else None
        function, args = perturbing.call(document(got[0]).args, seed)
        outcome: Outcome = await self.box.call(function, args, Limits(cpu_s=1.0, wall_s=20.0))
        if outcome.value is None:
            said = await host.report(got, [None], status="failed", reason=outcome.reason)
        else:
            said = await host.report(got, [codec.decode(outcome.value)])
        assert said == ["ok"]
        return outcome

    async def answers(self, count: int) -> list[Any]:
        """So many computers join and answer; return what they found."""
        done = [await self.work(await self.host()) for _ in range(count)]
        return [codec.decode(each.value) for each in done if each is not None and each.value is not None]

    async def folded(self) -> list[Any]:
        """Return what the run's driver is told."""
        return [codec.decode(each.value) for each in (await self.driver.answers(5.0)).answers if each.value]


@pytest.fixture
def computers(world: World, tmp_path: Path) -> Computers:
    tmp_path.chmod(0o755)
    return Computers(world, tmp_path)


async def liars(world: World) -> int:
    query = select(func.count()).where(standing.c.lies > 0)
    return int(await world.running.hub.store.read(lambda c: c.execute(query).scalar_one()))


async def test_a_fault_that_all_computers_have_agrees_with_itself(computers: Computers) -> None:
    await computers.run("Blind")
    one, other = await computers.answers(2)
    assert one == other != PLACE
    assert await computers.folded() == [one], "it is accepted"


async def test_perturbed_it_does_not_and_nobody_is_a_liar(computers: Computers) -> None:
    await computers.run("Turned")
    found = await computers.answers(4)
    assert len(set(found)) == 4
    assert (await computers.world.view(computers.driver)).units == {"ready": 1}, "one more is asked, and none accepted"
    assert await liars(computers.world) == 0


async def test_restored_answers_are_equal_bytes_and_what_the_driver_folds(computers: Computers) -> None:
    await computers.run("Sound")
    assert await computers.answers(2) == [PLACE, PLACE]
    assert (await computers.world.view(computers.driver)).replicas == {"valid": 2}, "decided in the commit"
    assert await computers.folded() == [PLACE]


async def test_answers_by_other_random_numbers_agree_by_the_apps_rule(computers: Computers) -> None:
    await computers.run("Near")
    one, other = await computers.answers(2)
    assert one != other
    assert len(await computers.folded()) == 1


async def test_a_computer_that_cannot_perturb_gets_no_such_unit(computers: Computers) -> None:
    await computers.run("Sound")
    older = await computers.host(wire.AGREEMENT)
    assert await computers.work(older) is None
    reply = await older.exchange(want=1)
    assert "a newer DSage on this computer" in reply.reason
    assert await computers.answers(2) == [PLACE, PLACE]


@pytest.mark.parametrize(("kind", "reason"), [("Crashes", "exception"), ("Loops", "cpu")])
async def test_a_perturb_or_restore_that_fails_is_the_apps_trouble(
    computers: Computers, kind: str, reason: str
) -> None:
    await computers.run(kind, retries=0)
    before = await liars(computers.world)
    outcome = await computers.work(await computers.host())
    assert outcome is not None
    assert outcome.reason == reason
    heard = await computers.driver.answers(5.0)
    assert [reason in each.failed for each in heard.answers] == [True]
    assert await liars(computers.world) == before


async def test_the_server_as_a_witness_computes_a_copy_of_its_own(
    computers: Computers, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = computers.world.running.hub
    if not hub.can_check:
        pytest.skip("no sandbox for checks here")
    asked: list[int | None] = []

    def call(args: bytes, seed: int | None) -> tuple[str, tuple[bytes, ...]]:
        asked.append(seed)
        return perturbing.call(args, seed)

    monkeypatch.setattr(own_checks, "BUSY", 1.0)
    monkeypatch.setattr(own_checks, "perturbing", SimpleNamespace(call=call, any_seed=perturbing.any_seed))
    await hub.store.write(lambda c: own.set_share(c, 1.0))
    hub.own.share = 1.0
    before = await hub.store.read(own.counted)
    try:
        await computers.run("Sound", adaptive=True)
        assert await computers.answers(2) == [PLACE, PLACE]

        async def heard() -> bool:
            return (await hub.store.read(own.counted))[own.AGREED] == before[own.AGREED] + 1

        await until(heard)
    finally:
        await hub.store.write(lambda c: own.set_share(c, 0.0))
        hub.own.share = 0.0
    assert len(asked) == 1
    assert asked[0] is not None
