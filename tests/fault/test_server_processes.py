"""Several server processes on one PostgreSQL, with a fleet on them: each of them, and the database, may go."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from siege import RESTLESS, siege

from dsage import codec
from dsage.errors import Busy, NotFound, ServerAway
from dsage_server import timekeeping
from dsage_server.store.claims import CLAIM_S
from dsage_server.store.testing import POSTGRESQL, VARIABLE, Cluster, postgres_cluster
from dsage_server.testing import APP, World, document, held, running_server, until
from dsage_validator.checks import judge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

OUTAGE_S = float(os.environ.get("DSAGE_TEST_OUTAGE_S", "10"))
"""How long the database is away; longer by hand."""
AT_ONCE_S = 1.0
OPEN = "SELECT count(*) FROM unit WHERE state IN ('ready', 'active', 'comparing')"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        with postgres_cluster() as made:
            yield made
    except NotFound as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{missing.message}: {missing.hint}")


async def test_work_made_at_one_process_reaches_the_hosts_of_the_other_and_ends_there_too(cluster: Cluster) -> None:
    async with siege(store=cluster.database(), servers=2, units=1_000) as under:
        await under.until(lambda: not under.count(OPEN))
        host = await under.host(1)
        waits = asyncio.create_task(host.exchange(want=5, wait_s=50.0))
        assert not (await asyncio.wait({waits}, timeout=0.5))[0]
        run = await under.run(0)
        await run.make(*range(5_000), quorum=3)
        async with asyncio.timeout(AT_ONCE_S):
            got = (await waits).units
        assert got
        waits = asyncio.create_task(host.exchange(holding=[held(each) for each in got], wait_s=50.0))
        await under.goes_on()
        await run.researcher.cancel(run.run)
        async with asyncio.timeout(AT_ONCE_S):
            assert sorted((await waits).abort) == sorted(each.replica for each in got)
        copies = f"SELECT count(*) FROM replica JOIN unit ON unit.id = replica.unit_id WHERE run_id = {run.run}"
        await under.until(lambda: under.count(f"{copies} AND replica.state = 'leased'") == len(got))


async def test_a_process_that_is_killed_leaves_its_hosts_and_its_claims_to_the_other(cluster: Cluster) -> None:
    async with siege(store=cluster.database(), servers=2, units=10_000) as under:
        for gone, stays in ((0, 1), (1, 0), (0, 1)):
            under.kill(gone)
            under.leads_to(stays)
            await under.goes_on(500)
            await under.start(gone)
        under.kill(0)
        await under.until(lambda: not under.count(OPEN), within_s=2 * CLAIM_S)
        assert under.lives(1)


async def test_a_database_that_is_killed_and_restarted_has_what_was_acknowledged(cluster: Cluster) -> None:
    async with siege(store=cluster.database(), servers=2, units=20_000, habits=RESTLESS) as under:
        for _ in range(3):
            await under.goes_on(500)
            for number in cluster.processes():
                os.kill(number, signal.SIGKILL)
            await under.until(lambda: starts(cluster))
        await under.goes_on(500)
        assert (under.lives(0), under.lives(1)) == (True, True)


async def starts(cluster: Cluster) -> bool:
    """Start PostgreSQL; it refuses while a process that was killed is not quite gone."""
    try:
        await asyncio.to_thread(cluster.start)
    except ServerAway:
        return False
    return True


async def test_a_database_that_is_away_is_waited_for(cluster: Cluster) -> None:
    async with siege(store=cluster.database(), servers=2, units=20_000) as under:
        began = time.monotonic()
        await asyncio.to_thread(cluster.stop)
        await under.until(lambda: under.troubles().get("sent away"))
        had = under.acknowledged
        with pytest.raises(Busy):
            await under.status()
        await under.until(lambda: time.monotonic() - began > OUTAGE_S, within_s=OUTAGE_S + 1.0)
        assert under.acknowledged == had
        await asyncio.to_thread(cluster.start)
        await under.goes_on(1_000)
        assert (await under.status(1)).trouble == ""
        assert (under.lives(0), under.lives(1)) == (True, True)


async def test_roles_apart_do_together_what_one_process_does(cluster: Cluster) -> None:
    roles = [("--roles", name) for name in ("api", "validator", "validator", "projector", "sweeper")]
    async with siege(store=cluster.database(), servers=5, more=roles, links=[0], units=4_000) as under:
        late = await (await under.host()).fetch(1)
        run = await under.run(0, APP, "Checked")
        await run.make(*range(1, 200), quorum=2)
        under.change(f"UPDATE replica SET deadline = 1, hard_deadline = 1 WHERE id = {late[0].replica}")
        await under.until(lambda: not under.count(OPEN), within_s=60.0)
        await under.until(lambda: not under.count("SELECT count(*) FROM credit_unfolded"))
        assert under.ask(f"SELECT state FROM replica WHERE id = {late[0].replica}") == [("expired",)]
        assert under.count(f"SELECT count(*) FROM unit WHERE run_id = {run.run} AND state = 'valid'") == 199
        twice = "SELECT count(*) FROM (SELECT 1 FROM replica GROUP BY unit_id HAVING count(DISTINCT camp) > 1) AS camps"
        assert under.count(twice) == 0


async def test_two_validators_judge_each_answer_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, POSTGRESQL)
    judged: Counter[int] = Counter()

    async def counted(asker: Any, manifest: Any, args: Any, centres: Any, candidates: Any) -> Any:
        judged.update(each.replica for each in candidates)
        return await judge(asker, manifest, args, centres, candidates)

    monkeypatch.setattr(timekeeping, "judge", counted)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running_server(tmp_path)) for _ in range(2)]
        world = World(servers[0], tmp_path, stack)
        hosts = [await world.host() for _ in range(2)]
        run = await world.run("Checked")
        await run.make(*range(1, 41), quorum=2)
        for host in hosts:
            left = 40
            while left:
                got = await host.fetch(50, wait_s=10.0)
                values = [codec.decode(document(each).args) for each in got]
                left -= (await host.report(got, values)).count("ok")

        async def ended() -> bool:
            return (await world.view(run)).units.get("valid") == 40

        await until(ended)
        await world.close()
    assert judged
    assert set(judged.values()) == {1}
