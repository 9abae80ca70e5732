"""The owner's line: the rate holds on average, and outside its hours nothing passes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsage import codec
from dsage.errors import StorageFull
from dsage.sandbox import Outcome
from dsage.trust.documents import Manifest
from dsage.trust.envelope import hash_of, seal
from dsage_client import lacking, policy
from dsage_client.gate import Gate
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.lacking import Lacking
from dsage_client.line import Line
from dsage_client.patience import FORGET_HOLD_S, Hold


class Slept:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, delay_s: float) -> None:
        self.now += delay_s


async def test_what_passes_keeps_to_the_rate_whatever_its_size() -> None:
    clock = Slept()
    line = Line(lambda: clock.now, clock.sleep)
    line.bytes_s = 1000
    for size in (10, 5000, 1, 20_000):
        await line.passed(size)
    assert clock.now == pytest.approx(100.0 + 25.011, abs=0.01)


async def test_without_a_limit_nobody_waits_and_a_new_one_begins_without_debts() -> None:
    clock = Slept()
    line = Line(lambda: clock.now, clock.sleep)
    await line.passed(1 << 40)
    line.bytes_s = 1000
    assert line.ready
    line.count(500)
    assert line.due_s == pytest.approx(0.5)
    line.bytes_s = 0
    assert line.ready


async def test_outside_the_hours_of_the_network_nothing_passes() -> None:
    line = Line()
    line.set(open=False)
    waiting = asyncio.create_task(line.passed(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not line.ready
    line.set(open=True)
    await waiting


async def test_results_wait_for_the_hours_of_the_network_and_their_leases_are_kept(client: Any) -> None:
    gate = Gate(2)
    shut = Standing(work=Work.RUN, reason=Reason.WORKING, fetch=False, send=False)
    client.runner.gate.clear()
    async with client.running(gate) as agent:
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        gate.set(shut)
        agent.look()
        client.runner.gate.set()
        await client.until(lambda: len(agent._spool) == 1 and client.server.exchanges[-1].want == 0)
        await client.until(lambda: any(h.suspended for h in client.server.exchanges[-1].holding))
        assert client.server.ended == {}
        gate.set(Standing(work=Work.RUN, reason=Reason.WORKING))
        agent.look()
        await client.until(lambda: client.server.statuses() == {1: "done"})


async def test_a_client_that_ends_outside_the_hours_keeps_its_results(client: Any) -> None:
    gate = Gate(2)
    client.runner.gate.clear()
    async with client.running(gate) as agent:
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        gate.set(Standing(work=Work.RUN, reason=Reason.WORKING, fetch=False, send=False))
        client.runner.gate.set()
        await client.until(lambda: len(agent._spool) == 1)
    assert client.server.ended == {}
    async with client.running():
        await client.until(lambda: client.server.statuses() == {1: "done"})


async def test_results_wait_until_the_last_ones_are_paid_off(client: Any) -> None:
    gate = Gate(2)
    async with client.running(gate) as agent:
        gate.line.bytes_s = 10
        gate.line.count(15)
        await client.server.give(1)
        gate.line.bytes_s = 0
        await client.until(lambda: client.server.ended)
        gate.line.bytes_s = 1 << 20
        gate.line.count(1 << 19)
        await client.server.give(2)
        await client.until(lambda: len(agent._spool) == 1)
        assert len(client.server.ended) == 1
        await client.until(lambda: len(client.server.ended) == 2)


# -- how long a call may be held -------------------------------------------------------------------------------


def hold() -> tuple[Hold, Slept]:
    clock = Slept()
    return Hold(lambda: clock.now), clock


def test_what_breaks_twice_is_the_network() -> None:
    known, clock = hold()
    assert not known.broke(50.0, 30.0)
    assert known.broke(50.0, 31.0)
    assert known.longest_s == pytest.approx(24.0)
    clock.now += FORGET_HOLD_S + 1
    assert known.longest_s > 1e9


def test_what_is_swallowed_is_tried_with_half() -> None:
    known, _ = hold()
    known.broke(50.0, 70.0)
    known.broke(50.0, 70.0)
    assert known.longest_s == 25.0
    known.broke(25.0, 45.0)
    known.broke(25.0, 45.0)
    assert known.longest_s == 0.0


def test_a_server_that_goes_and_comes_back_teaches_nothing() -> None:
    known, _ = hold()
    for _ in range(10):
        known.broke(50.0, 30.0)
        known.away()
    for _ in range(10):
        known.broke(50.0, 30.0)
        known.lived(49.0)
    assert known.longest_s > 1e9


def test_a_short_call_that_lived_does_not_excuse_long_ones_that_broke() -> None:
    known, _ = hold()
    known.broke(50.0, 30.0)
    known.lived(3.0)
    assert known.broke(50.0, 30.0)


def test_where_calls_cannot_be_held_leases_are_renewed_all_the_same() -> None:
    assert policy.spacing_s(0.0, [], busy=True) == policy.POLL_S
    assert policy.spacing_s(0.0, [30.0], busy=True) == 10.0
    assert policy.spacing_s(20.0, [30.0], busy=True) == 0.0


@pytest.mark.parametrize(
    ("longest_s", "expected"), [(float("inf"), 0.0), (50.0, 0.0), (40.0, 300.0), (15.0, 300.0), (0.0, 300.0)]
)
def test_without_work_dear_calls_are_made_seldom(longest_s: float, expected: float) -> None:
    assert policy.spacing_s(longest_s, [], busy=False) == expected


# -- what this processor lacks ------------------------------------------------------------------------------------

LACKS = Outcome("failed", None, "instruction", "it was built for another processor", 0.1, 0.1)


async def test_an_app_that_this_processor_cannot_run_is_tried_once_and_said_once(client: Any) -> None:
    client.runner.outcomes = iter([LACKS])
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.server.ended)
        await client.server.give(2, 3)
        await client.until(lambda: len(client.server.ended) == 3)
    assert {status[:2] for status in client.server.ended.values()} == {("returned", "instruction")}
    assert client.kinds().count("working") == 1
    assert client.kinds().count("lacking") == 1
    again = len(client.events)
    async with client.running():
        await client.server.give(4)
        await client.until(lambda: 4 in client.server.ended)
    assert client.server.ended[4][:2] == ("returned", "instruction")
    assert not {"working", "lacking"} & {event.kind for event in client.events[again:]}


async def test_another_app_is_tried(client: Any) -> None:
    client.runner.outcomes = iter([LACKS])
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.server.ended)
        server = client.server
        other = seal(
            msgspec.structs.replace(msgspec.json.decode(server.manifest.payload, type=Manifest), title="Other"),
            server.code_key,
        )
        server.documents[hash_of(other)] = other
        await server.give(5, app=hash_of(other))
        await client.until(lambda: 2 in server.ended)
    assert server.ended[2][0] != "returned"


def test_another_processor_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Lacking(tmp_path / "l").add("a")
    assert "a" in Lacking(tmp_path / "l")
    monkeypatch.setattr(lacking, "instructions", lambda: frozenset({"everything"}))
    assert "a" not in Lacking(tmp_path / "l")
    (tmp_path / "l").write_bytes(b"\xff")
    assert "a" not in Lacking(tmp_path / "l")


def test_the_list_is_bounded_and_says_when_it_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lacking, "MOST", 2)
    known = Lacking(tmp_path / "l")
    for app in "abc":
        known.add(app)
    assert [app in known for app in "abc"] == [False, True, True]
    (tmp_path / "file").touch()
    with pytest.raises(StorageFull):
        Lacking(tmp_path / "file" / "l").add("a")


# -- bundles resume -------------------------------------------------------------------------------------------------


async def test_a_bundle_goes_on_where_it_broke_off(client: Any) -> None:
    folder = client.settings.cache / "bundles"
    folder.mkdir(parents=True)
    name = codec.digest(client.server.bundle)
    (folder / f".{name}.part").write_bytes(client.server.bundle[:7])
    starts = []
    inner = client.server.stream

    def watched(method: str, path: str, **how: Any) -> Any:
        starts.append(how["headers"].get("Range"))
        return inner(method, path, **how)

    client.server.stream = watched
    async with client.running():
        await client.server.give(21)
        await client.until(lambda: client.server.ended)
    assert starts == ["bytes=7-"]
    assert codec.decode(client.server.ended[1][2]) == 42
