"""Server, clients and driver are killed at random, fifty times during one factorisation: the answer is still right."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from lab import Lab, kill, lab

from dsage.states import ReplicaState

KILLS = 50
FACTORS = {300000000000000000000000000007: 1, 700000000000000000000000000000000000000000000000000000000043: 1}
"""A number whose curves keep two cores busy for one to two minutes."""
ACKNOWLEDGED = {
    ReplicaState.REPORTED, ReplicaState.VALID, ReplicaState.INVALID, ReplicaState.REDUNDANT,
    ReplicaState.RETURNED, ReplicaState.ABORTED, ReplicaState.ERROR,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_fifty_kills_lose_nothing() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    with lab(2) as running:
        number = _submit(running)
        driver = running.start("attach", str(number), log="driver")
        for count in range(KILLS):
            time.sleep(draw.uniform(0.1, 0.8))
            assert _view(running, number)["state"] == "running", f"finished after {count} kills: take a harder number"
            victim = draw.choice(["server", "client1", "client2", "driver"])
            driver = _kill(running, victim, driver, number)
        assert driver.wait(900) == 0, Path(running.folder, "driver.log").read_text()[-2000:]
        view = running.dsage_json("results", str(number))["data"]
        found = {int(prime): power for prime, power in view["result"]["factors"]}
        assert found == FACTORS
        acknowledged = _acknowledged(running)
        running.stop()
        _check_ledger(running, acknowledged)


def _submit(running: Lab) -> int:
    n = 1
    for prime in FACTORS:
        n *= prime
    return int(running.dsage_json("submit", "factor", "-p", f"n={n}", "--detach")["data"]["run"])


def _view(running: Lab, number: int) -> dict[str, object]:
    runs = running.dsage_json("status")["data"]["runs"]
    return next(run for run in runs if run["run"] == number)


def _kill(running: Lab, victim: str, driver: subprocess.Popen[str], number: int) -> subprocess.Popen[str]:
    if victim == "server":
        assert running.server is not None
        kill(running.server)
        running.start_server()
    elif victim == "driver":
        kill(driver)
        return running.start("attach", str(number), log="driver")
    else:
        kill(running.clients[victim])
        running.start_client(victim)
    return driver


def _acknowledged(running: Lab) -> set[int]:
    """Return the replicas whose results a client was told to be accepted."""
    found = set()
    for name in running.clients:
        for line in (running.folder / f"{name}.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["kind"] == "accepted":
                found.add(event["data"]["replica"])
    return found


def _check_ledger(running: Lab, acknowledged: set[int]) -> None:
    database = sqlite3.connect(running.home / "server" / "dsage.sqlite")
    states = dict(database.execute("SELECT id, state FROM replica"))
    paid = [row[0] for row in database.execute("SELECT replica_id FROM credit_entry")]
    assert len(paid) == len(set(paid))
    assert set(paid) == {replica for replica, state in states.items() if state == "valid"}
    lost = {replica for replica in acknowledged if ReplicaState(states[replica]) not in ACKNOWLEDGED}
    assert not lost, f"acknowledged, then lost: {lost}"
    folded = "id NOT IN (SELECT entry_id FROM credit_unfolded)"
    ledger = f"SELECT volunteer_id, SUM(amount_milli) FROM credit_entry WHERE {folded} GROUP BY 1"
    sums = dict(database.execute(ledger))
    assert sums == dict(database.execute("SELECT volunteer_id, amount_milli FROM credit_sum WHERE amount_milli"))
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
