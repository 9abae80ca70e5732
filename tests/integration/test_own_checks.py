"""The server computes some units itself: over real TLS, in a real sandbox, with hosts that are moved by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from echoes import earned, states, work, wrong
from sqlalchemy import func, select

from dsage.bundle import manifest, pack
from dsage_server import own_checks, timekeeping
from dsage_server.own_cli import own_checks as own_checks_command
from dsage_server.store import own, standings
from dsage_server.store.schema import event, standing
from dsage_server.testing import Host, World, running_server, until
from dsage_validator.reputation import RULES

PROBATION = int(RULES.probation)
pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server that checks no unit of a trusted host by another host, and computes nothing until a test says so."""
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    monkeypatch.setattr(own_checks, "BUSY", 1.0)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def computes(world: World, share: float = 1.0) -> None:
    """From now on the server computes this share of what is accepted, and what is disputed."""
    await world.running.hub.store.write(lambda c: own.set_share(c, share))
    world.running.hub.own.share = share


async def counted(world: World, what: str, n: int) -> None:
    """Wait until something was counted so often."""

    async def so_often() -> bool:
        return (await world.running.hub.store.read(own.counted))[what] == n

    await until(so_often)


async def hosts(world: World, n: int) -> list[Host]:
    found = [await world.host() for _ in range(n)]
    for each in found:
        await each.introduce()
    return found


async def liars(world: World) -> int:
    query = select(func.count(standing.c.host_id.distinct())).where(standing.c.lies > 0)
    return int(await world.running.hub.store.read(lambda c: c.execute(query).scalar_one()))


async def news(world: World) -> list[str]:
    query = select(event.c.text).where(event.c.kind == "own-check")
    return list(await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()))


async def test_liars_who_confirm_each_other_are_refuted_with_all_that_rests_on_their_word(world: World) -> None:
    driver = await world.run()
    one, two, honest, other = await hosts(world, 4)
    await driver.make(*range(PROBATION), quorum=2, adaptive=True)
    ground = await work(one)
    await work(two)
    await driver.make(*range(100, 105), quorum=2, adaptive=True)
    alone = await work(one, wrong)
    assert await states(world, alone) == {"valid"}, "it was trusted alone"

    await computes(world)
    await driver.make(200, quorum=2, adaptive=True)
    (number,) = await work(one, wrong)
    await counted(world, own.REFUTED, 1)

    async def looked() -> bool:
        return "valid" not in await states(world, [number, *alone])

    await until(looked)
    assert await states(world, ground) == {"valid"}, "the other host stands behind what it confirmed"
    assert await liars(world) == 1
    assert await earned(world, one) == PROBATION * 1000
    assert any(f"unit {number}: this server computed it itself" in text for text in await news(world))
    assert set(await work(honest)) == {number, *alone} == set(await work(other))
    await counted(world, own.AGREED, 1 + len(alone))
    assert await states(world, [number, *alone]) == {"valid"}


async def test_what_the_server_finds_too_stays_as_it_is(world: World) -> None:
    driver = await world.run()
    one, two = await hosts(world, 2)
    await computes(world)
    await driver.make(7, 8, quorum=2, adaptive=True)
    numbers = await work(one)
    assert await work(two) == numbers
    await counted(world, own.AGREED, 2)
    assert await states(world, numbers) == {"valid"}
    assert await liars(world) == 0


async def test_of_two_newcomers_who_disagree_the_server_says_who_is_right(world: World) -> None:
    driver = await world.run()
    one, liar = await hosts(world, 2)
    await computes(world)
    await driver.make(7, quorum=2, adaptive=True)
    (number,) = await work(one)
    assert await work(liar, wrong) == [number]
    await counted(world, own.RULED, 1)
    assert await states(world, [number]) == {"valid"}
    assert await liars(world) == 1
    assert await earned(world, one) == 1000


async def test_where_all_are_wrong_the_server_sides_with_nobody(world: World) -> None:
    driver = await world.run()
    one, two = await hosts(world, 2)
    await computes(world)
    await driver.make(7, quorum=2, adaptive=True)
    (number,) = await work(one, lambda args: 1)
    await work(two, lambda args: 2)
    await counted(world, own.SILENT, 1)
    assert await states(world, [number]) == {"ready"}


async def test_an_apps_own_word_on_what_is_the_same_holds_for_the_server_as_well(world: World) -> None:
    driver = await world.run("Checked")
    one, two = await hosts(world, 2)
    await computes(world)
    await driver.make(7, quorum=2, adaptive=True)
    await work(one, lambda args: args + 1)
    await work(two, lambda args: args + 1)
    await counted(world, own.AGREED, 1)
    assert await liars(world) == 0


@pytest.mark.parametrize(("quorum", "credit_milli"), [(2, 2000), (1, 1000)], ids=["dear", "not adaptive"])
async def test_what_is_dear_or_has_a_fixed_quorum_is_not_computed(world: World, quorum: int, credit_milli: int) -> None:
    driver = await world.run()
    one, two = await hosts(world, 2)
    await computes(world)
    await driver.make(7, quorum=quorum, adaptive=quorum > 1, credit_milli=credit_milli)
    await work(one)
    await work(two)
    assert not len(world.running.hub.own)
    assert set((await world.running.hub.store.read(own.counted)).values()) == {0}


async def test_a_server_that_differs_from_everybody_is_not_believed_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await world.run()
    await computes(world)
    for n in range(own.MOST_REFUTED + 1):
        pair = await hosts(world, 2)
        await driver.make(1000 + n, quorum=2, adaptive=True)
        for each in pair:
            while await work(each, lambda args: -1):
                pass
        if n < own.MOST_REFUTED:
            await counted(world, own.REFUTED, n + 1)
    hub = world.running.hub
    assert not await hub.store.read(lambda c: own.fits(c, driver.run))


def test_answers_that_may_depend_on_the_computer_are_not_compared(tmp_path: Path) -> None:
    source = tmp_path / "apps.py"
    source.write_text(
        "from dsage import DistributedFunction, close\n\n\n"
        "class Plain(DistributedFunction):\n    @staticmethod\n    def compute(i):\n        return i\n\n"
        "    def process_result(self, unit, value):\n        pass\n\n\n"
        'class Needy(Plain):\n    needs = ("numpy",)\n\n\n'
        "class Near(Needy):\n    agree = close(rtol=1e-9)\n\n\n"
        "class Same(Plain):\n    homogeneous = True\n"
    )
    said = {
        kind: own_checks.comparable(manifest(pack(f"{source}:{kind}"), "lab"))
        for kind in ("Plain", "Needy", "Near", "Same")
    }
    assert said == {"Plain": True, "Needy": False, "Near": True, "Same": False}


async def test_the_operator_sees_what_was_computed_and_turns_it_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await world.run()
    one, two = await hosts(world, 2)
    await computes(world)
    await driver.make(7, quorum=2, adaptive=True)
    await work(one)
    await work(two)
    await counted(world, own.AGREED, 1)
    monkeypatch.setenv("DSAGE_HOME", str(world.folder))
    shown = await asyncio.to_thread(CliRunner().invoke, own_checks_command, ["--share", "0", "--json"])
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)["data"]
    assert (said["share"], said["agreed"], said["refuted"]) == (0.0, 1, 0)
    assert await world.running.hub.store.read(own.share) == 0.0


async def test_what_was_drawn_is_computed_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "ALIVE_S", 0.05)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        monkeypatch.setattr(own_checks, "check", never)
        driver = await world.run()
        await computes(world)
        one, two = await hosts(world, 2)
        await driver.make(1, 2, 3, quorum=2, adaptive=True)
        drawn = await work(one)
        await work(two)

        async def noted() -> bool:
            return await running.hub.store.write(own.waited) == drawn[1:]

        await until(noted)
    monkeypatch.undo()
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        await counted(World(running, tmp_path, stack), own.AGREED, 1)


async def never(*_: object) -> None:
    """Compute without an end."""
    await asyncio.Event().wait()
