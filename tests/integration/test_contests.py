"""Contested answers whose run ends, is paused or is closed meanwhile: the next volunteer is asked all the same."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from echoes import right, work, wrong
from sqlalchemy import Connection, select

from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage_server import contesting, neighbours
from dsage_server.neighbours import Message
from dsage_server.server import serving
from dsage_server.store import standings, units
from dsage_server.store.schema import replica
from dsage_server.testing import HandDriver, Host, World, document, local_settings, until
from dsage_validator import life
from dsage_validator.reputation import RULES

pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server that checks no unit of a trusted host, and looks for contests, or at the tables, when it is told to."""
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    monkeypatch.setattr(contesting, "AGAIN_S", 1e6)
    monkeypatch.setattr(neighbours, "LOOK_S", 1e6)
    home = Home(tmp_path)
    settings = dataclasses.replace(local_settings(home), metrics="127.0.0.1:0")
    async with serving(home, settings) as running, AsyncExitStack() as stack:
        Login(link=str(running.link()), key=LAB).save(home)
        yield World(running, tmp_path, stack)


async def contested(world: World, driver: HandDriver) -> tuple[int, Host]:
    """A unit whose answer a newcomer contests, and that waits for one more volunteer; and one who may have it."""
    one, other, late = [await world.host() for _ in range(3)]
    for each in (one, other, late):
        await each.introduce()
    await driver.make(*range(int(RULES.probation)), quorum=2, adaptive=True)
    for each in (one, other):
        await work(each)
    await driver.make(77, quorum=2, adaptive=True)
    (held,) = await late.fetch()
    hub, number = world.running.hub, document(held).unit

    def run_out(connection: Connection) -> list[units.Changed]:
        book = units.Book.of(connection, [number])
        book.now[number] = life.expire(book.now[number], 1e12)
        return book.write(hub.clock())

    await hub.store.write(run_out, then=hub.learn)

    async def taken() -> bool:
        return await work(one) == [number]

    await until(taken)
    assert await late.report([held], [wrong(77)]) == ["ok"]

    async def waits() -> bool:
        return hub.ready.unsent == 1

    await until(waits)
    assert await counted(world) == 1
    return number, other


async def counted(world: World) -> float:
    """How many contested units the server tells Prometheus of."""
    async with aiohttp.ClientSession() as session, session.get(world.running.metrics_url) as got:
        found = re.search(r"^dsage_contested_units (\S+)$", await got.text(), re.MULTILINE)
    assert found
    return float(found[1])


async def decided(world: World, number: int, other: Host) -> None:
    """The other one is asked, and that decides."""

    async def asked() -> bool:
        return await work(other, right) == [number]

    await until(asked)
    query = select(replica.c.state).where(replica.c.unit_id == number).order_by(replica.c.id)

    async def refused() -> bool:
        found = await world.running.hub.store.read(lambda c: c.execute(query).scalars().all())
        return list(found) == ["invalid", "valid", "valid"]

    await until(refused)
    assert await counted(world) == 0


async def finish(driver: HandDriver) -> None:
    """The driver folds what it has and ends the run."""
    told = {answer.unit: answer.replica for answer in (await driver.answers()).answers}
    await driver.commit(folded=sorted(told), replicas=[told[n] for n in sorted(told)], finished=True)


async def by_its_driver(world: World, driver: HandDriver, _: Host) -> None:
    await finish(driver)


async def by_another_process(world: World, driver: HandDriver, _: Host) -> None:
    await finish(driver)
    await world.running.hub.neighbours._hear(Message(world.running.hub.store.slot + 1, over={driver.run}))


async def by_a_look_at_the_tables(world: World, driver: HandDriver, _: Host) -> None:
    await finish(driver)
    await world.running.hub.look()


async def by_a_pause(world: World, driver: HandDriver, other: Host) -> None:
    await driver.researcher.pause(driver.run)
    assert await work(other) == []
    await driver.researcher.resume(driver.run)


@pytest.mark.parametrize("closed", [by_its_driver, by_another_process, by_a_look_at_the_tables, by_a_pause])
async def test_who_is_to_decide_is_asked_though_the_run_was_closed_in_the_queue(
    world: World, closed: Callable[[World, HandDriver, Host], Awaitable[None]]
) -> None:
    driver = await world.run()
    number, other = await contested(world, driver)
    await closed(world, driver, other)
    await decided(world, number, other)
