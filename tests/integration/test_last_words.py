"""When a run is done, one answer of each host that was taken alone is asked of one more: over real TLS and tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.support.echoes import Answer, right, work, wrong

from dsage import wire
from dsage_server import discovering
from dsage_server.store import standings
from dsage_server.store.schema import last_word, replica, standing, unit
from dsage_server.testing import HandDriver, Host, World, running_server, until
from dsage_validator.reputation import RULES

PROBATION = int(RULES.probation)

pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server that checks no unit of a trusted host before its run is done, and looks at once whether one is."""
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    monkeypatch.setattr(discovering, "IDLE_S", 0.1)
    monkeypatch.setattr(discovering, "AGAIN_S", 0.1)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def asked(host: Host, answer: Answer = right) -> int:
    """The one unit that a host is given as soon as there is something, and answers."""
    found: list[int] = []

    async def there() -> bool:
        found.extend(await work(host, answer))
        return bool(found)

    await until(there)
    (number,) = found
    return number


async def read(world: World, query: Any) -> list[Any]:
    return list(await world.running.hub.store.read(lambda c: c.execute(query).scalars().all()))


async def proven(world: World, driver: HandDriver, n: int) -> list[Host]:
    """Hosts that have confirmed each other often enough."""
    hosts = [await world.host() for _ in range(n)]
    for each in hosts:
        await each.introduce()
    await driver.make(*range(PROBATION), quorum=n, adaptive=True)
    for each in hosts:
        assert len(await work(each)) == PROBATION
    return hosts


async def done(world: World, driver: HandDriver, host: Host, answer: Answer) -> list[int]:
    """A host's word is taken alone for five units, and the run ends with that."""
    await driver.make(*range(500, 505), quorum=2, adaptive=True)
    alone = await work(host, answer)
    assert len(alone) == 5

    async def all_heard() -> bool:
        return set(await read(world, select(unit.c.state))) == {"valid"}

    await until(all_heard)
    heard: dict[int, wire.Answer] = {a.unit: a for a in (await driver.answers()).answers}
    await driver.commit(folded=sorted(heard), replicas=[heard[n].replica for n in sorted(heard)], finished=True)
    return alone


async def nothing_waits(world: World) -> None:
    """Last words were chosen, and nothing is asked any more."""

    async def over() -> bool:
        return await read(world, select(last_word.c.unit_id)) == [None]

    await until(over)


async def test_one_answer_of_each_host_is_confirmed_and_no_more(world: World) -> None:
    driver = await world.run()
    one, two = await proven(world, driver, 2)
    alone = await done(world, driver, one, right)
    number = await asked(two)
    assert number in alone
    await nothing_waits(world)
    assert await two.fetch(5) == []
    assert await read(world, select(func.count()).where(replica.c.unit_id.in_(alone))) == [6]
    assert await read(world, select(func.sum(standing.c.lies))) == [0]


async def test_who_lied_last_is_found_out_after_the_end(world: World) -> None:
    driver = await world.run()
    liar, *others = await proven(world, driver, 4)
    alone = await done(world, driver, liar, wrong)
    number = await asked(others[0])
    await nothing_waits(world)  # the run is over for last words, and not for the unit that is contested now
    for each in others[1:]:
        assert await asked(each) == number, "established hosts contradict each other: a lead of two decides"

    async def fallen() -> bool:
        return await read(world, select(standing.c.lies).where(standing.c.lies > 0)) == [1] and "valid" not in set(
            await read(world, select(unit.c.state).where(unit.c.id.in_(set(alone) - {number})))
        )

    await until(fallen)
    told = await driver.answers(wait_s=20.0)
    assert {a.unit for a in told.retracted} == set(alone)


async def test_a_run_whose_answers_were_all_confirmed_asks_nothing(world: World) -> None:
    driver = await world.run()
    hosts = await proven(world, driver, 2)
    heard = {a.unit: a for a in (await driver.answers(wait_s=20.0)).answers}
    await driver.commit(folded=sorted(heard), replicas=[heard[n].replica for n in sorted(heard)], finished=True)
    await nothing_waits(world)
    assert await hosts[0].fetch(5) == []
