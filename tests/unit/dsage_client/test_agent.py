from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsage import codec
from dsage.errors import Busy, LoggedOut, MustStop, NotAllowed, ServerAway, TooLarge, TooOld
from dsage.sandbox import Outcome
from dsage.trust.keys import PrivateKey
from dsage.wire import MAX_WAIT_S
from dsage_client import policy
from dsage_client.testing import Fault, FaultyTransport

AWAY = ServerAway("no server answers at https://localhost:1: connection refused")


async def test_units_are_computed_reported_and_forgotten(client: Any) -> None:
    server = client.server
    async with client.running():
        replicas = await server.give(1, 20, 300)
        await client.until(lambda: len(server.ended) == 3 and client.kinds().count("accepted") == 3)
    assert {r: codec.decode(server.ended[r][2]) for r in replicas} == {1: 2, 2: 40, 3: 600}
    assert set(server.statuses().values()) == {"done"}
    assert "working on unit 101 of project lab" in client.text()
    assert list(client.settings.spool.iterdir()) == []
    assert list(client.settings.held.iterdir()) == []


async def test_an_idle_client_waits_on_the_server_in_one_held_call(client: Any) -> None:
    async with client.running():
        await client.until(lambda: len(client.server.exchanges) == 2)
        for _ in range(200):
            await asyncio.sleep(0)
        assert [e.wait_s for e in client.server.exchanges] == [0.0, MAX_WAIT_S]
        assert client.server.exchanges[0].host is not None
        assert client.server.exchanges[1].host is None


async def test_a_server_that_answers_at_once_with_nothing_is_not_hammered(client: Any) -> None:
    client.server.hold_calls = False
    async with client.running():
        await client.until(lambda: len(client.server.exchanges) == 4)
        held = [e for e in client.server.exchanges if e.wait_s]
    assert len(held) == 3
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(client.server.exchanges) == 4


async def test_no_more_is_fetched_than_slots_can_run(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1, 2, 3, 4)
        await client.until(lambda: len(client.runner.running) == 2)
        await client.until(lambda: client.server.exchanges[-1].want == 0)
        assert len(client.server.exchanges[-1].holding) == 2
        client.runner.gate.set()
        await client.until(lambda: len(client.server.ended) == 4)


async def test_a_result_is_reported_while_another_call_is_held(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.runner.running and client.server.exchanges[-1].wait_s == MAX_WAIT_S)
        held = client.server.exchanges[-1]
        client.runner.gate.set()
        await client.until(lambda: client.server.ended)
        report = client.server.exchanges[client.server.exchanges.index(held) + 1]
        assert [r.replica for r in report.reports] == [1]
        assert report.want > 0


async def test_short_deadlines_are_renewed_in_time(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1, deadline_s=30.0)
        await client.until(lambda: client.runner.running and client.server.exchanges[-1].holding)
        assert client.server.exchanges[-1].wait_s == 10.0


async def test_renewal_tells_the_progress_of_the_child(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1, deadline_s=0.03)
        await client.until(lambda: client.runner.running)
        client.runner.running[1].on_cpu(12.5)
        await client.until(lambda: [h.cpu_s for h in client.server.exchanges[-1].holding] == [12.5])
        assert client.server.exchanges[-1].holding[0].lease == b"lease-1"


async def test_what_a_unit_prints_is_told_soon_while_a_call_is_held_and_only_when_it_is_news(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "SOON_S", 0.05)
    server, told = client.server, []

    def heard() -> list[bytes]:
        told[:] = [holding.output for message in server.exchanges for holding in message.holding]
        return told

    client.runner.gate.clear()
    async with client.running():
        await server.give(1)
        await client.until(lambda: client.runner.running and server.exchanges[-1].wait_s == MAX_WAIT_S)
        calls = len(server.exchanges)
        client.runner.running[1].on_output(b"begun\n")
        client.runner.running[1].on_output(b"begun\nhalf\n")
        await client.until(lambda: len(server.exchanges) == calls + 2 and server.exchanges[-1].wait_s)
        assert heard()[-2:] == [b"begun\nhalf\n", b""]
        client.runner.outcomes = iter([Outcome("done", codec.encode(2), "", "", 0.5, 1.0, b"begun\nhalf\nended\n")])
        client.runner.gate.set()
        await client.until(lambda: server.ended)
    assert [r.output for m in server.exchanges for r in m.reports] == [b"begun\nhalf\nended\n"]


async def test_what_a_unit_printed_is_told_again_when_the_call_failed(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "SOON_S", 0.01)
    server = client.server
    client.runner.gate.clear()
    async with client.running():
        await server.give(1)
        await client.until(lambda: client.runner.running and server.exchanges[-1].wait_s == MAX_WAIT_S)
        await server.strike(AWAY)
        client.runner.running[1].on_output(b"alone\n")
        await client.until(lambda: "away" in client.kinds())
        await server.strike(None)
        await client.until(lambda: any(h.output == b"alone\n" for m in server.exchanges for h in m.holding))
        client.runner.gate.set()


async def test_a_unit_called_off_keeps_what_it_printed(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        client.runner.running[1].on_output(b"so far\n")
        await client.server.abort(1)
        await client.until(lambda: client.server.ended)
    assert [r.output for m in client.server.exchanges for r in m.reports] == [b"so far\n"]


async def test_while_the_server_is_away_work_goes_on_and_results_are_kept(client: Any) -> None:
    server, runner = client.server, client.runner
    runner.gate.clear()
    async with client.running():
        await server.give(1, 2)
        await client.until(lambda: len(runner.running) == 2)
        await server.strike(AWAY)
        runner.gate.set()
        await client.until(lambda: len(list(client.settings.spool.glob("*.result"))) == 2)
        await client.until(lambda: "away" in client.kinds())
        assert server.ended == {}
        await server.strike(None)
        await client.until(lambda: len(server.ended) == 2)
    assert "waiting: no server answers at https://localhost:1: connection refused" in client.text()
    assert "next try at" in client.text()
    assert client.kinds().count("connected") == 2


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_lost_message_costs_nothing(client: Any, fault: Fault) -> None:
    lost = [5]

    def plan(path: str) -> Fault | None:
        if path == "/v1/exchange" and client.server.ended.keys() != {1, 2, 3} and lost[0]:
            lost[0] -= 1
            return fault
        return None

    client.transport = FaultyTransport(client.server, plan)
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: len(client.server.ended) == 1 or not lost[0])
        await client.server.give(2, 3)
        await client.until(lambda: {2, 3} <= client.server.ended.keys() or fault is Fault.REPLY_LOST)
        await client.until(lambda: not list(client.settings.spool.glob("*")))
    assert len(client.server.order) == len(set(client.server.order))


async def test_after_a_lost_reply_the_client_says_anew_what_it_holds(client: Any) -> None:
    introduced: list[bool] = []

    class Watched(FaultyTransport):
        async def call(self, method: str, path: str, body: Any, reply: Any, **options: Any) -> Any:
            if path == "/v1/exchange":
                introduced.append(body.host is not None)
            return await super().call(method, path, body, reply, **options)

    def plan(path: str) -> Fault | None:
        return Fault.REPLY_LOST if path == "/v1/exchange" and len(introduced) == 2 else None

    client.transport = Watched(client.server, plan)
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: len(introduced) > 3)
    assert introduced[:2] == [True, False]
    assert introduced[2:].count(True) == 1


async def test_an_expired_token_costs_one_login(client: Any) -> None:
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.server.ended)
        client.server.forget_tokens()
        await client.server.give(2)
        await client.until(lambda: len(client.server.ended) == 2)
    assert client.server.logins == 2
    assert "away" not in client.kinds()


async def test_a_server_that_was_away_and_forgot_everybody_is_logged_in_to_at_once(client: Any) -> None:
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.server.ended)
        await client.server.strike(AWAY)
        await client.until(lambda: "away" in client.kinds())
        client.server.forget_tokens()
        await client.server.strike(None)
        await client.until(lambda: client.kinds().count("connected") == 2)
    assert client.server.logins == 2
    assert LoggedOut.code not in [event.data.get("code") for event in client.events]


async def test_a_server_that_refuses_every_token_is_left_alone_for_a_while(client: Any) -> None:
    await client.server.strike(LoggedOut("log in first"))
    async with client.running():
        await client.until(lambda: client.kinds().count("away") >= 1)
    assert "log in first" in client.text()


async def test_a_busy_server_is_left_alone_as_long_as_it_asks(client: Any) -> None:
    await client.server.strike(Busy("too much to do", retry_s=0.03))
    async with client.running():
        await client.until(lambda: "away" in client.kinds())
        await client.server.strike(None)
        await client.until(lambda: "connected" in client.kinds())
    told = next(event for event in client.events if event.kind == "away")
    assert told.data["retry_s"] == 0.03


async def test_a_server_too_busy_for_questions_still_gets_results_at_once(client: Any) -> None:
    server, runner = client.server, client.runner
    runner.gate.clear()
    async with client.running():
        await server.give(1, 2)
        await client.until(lambda: len(runner.running) == 2)
        await server.strike(Busy("work is not handed out for the moment", retry_s=1000.0))
        await client.until(lambda: "away" in client.kinds())
        await server.strike(None)
        asked = len(server.exchanges)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(server.exchanges) == asked
        runner.gate.set()
        await client.until(lambda: len(server.ended) == 2)
        assert all(call.reports for call in server.exchanges[asked:])


async def test_a_server_too_busy_for_results_gets_them_when_it_asks_for_them(client: Any) -> None:
    server, runner = client.server, client.runner
    runner.gate.clear()
    async with client.running():
        await server.give(1)
        await client.until(lambda: len(runner.running) == 1)
        await server.strike(Busy("results are not taken for the moment", retry_s=1000.0))
        runner.gate.set()
        await client.until(lambda: server.refused == 1)
        await server.strike(None)
        asked = len(server.exchanges)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(server.exchanges) == asked
    assert len(server.ended) == 1, "the last call at the stop brings it"


async def test_the_reason_for_having_no_work_is_told_once(client: Any) -> None:
    client.server.hold_calls = False
    client.settings = replace(client.settings, backoff_high_s=60.0)
    client.server.reason, client.server.retry_s = "no run has work for this computer", 0.001
    async with client.running():
        await client.until(lambda: len(client.server.exchanges) > 4)
    assert client.kinds().count("waiting") == 1
    assert "waiting: no run has work for this computer; next try at" in client.text()


async def test_an_abort_ends_the_child_and_reports_its_last_checkpoint(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1, 2)
        await client.until(lambda: len(client.runner.running) == 2)
        client.runner.running[1].on_checkpoint(b"half done")
        client.runner.running[1].on_cpu(3.0)
        await client.server.abort(1)
        await client.until(lambda: 1 in client.server.ended)
        assert client.server.ended[1] == ("aborted", "asked", b"half done")
        assert client.runner.cancelled == [1]
        assert list(client.runner.running) == [2]
        report = next(r for e in client.server.exchanges for r in e.reports)
        assert report.cpu_s == 3.0


async def test_a_revoked_app_is_stopped_at_the_next_contact(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        await client.server.new_root(2, revoked_apps=[client.server.app])
        await client.until(lambda: client.server.ended)
        assert client.server.ended[1][:2] == ("aborted", "revoked")
        assert client.roots == [client.server.root]
        await client.server.give(2)
        await client.until(lambda: 2 in client.server.ended)
        assert client.server.ended[2][:2] == ("failed", "trust.revoked")


async def test_a_root_that_does_not_follow_is_not_believed(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        client.server.root_key = PrivateKey.generate()
        await client.server.new_root(2, revoked_apps=[client.server.app])
        await client.until(lambda: "untrusted" in client.kinds())
        assert list(client.runner.running) == [1]
    assert client.roots == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"server_id": "another"}, "trust.server"),
        ({"expires": 1.0}, "trust.expired"),
        ({"cpu_s": 61.0}, "trust.role"),
        ({"memory_bytes": 0}, "trust.role"),
        ({"run": "../../../../dev/zero"}, "trust"),
        ({"app": "0" * 64}, "not-found"),
    ],
)
async def test_a_unit_that_may_not_run_is_refused_aloud(client: Any, changes: dict[str, Any], code: str) -> None:
    async with client.running():
        await client.server.give(1, **changes)
        await client.until(lambda: client.server.ended)
    assert client.server.ended[1][:2] == ("failed", code)
    assert "working" not in client.kinds()
    assert ("refused" in client.kinds()) == code.startswith("trust")


@pytest.mark.parametrize("what", ["document", "batch", "key", "manifest", "authorisation", "bundle"])
async def test_a_forged_link_of_the_chain_is_refused(client: Any, what: str) -> None:
    server = client.server
    if what == "key":
        server.unit_key = server.code_key
    if what == "bundle":
        server.bundle = server.bundle.replace(b"2 * args", b"3 * args")
    if what in ("manifest", "authorisation"):
        wrong = server.authorisation if what == "manifest" else server.manifest
        server.documents = dict.fromkeys(server.documents, wrong)
    await server.give(1)
    assignment, batch = server._ready[0]
    if what == "document":
        assignment.document = assignment.document.replace(b'"cpu_s":60.0', b'"cpu_s":59.0')
    if what == "batch":
        forged = type(batch)(batch.payload_type, batch.payload.replace(b'"count":1', b'"count":2'), batch.signatures)
        server._ready[0] = (assignment, forged)
    async with client.running():
        await client.until(lambda: server.ended)
    status, reason, _ = server.ended[1]
    assert status == "failed"
    assert reason in {"document": ("trust.path",), "key": ("trust.role",)}.get(what, ("trust.signature",))
    assert "working" not in client.kinds()
    assert "REFUSED unit 101, it was not run:" in client.text()


async def test_failures_in_a_row_stop_the_fetching_for_a_while(client: Any) -> None:
    async with client.running():
        await client.server.give(*range(12), expires=1.0)
        await client.until(lambda: len(client.server.ended) >= 5)
        assert "units in a row failed on this computer" in client.text()
        await client.until(lambda: len(client.server.ended) == 12)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome("failed", None, "exception", "ZeroDivisionError", 0.1, 0.1), "failed"),
        (Outcome("limit", None, "memory", "", 0.1, 0.1), "failed"),
        (Outcome("broken", None, "sandbox", "", 0.0, 0.0), "failed"),
        (Outcome("stopped", None, "closed", "", 0.0, 0.0), "returned"),
    ],
)
async def test_how_a_box_ended_is_how_it_is_reported(client: Any, outcome: Outcome, status: str) -> None:
    client.runner.outcomes = iter([outcome])
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.server.ended)
        await client.server.give(2)
        await client.until(lambda: 2 in client.server.ended)
    assert client.server.ended[1][:2] == (status, outcome.reason)
    assert client.server.ended[2][0] == "done"


async def test_a_killed_client_goes_on_with_the_same_replica(client: Any, tmp_path: Path) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(7)
        await client.until(lambda: client.runner.running)
        client.runner.running[1].on_cpu(40.0)
        client.runner.running[1].on_checkpoint(b"so far")
        again = client.killed(tmp_path / "again")
    before = len(client.server.exchanges)
    again.runner.gate.clear()
    async with again.running():
        await again.until(lambda: again.runner.running and len(client.server.exchanges) > before)
        first = client.server.exchanges[before]
        assert [(h.replica, h.cpu_s) for h in first.holding] == [(1, 40.0)]
        assert again.runner.running[1].restored == b"so far"
        again.runner.running[1].on_cpu(2.0)
        again.runner.gate.set()
        await again.until(lambda: client.server.ended)
    assert codec.decode(client.server.ended[1][2]) == 14
    assert "working on unit 101 of project lab again, from its checkpoint" in again.text()
    assert [r.cpu_s for e in client.server.exchanges for r in e.reports] == [40.5]


async def test_finished_results_of_a_killed_client_are_sent_by_the_next(client: Any, tmp_path: Path) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(8)
        await client.until(lambda: client.runner.running)
        await client.server.strike(AWAY)
        client.runner.gate.set()
        await client.until(lambda: list(client.settings.spool.glob("*.result")))
        again = client.killed(tmp_path / "again")
    await client.server.strike(None)
    async with again.running():
        await again.until(lambda: client.server.ended)
    assert codec.decode(client.server.ended[1][2]) == 16
    assert "working" not in again.kinds()
    assert "going on with 0 begun units; 1 finished results are still to be sent" in again.text()


async def test_what_the_server_has_given_up_is_dropped_at_the_start(client: Any, tmp_path: Path) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(7)
        await client.until(lambda: client.runner.running)
        client.runner.running[1].on_checkpoint(b"so far")
        again = client.killed(tmp_path / "again")
    again.runner.gate.clear()
    await client.server.abort(1)
    async with again.running():
        await again.until(lambda: client.server.ended)
    assert client.server.ended[1] == ("aborted", "asked", b"so far")
    assert list(again.settings.held.iterdir()) == []


async def test_an_orderly_stop_keeps_begun_units_and_returns_the_others(client: Any) -> None:
    client.runner.gate.clear()
    client.runner.outcomes = iter([Outcome("done", b"\x01", "", "", 1.0, 1.0)])
    client.server.hold_calls = True
    async with client.running() as agent:
        agent._slots._mean_unit_s = 1.0
        await client.server.give(1, 2, 3)
        await client.until(lambda: len(client.runner.running) == 2 and len(agent._slots) == 3)
        client.runner.running[1].on_checkpoint(b"one")
    assert client.server.statuses() == {3: "returned"}
    last = client.server.exchanges[-1]
    assert [h.replica for h in last.holding] == [1, 2]
    assert last.want == 0
    assert sorted(path.name for path in client.settings.held.iterdir()) == ["1.checkpoint", "1.lease", "2.lease"]
    assert client.runner.cancelled == [1, 2]
    assert "stopped; 2 begun units and 0 finished results are kept for the next start" in client.text()


async def test_units_in_reserve_go_back_when_those_before_them_take_long(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running() as agent:
        agent._slots._mean_unit_s = 1.0
        await client.server.give(1, 2, 3, deadline_s=0.03)
        await client.until(lambda: len(client.runner.running) == 2 and len(agent._slots) == 3)
        agent._slots._mean_unit_s = 1000.0
        await client.until(lambda: client.server.ended)
        assert client.server.ended == {3: ("returned", "surplus", None)}
        client.runner.gate.set()
        await client.until(lambda: len(client.server.ended) == 3)


async def test_stopping_does_not_wait_for_a_server_that_is_away(client: Any) -> None:
    client.runner.gate.clear()
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        await client.server.strike(AWAY)
    assert "the last call did not get through" in client.text()


async def test_a_full_disk_stops_the_fetching_and_loses_nothing(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, runner = client.server, client.runner
    runner.gate.clear()

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with client.running():
        await server.give(1, 2)
        await client.until(lambda: len(runner.running) == 2)
        await server.strike(AWAY)
        await client.until(lambda: "away" in client.kinds())
        monkeypatch.setattr("dsage.files.os.fsync", no_room)
        runner.gate.set()
        await client.until(lambda: not runner.running and "storage" in client.kinds())
        assert list(client.settings.spool.glob("*")) == []
        before = len(server.exchanges)
        await server.strike(None)
        await client.until(lambda: len(server.ended) == 2)
        back = server.exchanges[before]
        assert (len(back.reports), back.want) == (2, 0)
        monkeypatch.undo()
        await server.give(3)
        await client.until(lambda: 3 in server.ended)
    assert "No space left on device" in client.text()


async def test_a_damaged_result_is_told_and_the_client_goes_on(client: Any) -> None:
    client.settings.spool.mkdir()
    (client.settings.spool / "000000000001-9.result").write_bytes(b"rubbish")
    async with client.running():
        await client.server.give(1)
        await client.until(lambda: client.server.ended)
    assert client.kinds()[0] == "damaged"
    assert [path.name for path in client.settings.damaged.iterdir()] == ["000000000001-9.result"]


async def test_a_client_that_is_too_old_finishes_what_it_has_and_stops(client: Any) -> None:
    client.runner.gate.clear()
    agent = client.agent()
    task = asyncio.create_task(agent.run())
    await client.server.give(1)
    await client.until(lambda: client.runner.running)
    await client.server.strike(TooOld("this server needs DSage 2 or later"))
    await client.until(lambda: agent._farewell is not None)
    assert not task.done()
    await client.server.strike(None)
    client.runner.gate.set()
    with pytest.raises(MustStop, match="needs DSage 2"):
        await task
    assert client.server.statuses() == {1: "done"}


async def test_a_client_that_the_server_does_not_know_stops_with_a_sentence(client: Any) -> None:
    await client.server.strike(NotAllowed("no such key"))
    with pytest.raises(MustStop, match="does not know this client any more: no such key"):
        await client.agent().run()


async def test_a_result_that_no_call_can_carry_is_reported_as_failed(client: Any) -> None:
    server = client.server
    honest = server._exchange

    async def narrow(message: Any) -> Any:
        if sum(len(report.value or b"") for report in message.reports) > 4:
            raise TooLarge("more than this server takes")
        return await honest(message)

    server._exchange = narrow
    client.runner.outcomes = iter([Outcome("done", b"\xc4\x04longer", "", "", 1.0, 1.0)])
    async with client.running():
        await server.give(1, 2)
        await client.until(lambda: len(server.ended) == 2)
    assert sorted(server.statuses().values()) == ["done", "failed"]


async def test_a_defect_in_a_runner_ends_the_agent_instead_of_hanging_it(client: Any) -> None:
    async def broken(work: Any) -> Outcome:
        raise ZeroDivisionError("a defect")

    client.runner.run = broken
    await client.server.give(1)
    with pytest.raises(ZeroDivisionError):
        await client.agent().run()
