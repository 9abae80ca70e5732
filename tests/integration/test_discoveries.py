"""Discoveries from the step that declares them to the page that shows them, over real TLS and real tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from dsage import codec, wire
from dsage.cli.main import main
from dsage.errors import Conflict, NotAllowed, NotFound, UsageError
from dsage_server.store import discoveries, standings
from dsage_server.testing import HandDriver, Host, World, document, running_server, until


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(standings, "drawn", lambda key, number: 0.99)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def host(world: World) -> Host:
    found = await world.host()
    await found.introduce()
    return found


async def answered(driver: HandDriver, *hosts: Host, quorum: int = 1, value: Any = 7) -> wire.Answer:
    """A unit is made and answered, and its answer heard by the driver."""
    await driver.make(7, quorum=quorum)
    for each in hosts:
        got = await each.fetch(1)
        assert await each.report(got, [value]) == ["ok"]
    (answer,) = (await driver.answers(wait_s=20.0)).answers
    return answer


async def declare(driver: HandDriver, answer: wire.Answer, **more: Any) -> None:
    """The answer is folded, and shows something."""
    said = {"title": "7 is prime", "facts": {"digits": "1"}, "check": "is_prime(7)"} | more.pop("said", {})
    found = wire.Discovered(unit=answer.unit, **said)
    await driver.commit(folded=[answer.unit], replicas=[answer.replica], discoveries=[found], **more)


async def of(driver: HandDriver) -> list[wire.DiscoveryView]:
    return await driver.researcher.discoveries()


async def becomes(driver: HandDriver, state: str) -> wire.DiscoveryView:
    async def there() -> bool:
        return [each.state for each in await of(driver)] == [state]

    await until(there)
    return (await of(driver))[0]


async def public(world: World) -> list[wire.DiscoveryView]:
    return await world.running.hub.store.read(discoveries.public)


async def wish(one: Host, privacy: wire.Privacy) -> None:
    """A volunteer decides anew what is shown of them."""
    await one.conn.call("POST", "/v1/account/privacy", privacy, wire.Privacy, token=one.token)


async def offered(one: Host) -> wire.Assignment:
    """What a host is given, as soon as there is something."""
    got: list[wire.Assignment] = []

    async def there() -> bool:
        got.extend(await one.fetch(1))
        return bool(got)

    await until(there)
    return got[0]


async def test_what_two_volunteers_agree_on_is_confirmed_and_shown_when_published(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    await declare(driver, await answered(driver, one, two, quorum=2))
    view = await becomes(driver, "confirmed")
    assert (view.title, view.facts, view.check) == ("7 is prime", {"digits": "1"}, "is_prime(7)")
    assert view.finder
    assert len(view.confirmers) == 1
    assert view.finder not in view.confirmers
    assert await public(world) == []
    assert (await driver.researcher.run(driver.run)).discoveries == []
    events = await driver.researcher.events(driver.run)
    assert not [each for each in events if "prime" in each.text], "nobody else hears of what is not published"
    published = await driver.researcher.publish(view.id)
    assert published.state == "published"
    assert await driver.researcher.publish(view.id) == published
    assert [each.title for each in await public(world)] == ["7 is prime"]
    assert [each.title for each in (await driver.researcher.run(driver.run)).discoveries] == ["7 is prime"]


@pytest.mark.parametrize("over", [False, True], ids=["running", "done"])
async def test_what_was_taken_alone_is_asked_of_one_more_volunteer(world: World, over: bool) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    await declare(driver, await answered(driver, one), finished=over, result=codec.encode(7) if over else None)
    assert await becomes(driver, "candidate")
    with pytest.raises(Conflict, match="not confirmed"):
        await driver.researcher.publish(1)
    got = await offered(two)
    assert await one.fetch(1) == [], "whoever found it cannot confirm it"
    said = wire.Holding(replica=got.replica, lease=got.lease, cpu_s=1.0)
    assert (await two.exchange(holding=[said])).abort == []
    assert await two.report([got], [7]) == ["ok"]
    view = await becomes(driver, "confirmed")
    assert view.finder
    assert len(view.confirmers) == 1
    assert (await world.view(driver)).state == ("done" if over else "running")
    assert await (await host(world)).fetch(1) == [], "one more is enough"


async def test_a_copy_that_is_lost_on_its_way_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await world.run()
    one, two, three = [await host(world) for _ in range(3)]
    await declare(driver, await answered(driver, one), finished=True, result=codec.encode(7))
    got = await offered(two)
    assert await two.report([got], [None], status="failed", reason="memory") == ["ok"]
    again = await offered(three)
    assert document(again).unit == document(got).unit
    assert await three.report([again], [7]) == ["ok"]
    assert (await becomes(driver, "confirmed")).finder


async def test_an_answer_that_proves_itself_needs_nobody_else(world: World) -> None:
    driver = await world.run("Checked")
    await declare(driver, await answered(driver, await host(world), quorum=2, value=1000))
    view = await becomes(driver, "confirmed")
    assert view.proven
    assert view.confirmers == []


async def test_a_contradiction_has_the_unit_computed_again(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    await declare(driver, await answered(driver, one, value=8))
    got = await offered(two)
    assert await two.report([got], [7]) == ["ok"]

    async def taken_back() -> bool:
        return [each.reason for each in await of(driver)] == [discoveries.FELL]

    await until(taken_back)
    heard = await driver.answers(wait_s=20.0)
    assert [each.unit for each in heard.retracted] == [document(got).unit]
    await driver.commit(retracted=[document(got).unit])
    three = await host(world)
    assert await three.report([await offered(three)], [7]) == ["ok"]
    (answer,) = (await driver.answers(wait_s=20.0)).answers
    await declare(driver, answer)
    (view,) = await of(driver)
    assert (view.id, view.state, view.reason) == (1, "candidate", "")


async def test_a_published_one_whose_answer_falls_shows_a_correction(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    answer = await answered(driver, one, two, quorum=2)
    await declare(driver, answer)
    await driver.researcher.publish((await becomes(driver, "confirmed")).id)
    await driver.researcher.reopen(driver.run, [answer.unit])
    (view,) = await of(driver)
    assert (view.state, view.reason) == ("candidate", discoveries.FELL)
    (shown,) = await public(world)
    assert shown.correction == discoveries.FELL
    assert (shown.finder, shown.confirmers) == ("", [])
    events = await driver.researcher.events(driver.run)
    assert [each.kind for each in events if each.kind in ("discovery", "correction")] == ["discovery", "correction"]
    with pytest.raises(Conflict, match="did not hold"):
        await driver.researcher.publish(view.id)


async def test_a_replay_takes_back_what_its_steps_declared_until_they_declare_it_again(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    first = await answered(driver, one, two, quorum=2)
    await driver.commit(folded=[first.unit], replicas=[first.replica])
    second = await answered(driver, one, two, quorum=2)
    await declare(driver, second)
    await driver.researcher.publish((await becomes(driver, "confirmed")).id)
    await driver.researcher.reopen(driver.run, [first.unit])
    back = await driver.researcher.replay(driver.run, fence=driver.fence)
    (view,) = await of(driver)
    assert (view.state, view.reason) == ("candidate", discoveries.WENT_BACK)
    assert (await public(world))[0].correction == discoveries.WENT_BACK
    driver.step = back.step
    await driver.commit(units=[wire.NewUnit(key="again", args=codec.encode(7), quorum=2)])
    (again,) = [each for each in (await driver.answers(wait_s=20.0)).answers if each.unit == second.unit]
    await declare(driver, again)
    (view,) = await of(driver)
    assert (view.state, view.correction) == ("published", ""), "its own answer never fell"


async def test_names_come_and_go_with_the_consent_of_those_who_bear_them(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    await declare(driver, await answered(driver, one, two, quorum=2))
    view = await becomes(driver, "confirmed")
    await wish(one, wire.Privacy(leaderboard=True))
    (now,) = await of(driver)
    assert now.finder == discoveries.NOBODY
    assert now.confirmers == view.confirmers
    await wish(one, wire.Privacy(discoveries=True))
    assert (await of(driver))[0].finder == view.finder


async def test_the_same_step_twice_declares_once_and_other_facts_wait_anew(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    answer = await answered(driver, one, two, quorum=2)
    found = wire.Discovered(unit=answer.unit, title="7 is prime")
    step = wire.Step(
        fence=driver.fence, step=driver.step + 1, state=b"", folded=[answer.unit], discoveries=[found, found]
    )
    for _ in range(2):
        await driver.researcher.step(driver.run, step)
    driver.step += 1
    view = await becomes(driver, "confirmed")
    await driver.researcher.publish(view.id)
    await driver.commit(discoveries=[wire.Discovered(unit=answer.unit, title="7 is prime", facts={"b": "2"})])
    assert (await public(world))[0].correction == discoveries.CHANGED
    view = await becomes(driver, "confirmed")
    assert view.facts == {"b": "2"}


async def test_what_cannot_be_declared_is_refused_whole(world: World) -> None:
    driver = await world.run()
    one = await host(world)
    answer = await answered(driver, one)
    with pytest.raises(Conflict, match="no folded answer"):
        await driver.commit(discoveries=[wire.Discovered(unit=answer.unit, title="too early")])
    stranger = wire.Discovered(unit=answer.unit + 999, title="another's")
    with pytest.raises(Conflict, match="no folded answer"):
        await driver.commit(folded=[answer.unit], discoveries=[stranger])
    with pytest.raises(UsageError, match="one line"):
        await declare(driver, answer, said={"title": "a\u202eb"})
    assert await of(driver) == []
    await declare(driver, answer)
    assert len(await of(driver)) == 1


async def test_a_researcher_lists_and_publishes_by_command(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def dsage(*argv: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, ["discoveries", *argv])
        told = capsys.readouterr()
        return code, told.out, told.err

    monkeypatch.setenv("DSAGE_HOME", str(world.folder))
    driver = await world.run()
    one, two = await host(world), await host(world)
    assert (await dsage("list"))[1] == "no run of yours has declared a discovery\n"
    await declare(driver, await answered(driver, one, two, quorum=2))
    view = await becomes(driver, "confirmed")
    code, out, err = await dsage("list")
    assert code == 0, err
    assert out.splitlines()[:3] == ["1  confirmed: 7 is prime", "   digits       1", "   check        is_prime(7)"]
    assert f"   found by     {view.finder}" in out
    code, _, err = await dsage("publish", "1")
    assert code == 2
    assert "--yes" in err
    code, out, err = await dsage("publish", "1", "--yes", "--json")
    assert code == 0, err
    assert json.loads(out)["data"][0]["state"] == "published"
    assert "/discovery/1.svg" in err
    assert (await dsage("publish", "2", "--yes"))[0] == 3


async def test_who_may_look_and_publish(world: World) -> None:
    driver = await world.run()
    one, two = await host(world), await host(world)
    await declare(driver, await answered(driver, one, two, quorum=2))
    view = await becomes(driver, "confirmed")
    status, problem, _ = await one.raw("GET", "/v1/discoveries")
    assert (status, problem["code"]) == (403, "not-allowed")
    with pytest.raises(NotFound):
        await driver.researcher.publish(view.id + 1)
    other = b"somebody else's key"
    with pytest.raises(NotAllowed):
        await world.running.hub.store.write(lambda c: discoveries.publish(c, view.id, other, 0.0))
    assert await world.running.hub.store.read(lambda c: discoveries.of_researcher(c, other)) == []
