"""A volunteer who reads every page before answering: nothing there says what others answered, or who is checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select, update

from dsage_server.store.schema import credit_sum, volunteer
from dsage_server.testing import World, document, running_server, until

ANSWER = "an-answer-to-copy"
STATES = ('"comparing"', '"reported"', '"leased"', '"ready"')


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def everything(world: World, run: int, units: range, copies: range) -> dict[str, str]:
    """All that is public about a run, by address, as programs and people read it."""
    pages = ["/", "/status", "/projects", f"/run/{run}", *(f"/run/{run}/units?state={s}" for s in ("valid", "failed"))]
    pages += [f"/unit/{number}" for number in units] + [f"/result/{number}" for number in copies]
    found = {}
    async with aiohttp.ClientSession() as session:
        for page in pages:
            path, _, query = page.partition("?")
            twin = ("/index" if path == "/" else path) + ".json" + (f"?{query}" if query else "")
            for address in (page, twin):
                async with session.get(world.running.pages_url + address) as answer:
                    found[address] = await answer.text()
    return found


async def told(world: World, number: int) -> Any:
    """What a unit's page says beyond its number."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.running.pages_url}/unit/{number}.json") as answer,
    ):
        page = (await answer.json())["data"]
    return {name: value for name, value in page.items() if name not in ("unit", "created")}


async def test_who_reads_every_page_learns_neither_answers_nor_holders(world: World) -> None:
    driver = await world.run()
    honest, other = await world.host(), await world.host()
    await world.running.hub.store.write(lambda c: c.execute(update(volunteer).values(public=True)))
    await world.running.hub.store.write(lambda c: c.execute(update(credit_sum).values(public=True)))
    await driver.make(*range(3), quorum=2)
    got = await honest.fetch(2)
    answered, held_only = (document(each).unit for each in got)
    await honest.report(got[:1], [ANSWER])
    await other.fetch(1)
    names = await world.running.hub.store.read(lambda c: c.execute(select(volunteer.c.pseudonym)).scalars().all())
    assert len(names) == 2
    units = range(min(answered, held_only), max(answered, held_only) + 2)
    for address, text in (await everything(world, driver.run, units, range(1, 4))).items():
        assert ANSWER not in text, address
        if address not in ("/", "/index.json"):
            assert not [name for name in names if name in text], address
        for word in ("must agree", "disagree", "needs one more", *(STATES if ".json" in address else ())):
            assert word not in text, (address, word)
    assert await told(world, answered) == await told(world, held_only)


async def test_a_page_changes_only_when_its_unit_is_over(world: World) -> None:
    driver = await world.run()
    first, second = await world.host(), await world.host()
    await driver.make(1, quorum=2)
    one = await first.fetch(1)
    number = document(one[0]).unit
    before = await told(world, number)
    assert before["state"] == "open"
    await first.report(one, [ANSWER])
    two = await second.fetch(1)
    assert await told(world, number) == before
    await second.report(two, [ANSWER])

    async def over() -> bool:
        return bool((await told(world, number))["state"] == "valid")

    await until(over)
    page = await told(world, number)
    assert (page["answer"]["value"], len(page["replicas"])) == (ANSWER, 2)
