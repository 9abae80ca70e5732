"""Units whose answer is known, which look like any other: made, sent, answered, paid and judged over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import func, select

from dsage import codec, wire
from dsage_server.store import known, reopening, standings
from dsage_server.store.schema import credit_entry, replica, signed_unit, standing, unit
from dsage_server.store.schema import known as known_table
from dsage_server.testing import HandDriver, Host, World, document, held, running_server, until
from dsage_validator.reputation import RULES
from dsage_validator.unit import Trust

PROBATION = int(RULES.probation)
CERTAIN = 5

pytestmark = pytest.mark.usefixtures("few_are_enough")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server that checks no trusted host by second copies, and makes a known unit with each new one if it can."""
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    monkeypatch.setattr(known, "SHARE", 1.0)
    monkeypatch.setattr(known, "POOL", 1.0)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def asked(world: World, query: Any) -> list[Any]:
    return list(await world.running.hub.store.read(lambda c: c.execute(query).all()))


async def answer(host: Host, got: list[wire.Assignment], more: int = 0) -> None:
    assert set(await host.report(got, [codec.decode(document(each).args) + more for each in got])) == {"ok"}


async def work(host: Host, most: int = 50) -> list[wire.Assignment]:
    got = await host.fetch(most)
    if got:
        await answer(host, got)
    return got


async def established(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[HandDriver, list[Host]]:
    """A run, and three hosts of which two are trusted, and have confirmed each other's answers since they are."""
    driver = await world.run()
    hosts = [await world.host() for _ in range(3)]
    for each in hosts:
        await each.introduce()
    await driver.make(*range(PROBATION), quorum=2, adaptive=True)
    for each in hosts[:2]:
        assert len(await work(each)) == PROBATION
    assert await asked(world, select(known_table.c.id)) == []
    with monkeypatch.context() as patch:
        patch.setattr(standings, "drawn", lambda key, number: 0.0)
        await driver.make(*range(100, 100 + CERTAIN), quorum=2, adaptive=True)
        for each in hosts[:2]:
            assert len(await work(each)) == CERTAIN
    assert await asked(world, select(known_table.c.id)) == [], "what newcomers say of each other is not certain"
    await driver.make(*range(200, 210), quorum=2, adaptive=True)
    return driver, hosts


async def disguised(world: World) -> dict[int, int]:
    """The units that go out once more, by the number under which they do."""
    return dict(await asked(world, select(known_table.c.id, known_table.c.unit_id)))


async def all_of_them(host: Host, made: int) -> list[wire.Assignment]:
    """What a host gets, as soon as it is there."""
    got: list[wire.Assignment] = []

    async def here() -> bool:
        got.extend(await host.fetch(50))
        return len(got) == made

    await until(here)
    return got


async def test_a_known_unit_cannot_be_told_from_the_others_and_pays_like_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, (one, _, three) = await established(world, monkeypatch)
    again = await disguised(world)
    assert len(again) == CERTAIN
    got = await all_of_them(three, 10 + CERTAIN)
    papers = {document(each).unit: document(each) for each in got}
    numbers = sorted(papers)
    assert numbers == list(range(numbers[0], numbers[0] + 10 + CERTAIN)), "they are numbered in one row"
    assert again.keys() < papers.keys()
    assert numbers[-1] not in again
    assert len({each.batch for each in got}) == 1
    same = {msgspec.json.encode(msgspec.structs.replace(each, unit=0, args=b"")) for each in papers.values()}
    assert len(same) == 1, "but for number and arguments they are the same"
    assert {codec.decode(papers[number].args) for number in again} == set(range(100, 100 + CERTAIN))
    theirs = {document(each).unit for each in await one.fetch(50)}
    assert theirs == papers.keys() - again.keys(), "who knows the answer gets none"
    assert len(await asked(world, select(unit.c.id))) == PROBATION + CERTAIN + 10

    reply = await three.exchange(holding=[held(each) for each in got])
    assert reply.abort == []
    await answer(three, got)
    assert await until_verdict(world, again) == {"valid"}
    paid = await asked(world, select(func.sum(credit_entry.c.amount_milli)).where(of_host(three)))
    assert paid == [(1000 * CERTAIN,)], "the others wait for somebody else"
    passed = await asked(world, select(standing.c.passed, standing.c.lies).where(standing.c.host_id == 3))
    assert passed == [(pytest.approx(CERTAIN, abs=0.01), 0)]
    heard = await driver.answers()
    assert {codec.decode(each.args) for each in heard.answers} == {*range(PROBATION), *range(100, 100 + CERTAIN)}
    assert heard.open_units == 10
    assert await three.report(got, [codec.decode(document(each).args) for each in got]) == ["ok"] * len(got)
    assert await disguised(world) == again, "each is known once"
    await driver.make(300, quorum=2, adaptive=True)
    assert await disguised(world) == again


async def shown(world: World, number: int) -> Any:
    """What anybody may see of a unit."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.running.pages_url}/unit/{number}.json") as response,
    ):
        return (await response.json())["data"]


async def test_no_page_tells_which_they_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, (_, _, three) = await established(world, monkeypatch)
    again = await disguised(world)
    waiting = await asked(world, select(unit.c.id).where(unit.c.state == "ready"))
    row = {number for (number,) in waiting} | again.keys()
    fixed = {"unit", "created"}

    async def told() -> set[str]:
        pages = [await shown(world, number) for number in sorted(row)]
        return {str({name: page[name] for name in sorted(page.keys() - fixed)}) for page in pages}

    before = await told()
    assert len(before) == 1
    got = await all_of_them(three, 10 + CERTAIN)
    assert await told() == before
    await answer(three, got)
    assert await until_verdict(world, again) == {"valid"}
    assert await told() == before, "nor when their answers are in"
    for number in again.values():
        page = await shown(world, number)
        assert (page["state"], page["args"]["value"], page["answer"]["value"], page["key"]) == ("open", None, None, "")
        assert page["replicas"] == []
    assert len(got) == len(row)
    await driver.commit(failed="enough of it")

    async def open_now() -> bool:
        return (await shown(world, min(again.values())))["args"]["value"] is not None

    await until(open_now)


async def test_who_answers_one_wrong_is_found_lying_and_the_run_learns_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, (_, _, three) = await established(world, monkeypatch)
    heard = await driver.answers()
    got = await all_of_them(three, 10 + CERTAIN)
    again = await disguised(world)
    trap = [each for each in got if document(each).unit in again][:1]
    await answer(three, trap, more=1)
    assert await asked(world, select(standing.c.lies).where(standing.c.host_id == 3)) == [(1,)]
    assert await asked(world, select(credit_entry.c.id).where(of_host(three))) == []
    assert {each.unit for each in (await driver.answers()).answers} == {each.unit for each in heard.answers}

    async def looked_at() -> bool:
        held_by_it = await asked(world, select(replica.c.trust).where(replica.c.state == "leased"))
        return set(held_by_it) == {(Trust.LOST,)}

    await until(looked_at)


async def test_a_known_unit_waits_until_what_was_made_after_it_goes_out_and_no_longer_than_its_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, (_, _, three) = await established(world, monkeypatch)
    again = await disguised(world)
    ready = await asked(world, select(unit.c.id).where(unit.c.state == "ready").order_by(unit.c.id))
    before = [number for number in again if number < ready[0][0]]
    assert await asked(world, select(known_table.c.released).where(known_table.c.released.is_not(None))) == []
    (held_one,) = await three.fetch(1)
    assert document(held_one).unit == ready[0][0]

    async def released() -> bool:
        query = select(known_table.c.id).where(known_table.c.released.is_not(None))
        return {number for (number,) in await asked(world, query)} == set(before)

    await until(released)
    await driver.commit(finished=True)
    hub = world.running.hub
    over = await hub.store.read(known.over)
    assert set(over) == set(again)
    await hub.store.write(lambda c: known.drop(c, over))
    assert await disguised(world) == {}
    assert await asked(world, select(signed_unit.c.unit_id).where(signed_unit.c.unit_id.in_(again))) == []


async def test_one_whose_answer_is_certain_no_more_never_goes_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, (_, _, three) = await established(world, monkeypatch)
    again = await disguised(world)
    hub = world.running.hub
    await hub.store.write(lambda c: reopening.reopen(c, driver.run, list(again.values()), hub.clock()), then=hub.learn)
    got = await all_of_them(three, 10 + CERTAIN)
    assert not {document(each).unit for each in got} & again.keys()
    assert {document(each).unit for each in got} > set(again.values()), "the units themselves are asked again"

    async def gone() -> bool:
        left = (await disguised(world)).keys()
        return all(number > max(document(each).unit for each in got) for number in left)

    await until(gone)


@pytest.mark.parametrize(("kind", "made"), [("Plain", 1), ("Checked", 0)])
async def test_apps_whose_answers_prove_themselves_need_none(world: World, kind: str, made: int) -> None:
    info = await world.running.hub.run((await world.run(kind)).run)
    entry = wire.NewUnit(key="k", args=b"", quorum=2, adaptive=True)
    assert known.wanted([entry], info.manifest) == made
    assert known.wanted([msgspec.structs.replace(entry, adaptive=False)], info.manifest) == 0


async def until_verdict(world: World, again: dict[int, int]) -> set[str]:
    """The states of the copies that went out as known units, once they are judged."""
    query = select(replica.c.state).join(known_table, known_table.c.replica_id == replica.c.id)
    found: set[str] = set()

    async def judged() -> bool:
        found.clear()
        found.update(state for (state,) in await asked(world, query))
        return "reported" not in found

    await until(judged)
    return found


def of_host(host: Host) -> Any:
    """Whether credit is that of a host's volunteer."""
    return credit_entry.c.volunteer_id == host.volunteer
