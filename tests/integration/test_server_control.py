"""A researcher's control over a run: paused, resumed, tried again, retired; and units that rest or split."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dsage import codec, wire
from dsage.errors import Conflict, NotAllowed, NotFound, QuotaExceeded, UsageError
from dsage.trust.envelope import seal
from dsage_server.admin import admin
from dsage_server.scheduling import resting
from dsage_server.sessions import Session
from dsage_server.store import events, quotas
from dsage_server.testing import HandDriver, Host, World, document, until
from dsage_validator import issuing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units that failed go out again at once."""
    monkeypatch.setattr(resting, "FIRST_REST_S", 0.0)


async def kinds(world: World, run: HandDriver) -> list[str]:
    """Return what was told of a run."""
    found = await world.running.hub.store.read(lambda c: events.since(c, 0, run=run.run))
    return [event.kind for event in found]


async def fail(host: Host, got: list[wire.Assignment], reason: str = "crash") -> None:
    """Report that copies failed."""
    batch, _ = host.signed(got, [b""] * len(got), status="failed", reason=reason, value="")
    reports = [wire.Report(replica=each.replica, value=None, cpu_s=1.0) for each in got]
    reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
    assert [ack.code for ack in reply.acks] == ["ok"] * len(got)


async def use_up(world: World, units: int) -> None:
    """Let so many units fail until they are given up."""
    for host in [await world.host(), await world.host()]:
        for _ in range(issuing.ERRORS_PER_VOLUNTEER):
            await fail(host, await fetched(host, units))


async def fetched(host: Host, count: int) -> list[wire.Assignment]:
    """Fetch so many copies, as they come."""
    got: list[wire.Assignment] = []

    async def enough() -> bool:
        got.extend(await host.fetch(want=count - len(got)))
        return len(got) == count

    await until(enough)
    return got


async def test_a_paused_run_gives_out_nothing_and_loses_nothing(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, 2, 3)
    (first,) = await host.fetch()
    await run.researcher.pause(run.run)
    await run.researcher.pause(run.run)
    view = await world.view(run)
    assert (view.state, view.finished, "dsage resume" in view.reason) == ("paused", None, True)
    reply = await host.exchange(want=5)
    assert (reply.units, reply.reason) == ([], "the runs that have work are paused by their researchers")
    assert "its run is paused" in reply.reasons.values()

    assert await host.report([first], [1]) == ["ok"]
    heard = await run.answers()
    assert ([codec.decode(a.value or b"") for a in heard.answers], heard.state_of_run) == ([1], "paused")
    await run.commit(folded=[document(first).unit], replicas=[first.replica])
    await run.make(4)
    assert await host.fetch(want=5) == []
    await world.running.hub.look()
    assert await host.fetch(want=5) == []

    await run.researcher.resume(run.run)
    await run.researcher.resume(run.run)
    await world.running.hub.more(run.run)
    assert len(await fetched(host, 3)) == 3
    assert (await kinds(world, run)).count("paused") == (await kinds(world, run)).count("resumed") == 1


async def test_a_driver_waits_for_a_paused_run_and_hears_when_it_goes_on(world: World) -> None:
    run = await world.run()
    await run.make(1)
    await run.researcher.pause(run.run)
    heard = await run.answers(0.01, hungry=True)
    assert (heard.state_of_run, heard.hungry, heard.open_units, heard.answers) == ("paused", 0, 1, [])
    await run.commit(finished=True, result=codec.encode(7))
    assert (await world.view(run)).state == "done"
    for control in (run.researcher.pause, run.researcher.resume):
        with pytest.raises(Conflict, match="is done"):
            await control(run.run)


async def test_a_run_that_failed_goes_on_with_its_failed_and_its_cancelled_units(world: World, no_rest: None) -> None:
    run = await world.run()
    await run.make(1)
    await use_up(world, 1)
    await run.make(2, group="unwanted")
    await run.commit(cancel_groups=["unwanted"])
    await run.make(3)
    (failed,) = (await run.answers()).answers
    assert (failed.failed, failed.code) == ("it failed 4 times on 2 volunteers' computers, last with: crash", "crash")
    await run.commit(failed="unit 1 failed")
    assert (await world.view(run)).units == {"failed": 1, "cancelled": 2}

    await run.researcher.retry(run.run)
    view = await world.view(run)
    assert (view.state, view.reason.startswith("unit"), view.finished) == ("running", False, None)
    assert view.units == {"ready": 2, "cancelled": 1}
    host = await world.host()
    got = await host.fetch(want=5)
    assert len(got) == 2
    assert await host.report(got, [1, 3]) == ["ok"] * 2
    assert (await world.view(run)).units == {"valid": 2, "cancelled": 1}
    assert "retried" in await kinds(world, run)
    await run.commit(finished=True, result=b"\xc0")
    with pytest.raises(Conflict, match="is done"):
        await run.researcher.retry(run.run)


async def test_chosen_units_are_tried_again_even_if_their_failure_was_folded(world: World, no_rest: None) -> None:
    run = await world.run()
    await run.make(1, 2)
    await use_up(world, 2)
    one, two = [answer.unit for answer in (await run.answers()).answers]
    await run.commit(folded=[one, two], replicas=[0, 0])
    await run.researcher.retry(run.run)
    assert (await world.view(run)).units == {"failed": 2}, "a driver made its peace with them"
    await run.researcher.retry(run.run, [two])
    assert (await world.view(run)).units == {"failed": 1, "ready": 1}
    with pytest.raises(Conflict, match=f"unit {two} is no failed unit"):
        await run.researcher.retry(run.run, [two])
    host = await world.host()
    assert await host.report(await host.fetch(want=5), [5]) == ["ok"]
    assert [answer.unit for answer in (await run.answers()).answers] == [two]


async def test_a_unit_that_failed_rests_before_it_goes_out_again(world: World) -> None:
    first, second, run = await world.host(), await world.host(), await world.run()
    await run.make(1)
    await fail(first, await first.fetch())
    reply = await second.exchange(want=1)
    assert (reply.units, "failed just now" in reply.reason) == ([], True)
    assert len(await fetched(second, 1)) == 1


async def test_a_unit_that_splits_is_given_up_with_its_first_time_limit(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, quorum=2, splits=True)
    await run.make(2, quorum=1)
    await fail(host, await host.fetch(want=2), "wall")
    (heard,) = (await run.answers()).answers
    assert (codec.decode(heard.args), heard.code, heard.failed) == (1, "wall", "it passed its time limit (wall)")


@pytest.mark.parametrize(
    ("retries", "times"),
    [
        (0, "once on one volunteer's computer"),
        (1, "2 times on one volunteer's computer"),
        (3, "4 times on 2 volunteers' computers"),
    ],
)
async def test_a_unit_is_tried_again_as_often_as_its_author_wants(world: World, retries: int, times: str) -> None:
    hosts, run = [await world.host(), await world.host()], await world.run()
    await run.make(1, quorum=1, retries=retries)
    for attempt in range(retries + 1):
        host = hosts[attempt // issuing.ERRORS_PER_VOLUNTEER]
        await fail(host, await fetched(host, 1))
    (heard,) = (await run.answers()).answers
    assert heard.failed == f"it failed {times}, last with: crash"
    tried = await run.researcher.attempts(run.run)
    assert [attempt.state for attempt in tried] == ["error"] * (retries + 1)
    began = sorted(attempt.started for attempt in tried)
    assert all(later > before for before, later in itertools.pairwise(began))


async def test_what_a_retired_run_kept_is_freed(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, 2)
    got = await host.fetch()
    with pytest.raises(Conflict, match="is running"):
        await run.researcher.retire(run.run)
    await run.commit(finished=True, result=codec.encode(7))
    with pytest.raises(Conflict, match=r"1 copies of run \d+ are out"):
        await run.researcher.retire(run.run)
    assert await host.report(got, [1]) == ["ok"]
    await run.researcher.retire(run.run)
    await run.researcher.retire(run.run)

    async def archived() -> bool:
        return "archived on" in (await world.view(run)).reason and not await rows(world, run)

    await until(archived)
    view = await world.view(run)
    assert (view.state, codec.decode(view.result or b""), view.units) == ("done", 7, {"cancelled": 2})


async def rows(world: World, run: HandDriver) -> int:
    """Return how many units of a run the tables hold."""
    query = f"SELECT count(*) FROM unit WHERE run_id = {run.run}"
    return int(await world.running.hub.store.read(lambda c: c.exec_driver_sql(query).scalar_one()))


async def test_a_researcher_has_no_more_than_their_quota(world: World, tmp_path: Path) -> None:
    run, store = await world.run(), world.running.hub.store
    key = run.researcher.key.public
    has = await store.read(lambda c: {what: quotas.used(c, key, what) for what in quotas.WORDS})
    room = {"runs": 0, "open_units": 2, "blob_bytes": 10}
    await store.write(lambda c: quotas.change(c, key, {what: has[what] + more for what, more in room.items()}))
    try:
        world.running.hub.allowances._left.clear()
        with pytest.raises(QuotaExceeded, match="open runs, and 1 more"):
            await world.run()
        await run.make(1, 2)
        with pytest.raises(QuotaExceeded, match="units that have not ended"):
            await run.make(3)
        assert (await world.view(run)).units == {"ready": 2}
        await run.commit(cancel_groups=[""])
        await run.make(3)
        file = tmp_path / "input"
        file.write_bytes(b"x" * 11)
        with pytest.raises(QuotaExceeded, match="bytes of input files"):
            await run.researcher.upload(file)
        file.write_bytes(b"x" * 10)
        await run.researcher.upload(file)
    finally:
        await store.write(lambda c: quotas.clear(c, key))


async def test_the_operator_sees_and_sets_quotas_while_the_server_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await world.run()
    await run.make(1, 2, 3)
    monkeypatch.setenv("DSAGE_HOME", str(world.folder))

    async def asked(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, admin, ["quota", *words])

    key = run.researcher.key.public
    has = await world.running.hub.store.read(lambda c: quotas.used(c, key, "open_units"))
    told = json.loads((await asked("lab", "--open-units", "7", "--json")).stdout)
    assert told["data"]["lab"]["open_units"] == {"used": has, "allowed": 7}
    assert f"{has} of 7 units that have not ended" in (await asked()).stdout
    told = json.loads((await asked("lab", "--runs", "3", "--blob-bytes", "99", "--json")).stdout)["data"]["lab"]
    assert (told["runs"]["allowed"], told["blob_bytes"]["allowed"]) == (3, 99)
    await asked("lab", "--clear")
    assert "of 5,000,000 units" in (await asked("lab")).stdout
    wrong = [(["nobody"], NotFound), (["--runs", "1"], UsageError), (["lab", "--clear", "--runs", "1"], UsageError)]
    for words, error in wrong:
        assert isinstance((await asked(*words)).exception, error)


async def test_people_see_whose_run_it_is_and_who_drives_it(world: World) -> None:
    run = await world.run()
    seen = await run.researcher.run(run.run)
    assert (seen.researcher, seen.hosted) == ("lab", False)
    assert {view.researcher for view in await run.researcher.runs()} == {"lab"}


@pytest.mark.parametrize(("what", "more"), [("pause", []), ("resume", []), ("retry", [wire.Chosen()]), ("retire", [])])
async def test_only_a_runs_researcher_controls_it(world: World, what: str, more: list[wire.Chosen]) -> None:
    run = await world.run()
    stranger = Session(role="researcher", key=b"another", expires=1e12)
    with pytest.raises(NotAllowed, match="another researcher"):
        await getattr(world.running.hub.control, what)(stranger, run.run, *more)
    assert (await world.view(run)).state == "running"
