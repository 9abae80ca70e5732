"""Several server processes on one PostgreSQL, with a fleet on them: any of them, and the database, may go at any time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest
from siege import RESTLESS, siege

from dsage.errors import Busy, NotFound
from dsage_server.store.claims import CLAIM_S
from dsage_server.store.testing import Cluster, postgres_cluster
from dsage_server.testing import APP, held

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
            await asyncio.to_thread(cluster.start)
        await under.goes_on(500)
        assert (under.lives(0), under.lives(1)) == (True, True)


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
    async with siege(store=cluster.database(), servers=5, more=roles, links=[0], units=500) as under:
        host = await under.host()
        run = await under.run(0, APP, "Checked")
        await run.make(*range(1, 200), quorum=2)
        late = await host.fetch(1)
        under.change(f"UPDATE replica SET deadline = 1, hard_deadline = 1 WHERE id = {late[0].replica}")
        await under.until(lambda: not under.count(OPEN), within_s=60.0)
        await under.until(lambda: not under.count("SELECT count(*) FROM credit_entry WHERE NOT folded"))
        assert under.ask(f"SELECT state FROM replica WHERE id = {late[0].replica}") == [("expired",)]
        assert under.count(f"SELECT count(*) FROM unit WHERE run_id = {run.run} AND state = 'valid'") == 199
        twice = "SELECT count(*) FROM (SELECT 1 FROM replica GROUP BY unit_id HAVING count(DISTINCT camp) > 1) AS camps"
        assert under.count(twice) == 0
