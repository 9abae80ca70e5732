"""Answers that were accepted, folded, and turn out not to hold: over real TLS, with real drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dsage import DistributedFunction, Unit, codec, wire
from dsage.driver import Driver
from dsage.errors import Conflict, NotAllowed, NotFound, Reopened
from dsage.states import RunState
from dsage_server.retention.archive import archive_run
from dsage_server.sessions import Session
from dsage_server.store import reopening
from dsage_server.store.schema import unit as units_table
from dsage_server.testing import HandDriver, Host, World, running_server, until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def answer(host: Host, value: Any) -> None:
    """A host fetches one unit and answers it."""
    (got,) = await host.fetch(1)
    assert await host.report([got], [value]) == ["ok"]


async def folded(world: World, value: Any = 13) -> tuple[HandDriver, Host, int]:
    """A run has folded one answer; return its driver, the host that gave it, and the unit."""
    liar = await world.host()
    await liar.introduce()
    driver = await world.run()
    await driver.make(7)
    await answer(liar, value)
    (heard,) = (await driver.answers()).answers
    await driver.commit(folded=[heard.unit], replicas=[heard.replica])
    return driver, liar, heard.unit


async def test_a_folded_answer_is_told_to_the_driver_until_it_has_taken_it_back(world: World) -> None:
    driver, liar, unit = await folded(world)

    await driver.researcher.reopen(driver.run, [unit])

    heard = await driver.answers(wait_s=20.0)
    assert [(a.unit, codec.decode(a.args), codec.decode(a.value or b"")) for a in heard.retracted] == [(unit, 7, 13)]
    assert (heard.answers, heard.open_units, heard.state_of_run) == ([], 1, "running")
    assert await liar.fetch(1) == [], "who was refused is not asked again"
    honest = await world.host()
    await honest.introduce()
    await answer(honest, 7)
    assert (await driver.answers()).answers == [], "the new answer waits until the old one is taken back"
    with pytest.raises(Reopened):
        await driver.commit(finished=True, result=codec.encode(13))
    await driver.commit(retracted=[unit])
    heard = await driver.answers()
    assert heard.retracted == []
    assert [codec.decode(a.value or b"") for a in heard.answers] == [7]
    await driver.commit(folded=[unit], replicas=[heard.answers[0].replica])
    with pytest.raises(Conflict, match="takes back"):
        await driver.commit(retracted=[unit])


async def test_a_run_that_was_done_goes_on_and_shows_its_old_result_until_it_is_corrected(world: World) -> None:
    driver, _, unit = await folded(world)
    await driver.commit(finished=True, result=codec.encode(13))

    await driver.researcher.reopen(driver.run, [unit])

    view = await world.view(driver)
    assert (view.state, view.result, view.finished) == ("running", codec.encode(13), None)
    honest = await world.host()
    await honest.introduce()
    await answer(honest, 7)
    await driver.commit(retracted=[unit])
    await driver.commit(folded=[unit])
    await driver.commit(finished=True, result=codec.encode(7))
    view = await world.view(driver)
    assert (view.state, view.result) == ("done", codec.encode(7))
    told = {event.kind: event.text for event in await driver.researcher.events(driver.run)}
    assert "a folded answer did not hold; the result is being corrected" in told["correcting"]
    assert told["corrected"] == f"run {driver.run} ended again: its result was corrected"


async def test_what_the_end_had_cancelled_is_wanted_again_and_what_the_driver_cancelled_is_not(world: World) -> None:
    driver, _, unit = await folded(world)
    await driver.make(1, group="wanted")
    await driver.make(2, group="not")
    await driver.commit(cancel_groups=["not"])
    await driver.commit(finished=True, result=codec.encode(13))
    assert (await world.view(driver)).units["cancelled"] == 2

    await driver.researcher.reopen(driver.run, [unit])

    counts = (await world.view(driver)).units
    assert (counts["ready"], counts.get("cancelled", 0)) == (2, 1)


async def test_an_answer_that_was_not_folded_is_simply_computed_again(world: World) -> None:
    liar, honest = await world.host(), await world.host()
    await liar.introduce()
    await honest.introduce()
    driver = await world.run()
    await driver.make(7)
    await answer(liar, 13)
    (heard,) = (await driver.answers()).answers
    await driver.researcher.reopen(driver.run, [heard.unit])
    await answer(honest, 7)

    with pytest.raises(Reopened):
        await driver.commit(folded=[heard.unit], replicas=[heard.replica])

    found = await driver.answers()
    assert [codec.decode(a.value or b"") for a in found.answers] == [7]
    assert found.retracted == []


async def test_a_replay_goes_back_and_takes_up_what_was_done(world: World) -> None:
    """Step 1 makes a unit, step 2 folds a lie and makes two of it, step 3 folds one of these."""
    driver, _, unit = await folded(world)
    await driver.make(21, 22)
    host = await world.host()
    await host.introduce()
    got = await host.fetch(2)
    assert await host.report(got, [21, 22]) == ["ok", "ok"]
    heard = (await driver.answers()).answers
    await driver.commit(folded=[heard[0].unit])
    await driver.researcher.reopen(driver.run, [unit])

    back = await driver.researcher.replay(driver.run, fence=driver.fence)

    assert (back.step, back.fence, back.open_units) == (driver.step, driver.fence, 1)
    again = await driver.researcher.replay(driver.run, fence=driver.fence)
    assert again == back
    assert (await driver.answers()).answers == [], "the two units are not the run's any more"
    await driver.make(21)
    (adopted,) = (await driver.answers()).answers
    assert adopted.unit in (heard[0].unit, heard[1].unit)
    assert codec.decode(adopted.value or b"") == 21
    with pytest.raises(Conflict, match="another driver"):
        await driver.researcher.replay(driver.run, fence=driver.fence - 1)


async def test_who_may_and_what_may_be_reopened(world: World) -> None:
    driver, _, unit = await folded(world)
    with pytest.raises(NotFound, match="no unit"):
        await driver.researcher.reopen(driver.run, [unit + 1000])
    with pytest.raises(NotFound, match="no run"):
        await driver.researcher.reopen(driver.run + 1000, [unit])
    hub = world.running.hub
    with pytest.raises(NotAllowed):
        await hub.control.reopen(_somebody_else(hub), driver.run, _chosen(unit))
    await driver.make(1, group="g")
    await driver.commit(cancel_groups=["g"])
    cancelled = max(await _units(world, driver.run))
    with pytest.raises(Conflict, match="is cancelled"):
        await driver.researcher.reopen(driver.run, [unit, cancelled])
    assert (await driver.answers()).retracted == [], "all or none"
    await driver.commit(failed="enough")
    with pytest.raises(Conflict, match="is failed"):
        await driver.researcher.reopen(driver.run, [unit])


async def test_the_rows_of_an_archived_run_are_not_opened_again(world: World, tmp_path: Path) -> None:
    driver, _, unit = await folded(world)
    await driver.commit(finished=True, result=codec.encode(13))
    hub = world.running.hub

    async def archived() -> bool:
        with suppress(Conflict):  # its sums are still being brought up to date
            await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
            return True
        return False

    await until(archived)
    with pytest.raises(Conflict, match="archive"):
        await driver.researcher.reopen(driver.run, [unit])


class Plain(DistributedFunction):
    """Each answer makes one more unit, up to three; lies and all."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.seen: list[int] = []

    def units(self) -> Any:
        yield Unit(1, quorum=1)

    @staticmethod
    def compute(i: int) -> int:
        return i

    def process_result(self, unit: Unit, value: int) -> None:
        self.seen.append(value)
        self.result = list(self.seen)
        if value < 3:
            self.submit(Unit(value + 1, quorum=1))


async def test_a_real_driver_corrects_a_run_that_was_done(world: World) -> None:
    """A lie ended the run early; refused, the run goes on to its true end."""
    made = await world.run()
    function = Plain()
    liar, honest = await world.host(), await world.host()
    await liar.introduce()
    await honest.introduce()
    driver = asyncio.create_task(Driver(function, made.researcher, made.run).drive())
    await _answer_next(liar, 9)
    ended = await driver
    assert ended.result == [9]
    (unit,) = await _units(world, made.run)
    await world.running.hub.store.write(lambda c: reopening.reopen(c, made.run, [unit], 0.0))
    await world.running.hub.begin(made.run)

    driver = asyncio.create_task(Driver(function, made.researcher, made.run).drive())
    for value in (1, 2, 3):
        await _answer_next(honest, value)

    assert (await driver).result == [1, 2, 3]
    assert (await world.view(made)).state == RunState.DONE


async def _answer_next(host: Host, value: int) -> None:
    got = await host.fetch(1, wait_s=20.0)
    assert await host.report(got, [value]) == ["ok"]


async def _units(world: World, run: int) -> list[int]:
    query = select(units_table.c.id).where(units_table.c.run_id == run)
    return await world.running.hub.store.read(lambda c: list(c.execute(query).scalars()))


def _somebody_else(hub: Any) -> Any:
    return Session(role="researcher", key=b"somebody else", expires=hub.clock() + 60.0)


def _chosen(*units: int) -> Any:
    return wire.Chosen(units=list(units))
