"""The load generator against a real server: what it reports is so, its bad habits are real, and the audit can fail."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import psutil
import pytest
from fleet import __main__ as command
from fleet.audit import audit
from fleet.crowd import Fleet, fleet
from fleet.habits import Habits
from fleet.prepare import driving, enrol, make_units
from growth import grow
from sqlalchemy import Connection, delete, func, select

from dsage.errors import ServerAway
from dsage.home import Home
from dsage.trust.invite import Link
from dsage_server.server import Running
from dsage_server.store import credit, views
from dsage_server.store.schema import credit_entry, host, replica, unit
from dsage_server.testing import running_server, until

UNITS = 60
SOAK = 50_000


async def ended(running: Running, count: int = UNITS) -> bool:
    query = select(func.count()).select_from(unit).where(unit.c.state.in_(["valid", "failed"]))
    return await running.hub.store.read(lambda c: c.execute(query).scalar_one()) == count


async def work(running: Running, folder: Path, habits: Habits, hosts: int) -> Fleet:
    """A run of UNITS units is worked off by a fleet that joined by an invite."""
    async with driving(Home(folder)) as driver:
        await make_units(driver, UNITS)
    async with fleet([await running.invite(uses=hosts)], habits, hosts) as crowd:
        crowd.begin()
        await until(lambda: ended(running))
    while await running.hub.store.write(credit.fold):
        pass
    return crowd


async def test_a_fleet_works_units_off_and_every_answer_is_accounted_for(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        crowd = await work(running, tmp_path, Habits(batch=7), hosts=4)
        found = await running.hub.store.read(lambda c: views.status(c, "", "", 0.0))
        assert (found.units, found.replicas["valid"]) == ({"valid": UNITS}, 2 * UNITS)
        tally = crowd.shared.tally
        assert (tally.acks["ok"], len(tally.reporting), tally.troubles) == (
            2 * UNITS,
            tally.calls - len(tally.asking),
            {},
        )
        assert len(crowd.shared.acknowledged) == 2 * UNITS
        assert audit(running.hub.store.url.render_as_string(), crowd.shared.acknowledged) == []


@pytest.mark.slow
async def test_fifty_thousand_small_units_pass_and_memory_stays(tmp_path: Path) -> None:
    memory: list[int] = []

    async def passed(running: Running, count: int) -> bool:
        await asyncio.sleep(0.5)
        return await ended(running, count)

    async with running_server(tmp_path) as running:
        async with fleet([await running.invite(uses=64)], Habits(batch=10), 64) as crowd:
            crowd.begin()
            async with driving(Home(tmp_path)) as driver:
                for part in range(1, 6):
                    await make_units(driver, SOAK // 5, quorum=1)
                    while not await passed(running, part * SOAK // 5):
                        assert crowd.shared.tally.calls
                    memory.append(psutil.Process().memory_info().rss)
        assert len(crowd.shared.acknowledged) == SOAK
        assert audit(running.hub.store.url.render_as_string(), crowd.shared.acknowledged) == []
    assert memory[-1] - memory[1] < 64 << 20, "the server and its 64 hosts together, from the second part to the last"


async def test_bad_habits_are_lived_and_cost_no_answer(tmp_path: Path) -> None:
    habits = Habits(
        batch=5, work_s=0.01, failed=0.1, wrong=0.1, vanish=0.2, forget=0.5, cut=0.2, away_s=0.05, back_s=0.05
    )
    async with running_server(tmp_path) as running:
        crowd = await work(running, tmp_path, habits, hosts=12)
        tally = crowd.shared.tally
        assert tally.acks["failed"]
        assert tally.troubles["vanished"]
        assert tally.troubles["cut"]
        states = set(await running.hub.store.read(lambda c: list(c.execute(select(replica.c.state)).scalars())))
        assert {"valid", "error", "invalid", "returned"} <= states
        assert audit(running.hub.store.url.render_as_string(), crowd.shared.acknowledged) == []


def unguarded(connection: Connection) -> None:
    """Let rows of the ledger be deleted."""
    on = " ON credit_entry" if connection.dialect.name == "postgresql" else ""
    connection.exec_driver_sql(f"DROP TRIGGER credit_entry_stays{on}")


async def test_the_audit_finds_what_is_wrong(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        crowd = await work(running, tmp_path, Habits(), hosts=3)
        first = crowd.shared.acknowledged[0]
        running.hub.store.write_now(unguarded)
        running.hub.store.write_now(lambda c: c.execute(delete(credit_entry).where(credit_entry.c.replica_id == first)))
        faults = audit(running.hub.store.url.render_as_string(), [*crowd.shared.acknowledged, 10**9, first])
    assert any("1 valid copies were not paid" in fault for fault in faults)
    assert any("1 acknowledged answers are not there" in fault for fault in faults)
    assert any("1 answers were acknowledged twice" in fault for fault in faults)
    assert any("not that of the ledger: credit_sum" in fault for fault in faults)


async def test_a_database_grown_in_bulk_is_one_that_the_server_would_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DSAGE_TEST_STORE", raising=False)
    database = tmp_path / "server" / "dsage.sqlite"
    async with running_server(tmp_path) as running:
        crowd = await work(running, tmp_path, Habits(), hosts=3)
    grow(database, 300, 20)
    assert audit(database, crowd.shared.acknowledged) == []
    enrol(database, 3)
    async with running_server(tmp_path) as running, driving(Home(tmp_path), run=1) as driver:
        people = await running.hub.store.read(lambda c: c.execute(select(func.count()).select_from(host)).scalar_one())
        assert people == 3 + 20
        await make_units(driver, 10)
        async with fleet([running.link()], Habits(), 3) as later:
            later.begin()
            await until(lambda: ended(running, UNITS + 300 + 10))
        assert (await driver.researcher.run(1)).units == {"valid": UNITS + 300 + 10}
    assert audit(database, later.shared.acknowledged) == []


async def test_the_command_measures_a_server_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--home", str(tmp_path), "--hosts", "3", "--units", "40", "--batch", "4", "--audit"]
    async with running_server(tmp_path):
        said = command.parser().parse_args([*arguments, "--seconds", "0.5", "--warm-up", "0"])
        assert await command.run(said) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["acks"].keys() - {"unanswered"}, found["faults"], found["hosts"]) == ({"ok"}, [], 3)
    assert 0 < found["acks"]["ok"] <= 80
    assert 0 < found["p50_ms"] <= found["p99_ms"]


async def test_a_fleet_without_a_server_says_so(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        link = running.link()
    with pytest.raises(ServerAway, match="no server answers"):
        async with fleet([Link.parse(str(link))], Habits(), 1):
            pass
