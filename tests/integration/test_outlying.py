"""Hosts that stand out, over real TLS, with hosts that are moved by hand: checked more, told to rest, and shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from dsage import codec
from dsage_server import outlying
from dsage_server.fleet_cli import apps as apps_command
from dsage_server.fleet_cli import hosts as hosts_command
from dsage_server.store import events, outliers, standings
from dsage_server.store.schema import host as host_table
from dsage_server.store.schema import outlying as outlying_table
from dsage_server.store.schema import replica, standing, unit
from dsage_server.testing import HandDriver, Host, World, document, running_server, until
from dsage_validator.outliers import AUDIT, FEWEST, PEOPLE, Kind
from dsage_validator.reputation import RULES
from dsage_validator.unit import Trust

PROBATION = int(RULES.probation)

pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server of whose units only those of hosts that stand out are checked, and all of those."""
    monkeypatch.setattr(standings, "drawn", lambda key, number: (RULES.audit + AUDIT) / 2)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def hosts(world: World, n: int) -> list[Host]:
    found = [await world.host() for _ in range(n)]
    for each in found:
        await each.introduce()
    return found


async def work(host: Host, answer: Callable[[int], Any] = lambda args: args, most: int = 50) -> list[int]:
    """A host takes what it gets, and answers; returns the units."""
    got = await host.fetch(most)
    if got:
        assert set(await host.report(got, [answer(codec.decode(document(each).args)) for each in got])) == {"ok"}
    return [document(each).unit for each in got]


async def number_of(world: World, host: Host) -> int:
    query = select(host_table.c.id).where(host_table.c.volunteer_id == host.volunteer)
    return int(await world.running.hub.store.read(lambda c: c.execute(query).scalar_one()))


async def trusts(world: World, units: list[int]) -> set[int]:
    query = select(replica.c.trust).where(replica.c.unit_id.in_(units))
    return set(await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()))


async def command(world: World, monkeypatch: pytest.MonkeyPatch, what: Any, *words: str) -> Result:
    monkeypatch.setenv("DSAGE_HOME", str(world.folder))
    shown = await asyncio.to_thread(CliRunner().invoke, what, list(words))
    assert shown.exit_code == 0, shown.output
    return shown


async def crowded(world: World, driver: HandDriver) -> list[Host]:
    """Hosts that each have answered enough to be compared, one of them far too fast."""
    found = await hosts(world, PEOPLE + 1)
    for n, each in enumerate(found):
        await driver.make(*range(100 * n, 100 * n + FEWEST), quorum=2)
        assert len(await work(each)) == FEWEST == len(await work(found[n - 1]))
    took = 60.0 + replica.c.id % 11
    fast = await number_of(world, found[0])
    await world.running.hub.store.write(
        lambda c: (
            c.execute(update(replica).values(reported=replica.c.leased + 500, cpu_s=took)),
            c.execute(update(replica).where(replica.c.host_id == fast).values(cpu_s=took / 1000)),
        )
    )
    return found


async def test_a_host_that_stands_out_is_checked_and_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await world.run()
    fast, other = await hosts(world, 2)
    await driver.make(*range(PROBATION), quorum=2, adaptive=True)
    await work(fast)
    await work(other)
    number, hub = await number_of(world, fast), world.running.hub
    await driver.make(*range(100, 110), quorum=2, adaptive=True)
    assert await trusts(world, await work(fast)) == {Trust.ALONE}

    (app,) = {each.app for each in [document(each) for each in await _made(driver, fast)]}
    sign = outliers.Sign(host=number, app=app, kind=Kind.FAST, sentence="It is fast.", figures={"fast": 9.0, "of": 9.0})
    await hub.store.write(lambda c: outliers.note(c, [number], {app}, [sign], hub.clock()))
    await driver.make(*range(300, 305), quorum=2, adaptive=True)
    checked = await work(fast)
    assert await trusts(world, checked) == {Trust.KNOWN}, "another host is asked as well"
    assert set(await work(other)) >= set(checked)

    shown = await command(world, monkeypatch, hosts_command, "--flagged")
    heading, line, why = shown.stdout.splitlines()
    assert " ".join(heading.split()) == "HOST VOLUNTEER PLATFORM CLIENT RIGHT WRONG ERRORS LOST CHECKS LIES AUDIT"
    assert line.split()[0] == str(number)
    assert line.split()[-1] == f"{AUDIT:.0%}"
    assert "! fast" in why
    assert "It is fast." in why
    said = json.loads((await command(world, monkeypatch, hosts_command, "--json")).stdout)
    assert {each["host"]: [odd["kind"] for odd in each["odd"]] for each in said["data"]} == {
        number: ["fast"], await number_of(world, other): [],
    }  # fmt: skip
    one = await command(world, monkeypatch, hosts_command, str(number))
    assert app[:12] in one.stdout
    assert "It is fast." in one.stdout
    cells = await command(world, monkeypatch, apps_command)
    assert "test" in cells.stdout.splitlines()[1].split()
    few = json.loads((await command(world, monkeypatch, apps_command, "--copies", "3", "--json")).stdout)["data"]
    assert sum(each[what] for each in few["cells"] for what in ("right", "wrong", "errors", "lost", "away")) == 3


async def _made(driver: HandDriver, host: Host) -> list[Any]:
    """One more unit that a host holds and hands back by answering."""
    await driver.make(200, quorum=1)
    got = await host.fetch(1)
    await host.report(got, [200])
    return got


async def test_the_background_task_finds_who_is_too_fast(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlying, "LOOK_S", 0.01)
    monkeypatch.setattr(outlying, "PAUSE_S", 0.0)
    driver = await world.run()
    fast = (await crowded(world, driver))[0]
    task = asyncio.create_task(outlying.watch(world.running.hub))

    async def found() -> bool:
        query = select(outlying_table.c.host_id, outlying_table.c.kind)
        return (await world.running.hub.store.read(lambda c: c.execute(query).all())) != []

    await until(found)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    query = select(outlying_table.c.host_id, outlying_table.c.kind, outlying_table.c.ended)
    rows = await world.running.hub.store.read(lambda c: c.execute(query).all())
    assert rows == [(await number_of(world, fast), "fast", None)]
    query = select(standing.c.audit).where(standing.c.host_id == rows[0].host_id)
    assert await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()) == [AUDIT]


async def test_a_host_with_faulty_memory_is_told_and_rests_and_what_it_said_alone_is_looked_at(world: World) -> None:
    driver = await world.run()
    faulty, one, two, three = await hosts(world, 4)
    await driver.make(*range(40), quorum=3, adaptive=True)
    for each in (faulty, one, two):
        assert len(await work(each)) == 40
    await driver.make(*range(100, 103), quorum=2, adaptive=True)
    alone = await work(faulty)
    await driver.make(200, 201, quorum=2, adaptive=True)
    got = await faulty.fetch(2)
    await faulty.report(got, [None, None], status="failed", reason="crash")
    answered: list[int] = []

    async def answered_elsewhere() -> bool:
        answered.extend(await work(one))
        return len(answered) == 2

    await until(answered_elsewhere)
    hub = world.running.hub
    number = await number_of(world, faulty)
    await hub.store.write(lambda c: c.execute(update(standing).where(standing.c.host_id == number).values(audit=1.0)))
    await driver.make(300, quorum=2, adaptive=True)
    await work(faulty, lambda args: args + 1)
    for each in (one, two, three):
        await work(each)

    async def reopened() -> bool:
        query = select(unit.c.state).where(unit.c.id.in_(alone))
        looked = not await hub.store.read(standings.due)
        return looked and set(await hub.store.read(lambda c: c.execute(query).scalars().all())) == {"ready"}

    await until(reopened)
    lies = select(standing.c.lies).where(standing.c.host_id == number)
    assert await hub.store.read(lambda c: c.execute(lies).scalars().all()) == [0]
    news = [each.text for each in await hub.store.read(lambda c: events.since(c, 0, limit=1000))]
    assert any(f"computer {number} seems to have faulty memory" in text for text in news)
    hub.exchanges.crowd.forget(number)
    reply = await faulty.exchange(want=5)
    assert reply.units == []
    assert reply.reason == outliers.RESTS
    await hub.store.write(
        lambda c: c.execute(update(outlying_table).values(began=outlying_table.c.began - outliers.REST_S))
    )
    hub.exchanges.crowd.forget(number)
    assert len((await faulty.exchange(want=5)).units) == 0, "what it answered before is for others"
    await driver.make(400, quorum=2, adaptive=True)
    assert len((await faulty.exchange(want=5)).units) == 1
