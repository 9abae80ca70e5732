"""Volunteers who want credit without work, or want to spoil the work of others, against a real server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest

from dsage import codec, wire
from dsage.errors import RolledBack, TooLarge, UsageError
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.ceremony import sign_root
from dsage.trust.documents import SignedResult
from dsage.trust.envelope import Signature, seal
from dsage_server.scheduling import resting
from dsage_server.scheduling.record import FIRST, RECOVERY_S, HostRecord
from dsage_server.store import credit, views
from dsage_server.store.meta import remember
from dsage_server.testing import HandDriver, Host, World, running_server, until
from dsage_validator import issuing


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def credits_of(world: World, run: HandDriver) -> int:
    """Everything that the run paid so far, added up now."""
    store = world.running.hub.store
    while await store.write(credit.fold):
        pass
    return sum((await store.read(lambda c: views.credit_of_run(c, run.run))).values())


async def page(world: World, path: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(world.running.pages_url + path, headers=headers) as got:
        return got.status, await got.read()


async def test_an_answer_longer_than_its_unit_allows_is_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "FIRST_REST_S", 0.0)
    host, run = await world.host(), await world.run()
    await run.make(1, output_bytes=100)
    assert await host.report(await host.fetch(), ["x" * 200]) == ["ok"]
    assert (await world.view(run)).replicas == {"error": 1}
    got = await host.fetch(wait_s=25.0)
    fits = os.urandom(98)
    assert len(codec.encode(fits)) == 100
    assert await host.report(got, [fits]) == ["ok"]
    assert (await world.view(run)).units == {"valid": 1}


async def test_what_is_kept_of_a_call_is_bounded(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    batch, reports = host.signed(got, [codec.encode(1)])
    stuffing = [SignedResult(replica=n, lease=b"", unit=0, app="", status="", value="") for n in range(2000)]
    long = msgspec.structs.replace(batch, results=[*batch.results, *stuffing])
    with pytest.raises(TooLarge, match="proof"):
        await host.exchange(reports=reports, proof=seal(long, host.key))
    good = seal(batch, host.key)
    padded = msgspec.structs.replace(good, signatures=[*good.signatures, Signature(b"x", bytes(1 << 20))])
    with pytest.raises(TooLarge, match="proof"):
        await host.exchange(reports=reports, proof=padded)
    assert await host.report(got, [1], status="failed", value="", reason="<b>come to evil.example</b>" * 1000) == [
        "refused"
    ]
    assert await host.report(got, [1], status="failed", reason="<b>come to evil.example</b>" * 1000) == ["ok"]
    assert b"evil" not in (await page(world, f"/unit/{unit_of(got)}.json"))[1]


async def test_a_host_can_offer_so_many_words_and_no_more(world: World) -> None:
    host = await world.host()
    for offers in (["x"] * 65, ["x" * 65]):
        with pytest.raises(UsageError):
            await host.introduce(offers=offers)


async def test_who_takes_and_never_answers_gets_no_more_for_a_while(world: World) -> None:
    taker, honest, run = await world.host(), await world.host(), await world.run()
    for host in (taker, honest):
        await host.introduce()
        record(world, host).most = 4
    await run.make(*range(12), quorum=1)
    assert len(await taker.fetch(want=50)) == 4
    reply = await taker.exchange(want=50)
    assert reply.units == []
    assert "unanswered" in reply.reason
    for _ in range(4):
        got = await honest.fetch(want=2)
        assert len(got) == 2
        await honest.report(got, [1, 1])
    assert (await world.view(run)).units == {"active": 4, "valid": 8}


async def test_who_stops_at_the_server_s_wish_has_lost_nothing(world: World) -> None:
    host, run = await world.host(), await world.run()
    await host.introduce()
    record(world, host).most = 4
    for group in "abcd":
        await run.make(1, 2, 3, group=group)
        got = await host.fetch(want=3)
        assert len(got) == 3
        await run.commit(cancel_groups=[group])
        batch, reports = host.signed(got, [b""] * 3, status="aborted", value="")
        await host.exchange(reports=[wire.Report(replica=r.replica) for r in reports], proof=seal(batch, host.key))
    assert (await world.view(run)).replicas == {"aborted": 12}


async def test_who_hands_a_unit_back_for_ever_is_not_given_it_for_ever(world: World) -> None:
    host, other, run = await world.host(), await world.host(), await world.run()
    await run.make(1)
    times = 0
    while got := await host.fetch():
        await host.report(got, [None], status="returned")
        times += 1
        assert times <= issuing.LOSSES_PER_VOLUNTEER
    await run.make(*range(1000))
    taken = [await host.fetch(want=50) for _ in range(5)]
    assert sum(map(len, taken)) <= FIRST - times
    clock = world.running.hub.clock
    world.running.hub.clock = lambda: clock() + 2 * RECOVERY_S
    assert len(await host.fetch(want=50)) in (2, 3)
    assert unit_of(await other.fetch()) == 1


@pytest.mark.parametrize("adaptive", [True, False])
async def test_two_who_call_one_right_after_the_other_do_not_meet_in_the_same_units(
    world: World, adaptive: bool
) -> None:
    one, two, run = await world.host(), await world.host(), await world.run()
    await run.make(*range(100), quorum=2, adaptive=adaptive)
    got = [{unit_of([each]) for each in await host.fetch(want=10)} for host in (one, two)]
    assert [len(units) for units in got] == [10, 10]
    assert len(got[0] & got[1]) < 8


async def test_a_step_that_cancels_as_many_groups_as_it_may_holds_up_nobody(world: World) -> None:
    run = await world.run()
    await run.make(1, group="g7")
    await run.commit(cancel_groups=[f"g{n}" for n in range(100_000)])
    assert (await world.view(run)).units == {"cancelled": 1}


async def test_a_researcher_is_not_shown_an_older_root_than_before(world: World) -> None:
    home = Home(world.folder)
    older = home.root_file.read_bytes()
    sign_root(home)
    await (await Researcher.open(home)).close()
    home.root_file.write_bytes(older)
    with pytest.raises(RolledBack):
        await Researcher.open(home)


async def test_an_accepted_answer_is_not_shown_to_those_who_could_still_give_it(world: World) -> None:
    """A copy whose lease ran out is paid if it brings the accepted answer late; it must not be there to be read."""
    lazy, one, other, run = await world.host(), await world.host(), await world.host(), await world.run()
    await run.make(1, quorum=2, deadline_s=50.0)
    got = await lazy.fetch()
    await one.report(await one.fetch(), ["the answer"])
    today = world.running.hub.clock
    world.running.hub.clock = lambda: today() + 130.0
    ticks = world.running.hub.ticks
    world.running.hub.ticks = lambda: ticks() + 130.0

    async def offered() -> bool:
        return bool((await world.view(run)).replicas.get("expired"))

    await until(offered)
    await other.report(await other.fetch(), ["the answer"])
    assert (await world.view(run)).units == {"valid": 1}
    assert b"the answer" not in (await page(world, f"/unit/{unit_of(got)}.json"))[1]
    world.running.hub.clock = lambda: today() + 4000.0
    await lazy.sign_in()
    assert await lazy.report(got, ["the answer"]) == ["late"]
    assert await credits_of(world, run) == 2000


async def test_a_proof_that_was_read_on_a_page_earns_nothing(world: World) -> None:
    """When one unit's answer is found, its siblings are cancelled; their holders cannot be paid for repeating it."""
    finder, thief, run = await world.host(), await world.host(), await world.run("Checked")
    await run.make("a", "b", quorum=1, group="g")
    found, stolen = await finder.fetch(), await thief.fetch()
    await finder.report(found, [1000])

    async def valid() -> bool:
        return (await world.view(run)).units.get("valid") == 1

    await until(valid)
    await run.commit(cancel_groups=["g"])
    assert await thief.report(stolen, [1000]) == ["ok"]

    async def judged() -> bool:
        return not (await world.view(run)).replicas.get("reported")

    await until(judged)
    assert await credits_of(world, run) == 1000


async def test_two_who_report_errors_do_not_take_an_honest_answer_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "FIRST_REST_S", 0.0)
    honest, bad, worse, run = await world.host(), await world.host(), await world.host(), await world.run()
    await run.make(1, quorum=2)
    await honest.report(await honest.fetch(), [7])
    for liar in (bad, worse) * 2:
        await liar.report(await liar.fetch(wait_s=25.0), [None], status="failed", reason="exception")
    assert (await world.view(run)).units == {"ready": 1}
    fourth = await world.host()
    await fourth.report(await fourth.fetch(wait_s=25.0), [7])
    assert (await world.view(run)).units == {"valid": 1}
    assert await credits_of(world, run) == 2000


async def test_an_authors_crashing_code_costs_honest_computers_nothing(world: World) -> None:
    host = await world.host()
    for _ in range(12):
        run = await world.run()
        await run.make(1)
        await host.report(await host.fetch(), [None], status="failed", reason="crash")
        await run.researcher.cancel(run.run)
    assert record(world, host).most == FIRST
    run = await world.run()
    await run.make(1, 2)
    await host.report(await host.fetch(), [None], status="failed", reason="crash")
    assert record(world, host).most == FIRST
    await host.report(await host.fetch(), [2])
    assert record(world, host).most < FIRST, "somebody could answer it, so it was the computer"


async def test_pages_of_this_computer_answer_to_its_own_names_only(world: World) -> None:
    for host in ("evil.example", "evil.example:8471", "127.0.0.1.evil.example", "localhost.evil.example", "", "["):
        status, body = await page(world, "/status.json", Host=host)
        assert status in (400, 403), host
        assert b"hosts_live" not in body
    for host in ("localhost", "localhost:8471", "127.0.0.1:1", "[::1]:8471", "LOCALHOST"):
        assert (await page(world, "/status.json", Host=host))[0] == 200, host


async def test_a_server_without_a_sandbox_says_why_answers_wait(world: World) -> None:
    host, run = await world.host(), await world.run("Checked")
    await run.make(1)
    world.running.hub.checks.put = lambda unit: None  # type: ignore[method-assign]
    await host.report(await host.fetch(), [1])
    assert (await world.view(run)).reason == ""
    await world.running.hub.store.write(lambda c: remember(c, "checks", "off"))
    assert "no sandbox" in (await world.view(run)).reason


def unit_of(got: list[wire.Assignment]) -> int:
    return int(msgspec.json.decode(got[0].document)["unit"])


def record(world: World, host: Host) -> HostRecord:
    guests = world.running.hub.exchanges.crowd._guests.values()
    return next(guest.record for guest in guests if guest.view.volunteer == host.volunteer)
