"""A volunteer who reads all there is before answering: nothing says what others answered, or who is checked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import select, update

from dsage.wire import Assignment
from dsage_server import shared
from dsage_server.store import schema as tables
from dsage_server.store.schema import credit_sum, volunteer
from dsage_server.testing import HandDriver, World, document, running_server, until

ANSWER = "an-answer-to-copy"
STATES = ('"comparing"', '"reported"', '"leased"', '"ready"')


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def everything(world: World, run: int, units: range, copies: range) -> dict[str, str]:
    """All that is public about a run, by address, as people and programs read it, without a login."""
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
    asked = "&".join(f"unit={number}" for number in units)
    views = ["", "/events", "/credit", f"/finders?{asked}"]
    for path in ("/v1/status", "/v1/runs", *(f"/v1/runs/{run}{view}" for view in views)):
        found[path] = msgspec.json.encode(await asked_of_the_machine_api(world, path)).decode()
    return found


async def asked_of_the_machine_api(world: World, path: str) -> Any:
    """What the machine API tells whoever has no token."""
    conn = world.runs[0].researcher._conn
    return msgspec.msgpack.decode(await conn.call("GET", path, None, bytes))


async def twin(world: World, page: str) -> Any:
    """What a page says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.running.pages_url}{page}.json") as answer,
    ):
        return (await answer.json())["data"]


async def told(world: World, number: int) -> Any:
    """What a unit's page says beyond its number."""
    page = await twin(world, f"/unit/{number}")
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


async def test_the_machine_api_says_no_more_than_the_pages_whatever_state_a_unit_is_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a unit that nobody has yet to answers that contradict each other, are accepted, refused, given up and called
    off: a stranger reads the same in both places, and of the unit nothing until its page says that it is over."""
    monkeypatch.setattr(shared._Making, "stale", lambda made, now: True)
    driver = await world.run()
    people = [await world.host() for _ in range(5)]
    await world.running.hub.store.write(lambda c: c.execute(update(volunteer).values(public=True)))
    await world.running.hub.store.write(lambda c: c.execute(update(tables.host).values(last_seen=time.time() + 3600.0)))
    await driver.make(1, quorum=2)
    number = (await driver.researcher.units(driver.run)).units[0].unit
    seen = [await compared(world, driver, number)]
    got: list[Assignment] = []
    for host, word in zip(people[:3], (ANSWER, "another", ANSWER), strict=True):
        got = await host.fetch()
        seen.append(await compared(world, driver, number))
        assert await host.report(got, [word]) == ["ok"]
        seen.append(await compared(world, driver, number))
    assert [state for state, _ in seen[:-1]] == ["open"] * 6
    assert len({told for _, told in seen[:-1]}) == 1, "it reads the same all the time"
    assert seen[-1][0] == "valid"
    await driver.researcher.reopen(driver.run, [number])
    assert (await compared(world, driver, number))[0] == "open"
    for host in people[3:]:
        got = await host.fetch()
        assert (await compared(world, driver, number))[0] == "open"
        assert await host.report(got, ["third"]) == ["ok"]
    assert (await compared(world, driver, number))[0] == "valid"
    await driver.make(2, group="called off", quorum=2)
    await people[0].fetch()
    called_off = number + 1
    assert (await compared(world, driver, called_off))[0] == "open"
    await driver.commit(cancel_groups=["called off"])
    assert (await compared(world, driver, called_off))[0] == "open", "its answer may come late"
    await driver.make(3, quorum=2, retries=0)
    got = await people[1].fetch()
    assert (await compared(world, driver, number + 2))[0] == "open"
    assert await people[1].report(got, [None], status="failed", reason="crash") == ["ok"]
    assert (await compared(world, driver, number + 2))[0] == "failed"
    await driver.make(4)
    lone = number + 3
    assert await people[2].report(await people[2].fetch(), [4]) == ["ok"]
    assert (await compared(world, driver, lone))[0] == "valid"
    await world.running.hub.store.write(lambda c: c.execute(update(tables.unit).values(adaptive=True)))
    assert (await compared(world, driver, lone))[0] == "open", "taken on one word, it may still be checked"
    await driver.commit(failed="it makes no sense")
    assert (await compared(world, driver, number))[0] == "valid"


async def compared(world: World, driver: HandDriver, number: int) -> tuple[str, str]:
    """Hold what the machine API tells a stranger of a run against what the pages say; return a unit's state as its page
    has it, and the whole of what was told of the run."""
    run = driver.run
    unit, page, glance, *told = await read_together(world, run, number)
    view, listed, status, events, credit, finders = told
    for each in (view, *listed, *status["runs"]):
        for name in ("state", "units", "replicas", "reason", "volunteers"):
            assert each[name] == page["run"][name], name
    for name in ("units", "replicas"):
        assert status[name] == glance[name], name
    assert [(each["id"], each["text"]) for each in reversed(events)] == [(e["id"], e["text"]) for e in page["events"]]
    shares = {share["pseudonym"]: share["credit"] for share in page["shares"]}
    assert {name: milli / 1000 for name, milli in credit.items()} == shares
    accepted = [copy["pseudonym"] for copy in unit.get("replicas", ()) if copy["accepted"]]
    assert [each["unit"] for each in finders] == ([number] if accepted else [])
    view.pop("driver_seen")
    return unit["state"], msgspec.json.encode([view, events, credit, finders]).decode()


async def read_together(world: World, run: int, number: int) -> list[Any]:
    """Pages, and views of the machine API, between which nothing happened: credit is added up when there is time."""
    while True:
        before = await twin(world, f"/run/{run}")
        found = [await twin(world, f"/unit/{number}"), before, await twin(world, "/status")]
        for path in (f"/v1/runs/{run}", "/v1/runs", "/v1/status"):
            found.append(await asked_of_the_machine_api(world, path))
        for path in ("events", "credit", f"finders?unit={number}"):
            found.append(await asked_of_the_machine_api(world, f"/v1/runs/{run}/{path}"))
        after = await twin(world, f"/run/{run}")
        if all(after[name] == before[name] for name in ("run", "events", "shares")):
            return found
