"""What researchers ask about runs of their own: units, copies of them with what they printed, and what is left."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dsage import codec, wire
from dsage.errors import NotAllowed, NotFound, UsageError
from dsage.trust.envelope import seal
from dsage_server.blobs.answers import LARGE_BYTES
from dsage_server.sessions import Session
from dsage_server.store import looking
from dsage_server.store.testing import rows as rows_of
from dsage_server.testing import HandDriver, Host, World, held

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def report(
    host: Host, got: list[wire.Assignment], values: list[Any], *, status: str = "done", reason: str = "", **said: Any
) -> list[str]:
    """Report copies and what else is `said` of each."""
    forged = {} if status == "done" else {"value": "", "reason": reason}
    batch, reports = host.signed(got, [codec.encode(value) for value in values], status=status, **forged)
    for each in reports:
        each.value = each.value if status == "done" else None
        for name, value in said.items():
            setattr(each, name, value)
    return [ack.code for ack in (await host.exchange(reports=reports, proof=seal(batch, host.key))).acks]


async def get(world: World, path: str, reply: Any, key: bytes) -> Any:
    """Ask as a researcher with this key would."""
    host = await world.host()
    hub = world.running.hub
    token = hub.sessions.open(Session(role="researcher", key=key, expires=hub.clock() + 60.0))
    return await host.conn.call("GET", path, None, reply, token=token)


def printed(world: World) -> list[tuple[Any, ...]]:
    return rows_of(world.folder / "server", "SELECT replica_id, output FROM printed ORDER BY 1")


async def test_what_a_copy_prints_is_seen_while_it_runs_and_at_its_end(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, 2)
    loud, silent = await host.fetch(2)
    before = len(printed(world))
    holding = [held(loud), held(silent)]
    holding[0].output = b"half way\n"
    await host.exchange(holding=holding)
    (seen,) = await run.researcher.attempts(run.run, unit=msgspec.json.decode(loud.document)["unit"])
    assert (seen.state, seen.ended, seen.output, seen.platform) == ("leased", None, b"half way\n", "")
    assert await report(host, [loud], [1], output=b"half way\nthere\n", wall_s=2.5) == ["ok"]
    assert await report(host, [silent], [2]) == ["ok"]
    found = {each.replica: each for each in await run.researcher.attempts(run.run)}
    seen = found[loud.replica]
    assert (seen.state, seen.output, seen.cpu_s, seen.wall_s) == ("valid", b"half way\nthere\n", 1.0, 2.5)
    assert seen.ended is not None
    assert seen.started <= seen.ended
    assert found[silent.replica].output == b""
    assert len(printed(world)) == before + 1


async def test_nobody_writes_what_others_print_and_only_the_end_is_kept(world: World) -> None:
    host, stranger, run = await world.host(), await world.host(), await world.run()
    await run.make(1)
    (got,) = await host.fetch()
    told = held(got)
    told.output = b"lies"
    await stranger.exchange(holding=[told])
    told.lease = b"guessed"
    await host.exchange(holding=[told])
    assert (await run.researcher.attempts(run.run))[0].output == b""
    assert await report(host, [got], [1], output=b"a" * wire.MAX_OUTPUT + b"the end") == ["ok"]
    (seen,) = await run.researcher.attempts(run.run)
    assert len(seen.output) == wire.MAX_OUTPUT
    assert seen.output.endswith(b"athe end")


async def test_a_failed_copy_says_why_and_comes_first(world: World) -> None:
    one, two, run = await world.host(), await world.host(), await world.run()
    await one.introduce()
    await run.make(1, 2, quorum=1)
    first, second = await one.fetch(2)
    assert await report(
        one, [first], [0], status="failed", reason="exception", detail="Traceback: no", output=b"hm"
    ) == ["ok"]
    assert await report(one, [second], [2]) == ["ok"]
    failed, fine = await run.researcher.attempts(run.run)
    assert (failed.state, failed.reason, failed.detail, failed.output) == ("error", "exception", "Traceback: no", b"hm")
    assert (fine.state, fine.reason, fine.platform) == ("valid", "", "test")
    with pytest.raises(NotFound, match="has no unit 999999"):
        await run.researcher.attempts(run.run, unit=999999)
    await two.exchange()


async def test_units_come_in_pages_by_state_and_with_large_values(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, run = await world.host(), await world.run()
    big = "x" * (LARGE_BYTES + 1)
    await run.make(*range(7), group="g")
    got = await host.fetch(3)
    assert await report(host, got, [big, "b", "c"], wall_s=3.0) == ["ok"] * 3
    await run.commit(folded=[each.unit for each in (await run.answers()).answers])
    await host.fetch(1)
    first = await run.researcher.units(run.run, limit=4)
    assert first.more
    second = await run.researcher.units(run.run, after=first.units[-1].unit, limit=4)
    assert not second.more
    units = [*first.units, *second.units]
    assert [codec.decode(each.args) for each in units] == list(range(7))
    assert [each.unit for each in units] == sorted(each.unit for each in units)
    assert [each.state for each in units] == ["valid"] * 3 + ["active"] + ["ready"] * 3
    assert [each.attempts for each in units] == [1] * 4 + [0] * 3
    assert [codec.decode(each.value) for each in units[:3] if each.value] == [big, "b", "c"]
    assert (units[0].group, units[0].wall_s, units[0].cpu_s, units[6].value) == ("g", 3.0, 1.0, None)
    for state, many in (("valid", 3), ("active", 1), ("ready", 3), ("failed", 0)):
        page = await run.researcher.units(run.run, state=state)
        assert [each.state for each in page.units] == [state] * many
    with pytest.raises(UsageError, match="never 'lost'"):
        await run.researcher.units(run.run, state="lost")
    monkeypatch.setattr(looking, "MAX_BYTES", LARGE_BYTES)
    page = await run.researcher.units(run.run)
    assert (len(page.units), page.more) == (1, True)


async def test_what_is_left_can_be_made_again_just_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1, 2, 3, 4)
    more = {"group": "late", "quorum": 2, "credit_milli": 1500, "deadline_s": 77.0, "cpu_s": 5.0, "wall_s": 6.0}
    await run.make(5, splits=True, memory_bytes=1 << 20, disk_bytes=1 << 21, output_bytes=1 << 10, **more)  # type: ignore[arg-type]
    assert await report(host, await host.fetch(1), [1]) == ["ok"]
    await host.fetch(1)
    unfolded = await run.researcher.remainder(run.run)
    assert [codec.decode(each.args) for each in unfolded.units] == [1, 2, 3, 4, 5]
    await run.commit(folded=[each.unit for each in (await run.answers()).answers])
    left = await run.researcher.remainder(run.run)
    assert [codec.decode(each.args) for each in left.units] == [2, 3, 4, 5]
    assert not left.more
    assert {name: getattr(left.units[-1], name) for name in more} == more
    kept = left.units[-1]
    assert (kept.splits, kept.memory_bytes, kept.disk_bytes, kept.output_bytes) == (True, 1 << 20, 1 << 21, 1 << 10)
    monkeypatch.setattr(looking, "MAX_UNITS", 3)
    first = await run.researcher.remainder(run.run)
    assert (len(first.units), first.more) == (3, True)
    second = await run.researcher.remainder(run.run, after=first.last)
    assert (second.units, second.more) == ([kept], False)
    again = await world.run()
    await again.commit(units=left.units)
    monkeypatch.undo()
    assert (await again.researcher.remainder(again.run)).units == left.units


async def test_the_driver_hears_how_long_an_answer_took(world: World) -> None:
    host, run = await world.host(), await world.run()
    await run.make(1)
    assert await report(host, await host.fetch(1), [1], cpu_s=1.25, wall_s=2.5) == ["ok"]
    (heard,) = (await run.answers()).answers
    assert (heard.cpu_s, heard.wall_s, heard.code) == (1.25, 2.5, "")


@pytest.mark.parametrize(
    ("what", "reply"), [("units", wire.UnitPage), ("attempts", list[wire.Attempt]), ("remainder", wire.Remainder)]
)
async def test_only_a_runs_researcher_looks_into_it(world: World, what: str, reply: Any) -> None:
    run: HandDriver = await world.run()
    with pytest.raises(NotAllowed, match="another researcher"):
        await get(world, f"/v1/runs/{run.run}/{what}", reply, b"another")
    with pytest.raises(NotFound, match="no run"):
        await get(world, f"/v1/runs/999999/{what}", reply, b"another")
    host = await world.host()
    assert (await host.raw("GET", f"/v1/runs/{run.run}/{what}"))[0] == 403
    assert (await host.raw("GET", f"/v1/runs/{run.run}/{what}", headers={"Authorization": "Bearer no"}))[0] == 401
