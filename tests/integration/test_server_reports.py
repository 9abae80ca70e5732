"""Reports and steps on a real server: what counts, what does not, and what the app's own checks say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from dsage import codec, wire
from dsage.errors import (
    Conflict,
    NotAllowed,
    UnitFailed,
    UsageError,
    WrongRole,
    WrongServer,
)
from dsage.trust.envelope import seal
from dsage_server import timekeeping
from dsage_server.store.schema import replica
from dsage_server.testing import HandDriver, World, document, held, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_one_bad_report_never_costs_the_others(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(*range(50))
    got = await host.fetch(want=50)
    assert len(got) == 50
    values = [codec.encode(i) for i in range(50)]
    batch, reports = host.signed(got, values)
    reports[17].value = codec.encode("not what was signed")
    reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
    codes = {ack.replica: ack.code for ack in reply.acks}
    assert codes.pop(got[17].replica) == "refused"
    assert list(codes.values()) == ["ok"] * 49
    assert (await world.view(run)).units == {"valid": 49, "active": 1}
    assert await host.report(got[17:18], [17]) == ["ok"]
    assert await host.report(got[17:18], [17]) == ["ok"], "a duplicate is acknowledged again"
    assert await host.report(got[17:18], [18]) == ["refused"], "an answer cannot be taken back"
    assert (await world.view(run)).credit_milli == 50_000


async def test_a_host_speaks_for_its_own_copies_only(world: World) -> None:
    host, other, run = await world.host(), await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    assert await other.report(got, [1]) == ["unknown"]
    assert await host.report(got, [1], lease=b"guess") == ["refused"]
    assert await host.report(got, [1], app="another") == ["refused"]
    assert await host.report(got, [1], unit=10**6) == ["unknown"]
    batch, reports = host.signed(got, [codec.encode(1)])
    with pytest.raises(WrongRole):
        await host.exchange(reports=reports, proof=seal(batch, other.key))
    foreign = msgspec.structs.replace(batch, server_id="another")
    with pytest.raises(WrongServer):
        await host.exchange(reports=reports, proof=seal(foreign, host.key))
    with pytest.raises(NotAllowed):
        await host.exchange(reports=reports)
    assert (await world.view(run)).replicas == {"leased": 1}
    assert await host.report(got, [1]) == ["ok"]


async def test_an_answer_that_is_no_value_is_wrong(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    batch, reports = host.signed(got, [b"\xc1"])
    await host.exchange(reports=reports, proof=seal(batch, host.key))
    view = await world.view(run)
    assert (view.units, view.replicas, view.credit_milli) == ({"ready": 1}, {"invalid": 1}, 0)
    assert await host.fetch() == [], "its volunteer does not get the unit again"


async def test_of_two_results_of_one_copy_in_one_call_one_counts(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, 2, 3)
    got = await host.fetch(want=3)
    first, second, third = got
    other, _ = host.signed([first], [codec.encode(8)])
    batch, reports = host.signed([first, second, second, third], [codec.encode(n) for n in (7, 2, 2, 3)])
    batch.results.append(other.results[0])
    reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
    assert [ack.code for ack in reply.acks if ack.replica == first.replica] == ["refused"], (
        "which of the two is signed?"
    )
    assert [ack.code for ack in reply.acks if ack.replica == second.replica] == ["ok", "ok"], "the same, said again"
    batch, reports = host.signed([first, first], [codec.encode(7), codec.encode(8)])
    reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
    assert sorted(ack.code for ack in reply.acks) == ["ok", "refused"]
    batch, reports = host.signed([third], [b""], status="failed", value="")
    reply = await host.exchange(reports=[wire.Report(replica=third.replica)], proof=seal(batch, host.key))
    assert [ack.code for ack in reply.acks] == ["refused"], "nor does an error follow an answer"
    view = await world.view(run)
    assert (view.units, view.replicas, view.credit_milli) == ({"valid": 3}, {"valid": 3}, 3000)


@pytest.mark.parametrize("how", ["cancelled", "failed", "done", "group"])
async def test_a_result_that_comes_after_its_unit_was_closed_changes_nothing(world: World, how: str) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, quorum=2, group="g")
    got = await host.fetch()
    match how:
        case "cancelled":
            await run.researcher.cancel(run.run)
        case "failed":
            await run.commit(failed="enough")
        case "done":
            await run.commit(finished=True, result=codec.encode(None))
        case "group":
            await run.commit(cancel_groups=["g"])
    before = await world.view(run)
    assert await host.report(got, [1]) == ["ok"]
    assert await host.report(got, [2]) == ["refused"]
    view = await world.view(run)
    assert (view.state, view.units, view.replicas) == (before.state, {"cancelled": 1}, {"redundant": 1})
    assert view.credit_milli == 0
    assert (await run.answers()).answers == []


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e300])
async def test_a_time_that_is_none_is_refused_with_the_whole_call(world: World, seconds: float) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    got = await host.fetch()
    batch, reports = host.signed(got, [codec.encode(1)])
    reports[0].cpu_s = seconds
    with pytest.raises(UsageError, match="cpu_s"):
        await host.exchange(reports=reports, proof=seal(batch, host.key))
    with pytest.raises(UsageError, match="cpu_s"):
        await host.exchange(holding=[held(got[0], cpu_s=seconds)])
    assert await host.report(got, [1]) == ["ok"]


async def test_what_a_clock_says_changes_neither_pay_nor_how_long_a_lease_may_be(world: World) -> None:
    liar, honest, run = await world.host(), await world.host(), await world.run()
    await run.make(*range(20), quorum=2, deadline_s=100.0)
    for host, seconds in ((liar, 1e12), (honest, 0.0)):
        got = await host.fetch(want=10)
        batch, reports = host.signed(got, [codec.encode(codec.decode(document(each).args)) for each in got])
        for each in reports:
            each.cpu_s = each.wall_s = seconds
        reply = await host.exchange(reports=reports, proof=seal(batch, host.key))
        assert {ack.code for ack in reply.acks} == {"ok"}
    more = [*await liar.fetch(want=1), *await honest.fetch(want=1)]
    given = select(replica.c.deadline - replica.c.leased).where(replica.c.id.in_([each.replica for each in more]))
    lengths = list(await world.running.hub.store.read(lambda c: c.execute(given).scalars().all()))
    assert len(lengths) == 2
    assert max(lengths) < 1.1 * min(lengths), "it had the copies as long as the other one had, and no longer"
    view = await world.view(run)
    assert view.credit_milli == 1000 * view.replicas.get("valid", 0) > 0


async def test_a_liar_is_outvoted_and_one_volunteer_never_votes_twice(world: World) -> None:
    hosts, run = [await world.host() for _ in range(3)], await world.run()
    await run.make(5, quorum=2)
    first = await hosts[0].fetch()
    reply = await hosts[0].exchange(want=1)
    assert (reply.units, reply.reason) == (
        [],
        "every waiting unit needs another volunteer: you have a copy of each already",
    )
    await hosts[0].report(first, [666])
    for host in hosts[1:]:
        await host.report(await host.fetch(), [5])
    view = await world.view(run)
    assert (view.units, view.replicas) == ({"valid": 1}, {"invalid": 1, "valid": 2})
    assert (await run.answers()).answers[0].value == codec.encode(5)


async def test_work_goes_only_where_what_it_needs_is(world: World) -> None:
    host, run = await world.host(), await world.run("Needy")
    await run.make(1)
    reply = await host.exchange(want=1)
    assert (reply.units, reply.reason) == ([], "the waiting units need gmpy2, which this computer does not offer")
    await host.introduce(offers=["gmpy2"])
    assert len(await host.fetch()) == 1


@pytest.mark.parametrize(
    "wrong", [{"quorum": 0}, {"quorum": -1}, {"deadline_s": 0.0}, {"deadline_s": float("nan")}, {"credit_milli": -5},
              {"cpu_s": 1e9}, {"memory_bytes": 0}, {"wall_s": float("nan")}, {"credit_milli": 2**64 - 1},
              {"credit_milli": 0}, {"credit_milli": 10**9 + 1}],
)  # fmt: skip
async def test_a_unit_that_could_never_end_well_is_refused(world: World, wrong: dict[str, Any]) -> None:
    run = await world.run()
    with pytest.raises(UsageError, match=f"asks for {next(iter(wrong))}"):
        await run.make(1, **wrong)
    await run.make(1)
    assert (await world.view(run)).units == {"ready": 1}


async def test_a_step_stands_once_however_often_it_is_sent(world: World) -> None:
    run = await world.run()
    step = wire.Step(fence=run.fence, step=1, state=b"one", units=[wire.NewUnit(key="a", args=codec.encode(1))])
    for _ in range(3):
        assert (await run.researcher.step(run.run, step)).step == 1
    assert (await world.view(run)).units == {"ready": 1}
    with pytest.raises(Conflict, match="cannot follow"):
        await run.researcher.step(run.run, wire.Step(fence=run.fence, step=3, state=b""))
    with pytest.raises(Conflict, match="not an unfolded answer"):
        await run.researcher.step(run.run, wire.Step(fence=run.fence, step=2, state=b"", folded=[1, 10**9]))
    assert (await run.researcher.drive(run.run)).state == b"one"


async def test_replies_stay_below_what_a_peer_takes(world: World) -> None:
    host, run = await world.host(), await world.run()
    for _ in range(2):
        await run.make(*[b"\x00" * (5 << 20)] * 2, output_bytes=4 << 20)
    got = await host.fetch(want=50)
    assert len(got) == 1
    while more := await host.fetch(want=50):
        got += more
    assert len(got) == 4
    for assignment in got:
        await host.report([assignment], [b"\x01" * ((4 << 20) - 5)])
    folded = []
    while heard := (await run.answers()).answers:
        assert sum(len(a.value or b"") + len(a.args) for a in heard) < wire.MAX_BODY_BYTES
        folded += [a.unit for a in heard]
        await run.commit(folded=folded[-len(heard) :])
    assert len(set(folded)) == 4


async def test_the_apps_own_checks_decide(world: World) -> None:
    """Unit after unit: a host that was found lying is not asked any more, whatever else it had answered."""
    hosts, run = [await world.host() for _ in range(4)], await world.run("Checked")

    async def answered(unit: str, said: dict[int, Any], replicas: dict[str, int]) -> None:
        await run.make(unit, quorum=2)
        for host, value in said.items():
            await hosts[host].report(await hosts[host].fetch(), [value])

        async def judged() -> bool:
            return (await world.view(run)).replicas == replicas

        await until(judged)

    await answered("close", {0: 10, 1: 11}, {"valid": 2})
    await answered("proof", {0: 1000, 1: 3}, {"valid": 3, "invalid": 1})
    assert sorted(codec.decode(a.value or b"") for a in (await run.answers()).answers) == [10, 1000]
    await answered("lie", {0: -1, 2: "crash"}, {"valid": 3, "invalid": 3})
    assert (await world.view(run)).units == {"valid": 2, "ready": 1}
    await hosts[3].report(await hosts[3].fetch(), [1000])

    async def fallen() -> bool:
        return [codec.decode(a.value or b"") for a in (await run.answers()).answers] == [1000, 1000]

    await until(fallen)
    assert await units_are(world, run, {"valid": 2, "ready": 1}), "what two agreed on who both lied does not stand"


async def units_are(world: World, run: HandDriver, units: dict[str, int]) -> bool:
    return (await world.view(run)).units == units


async def test_what_a_stopped_copy_did_is_paid_by_its_share_also_after_the_end_of_the_run(world: World) -> None:
    hosts, run = [await world.host() for _ in range(3)], await world.run("Checked")
    await run.make("work", quorum=3, group="g")
    got = [await host.fetch() for host in hosts]
    await hosts[0].report(got[0], [9])
    await until(lambda: unjudged_is(world, 0))
    await run.commit(cancel_groups=["g"], finished=True, result=codec.encode(None))
    assert await hosts[1].report(got[1], [4], status="aborted") == ["ok"]
    assert await hosts[2].report(got[2], [1000]) == ["ok"]
    await until(lambda: unjudged_is(world, 0))
    view = await world.view(run)
    assert (view.state, view.replicas) == ("done", {"valid": 2, "redundant": 1}), "a proof after the end may be a copy"
    assert view.credit_milli == 900 + 400


async def unjudged_is(world: World, count: int) -> bool:
    query = select(replica.c.id).where(replica.c.state == "reported", replica.c.camp.is_(None))
    return len(await world.running.hub.store.read(lambda c: c.execute(query).all())) == count


async def test_checks_that_do_not_run_end_the_run_and_never_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    async def broken(*_: Any) -> Any:
        calls.append(1)
        raise UnitFailed("the box is gone")

    monkeypatch.setattr(timekeeping, "judge", broken)
    host, run, ended = await world.host(), await world.run("Checked"), await world.run("Checked")
    await ended.make(1)
    late = await host.fetch()
    await ended.commit(finished=True, result=codec.encode(None))
    assert await host.report(late, [5], status="aborted") == ["ok"]

    async def given_up() -> bool:
        return len(calls) == 1 + timekeeping.RETRIES

    await until(given_up)
    await run.make(1, 2)
    await host.report(await host.fetch(), [5])

    async def failed() -> bool:
        return (await world.view(run)).state == "failed"

    await until(failed)
    view = await world.view(run)
    assert (view.reason, view.units) == ("its checks do not run: the box is gone", {"cancelled": 2})
    assert (await world.view(ended)).state == "done"
    await host.exchange()
