"""What 10 million finished units cost the server: its rate beside that with an almost empty table. `make bench-growth`.

The large table is made in bulk: a short piece of real work is done first, and its rows are then copied, each with ids,
keys and owners of its own, so that they are what the server would have written. Both servers are measured in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import uvloop
from figures import figure, say
from fleet.habits import Habits
from serving import HOSTS, Bench, Options

from dsage_server.store.credit import weight
from dsage_server.store.schema import metadata

UNITS = 10_000_000
PEOPLE = 100_000
ROUNDS = 3
WINDOW_S = 20.0
BATCH = 10
HOSTS_AT_WORK = 128
QUORUM = 2
REPORTS = 10
"""Replicas under one signed proof."""
LEAVES = 256
CHUNK = 250_000
BAR_PERCENT = 15.0
RATE = 10_000.0
"""Units that wait are made for this many replicas a second."""


def grow(database: Path, units: int, people: int) -> None:
    """Add finished units, each with two paid copies, and people who did them, to a database that nobody uses.

    It must hold a unit of that kind already. Ids go on from the highest of each table.
    """
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "cache_size=-1000000", "locking_mode=EXCLUSIVE"):
            connection.execute(f"PRAGMA {pragma}")
        first = {name: _next(connection, name) for name in ("volunteer", "host", "batch", "unit", "proof", "replica")}
        sample = _sample(connection)
        _copy(connection, "volunteer", sample, 0, people, {
            "id": f"{first['volunteer']} + i", "pseudonym": "'grown ' || i",
        })  # fmt: skip
        _copy(connection, "host", sample, 0, people, {
            "id": f"{first['host']} + i", "volunteer_id": f"{first['volunteer']} + i", "key": "randomblob(32)",
        })  # fmt: skip
        for start in range(0, units, CHUNK):
            end = min(units, start + CHUNK)
            connection.execute("BEGIN")
            _add(connection, sample, first, people, start, end)
            connection.execute("COMMIT")
            say(f"     {end} of {units} units")
        _sums(connection, first, units)


def _add(
    connection: sqlite3.Connection,
    sample: Mapping[str, int],
    first: Mapping[str, int],
    people: int,
    start: int,
    end: int,
) -> None:
    """Add the units with the numbers from `start` to `end`, and all that belongs to them."""
    owner = f"(i % {people})"
    unit, proof = f"{first['unit']} + i / {QUORUM}", f"{first['proof']} + i / {REPORTS}"
    copies = start * QUORUM, end * QUORUM
    _copy(connection, "batch", sample, -(-start // LEAVES), -(-end // LEAVES), {"id": f"{first['batch']} + i"})
    _copy(connection, "unit", sample, start, end, {
        "id": f"{first['unit']} + i", "key": "'grown ' || i",
        "canonical_id": f"{first['replica']} + i * {QUORUM}", "folded_step": "1",
    })  # fmt: skip
    _copy(connection, "signed_unit", sample, start, end, {
        "unit_id": f"{first['unit']} + i", "batch_id": f"{first['batch']} + i / {LEAVES}",
        "leaf_index": f"i % {LEAVES}",
    })  # fmt: skip
    _copy(connection, "proof", sample, -(-copies[0] // REPORTS), -(-copies[1] // REPORTS), {
        "id": f"{first['proof']} + i", "host_id": f"{first['host']} + {owner}",
    })  # fmt: skip
    people_of = {"host_id": f"{first['host']} + {owner}", "volunteer_id": f"{first['volunteer']} + {owner}"}
    _copy(connection, "replica", sample, *copies, {
        "id": f"{first['replica']} + i", "unit_id": unit, "lease": "randomblob(16)", "proof_id": proof,
        "camp": f"{first['replica']} + i / {QUORUM} * {QUORUM}", **people_of,
    })  # fmt: skip
    _copy(connection, "answer", sample, start, end, {"replica_id": f"{first['replica']} + i * {QUORUM}"})
    _copy(connection, "credit_entry", sample, *copies, {
        "id": "NULL", "replica_id": f"{first['replica']} + i", **people_of,
    })  # fmt: skip


def _copy(
    connection: sqlite3.Connection, table: str, sample: Mapping[str, int], start: int, end: int, own: Mapping[str, str]
) -> None:
    """Insert a copy of a table's sample row for each number i from `start` to `end`; `own` are its own columns."""
    columns = list(metadata.tables[table].columns.keys())
    values = ", ".join(own.get(name, f"s.{name}") for name in columns)
    connection.execute(
        f"WITH RECURSIVE n(i) AS (SELECT ? WHERE ? < ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {values} FROM n, (SELECT * FROM {table} WHERE rowid = ?) AS s",
        (start, start, end, end, sample[table]),
    )


def _sample(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the row ids of one valid unit and of what belongs to it."""
    row = connection.execute(
        "SELECT u.id, s.batch_id, r.id, r.host_id, r.volunteer_id, r.proof_id, c.id FROM unit u "
        "JOIN signed_unit s ON s.unit_id = u.id "
        "JOIN replica r ON r.id = u.canonical_id JOIN credit_entry c ON c.replica_id = r.id "
        "JOIN answer a ON a.replica_id = r.id WHERE u.state = 'valid' LIMIT 1"
    ).fetchone()
    if row is None:
        raise LookupError("there is no finished unit to copy")
    names = ("unit", "batch", "replica", "host", "volunteer", "proof", "credit_entry")
    return {**dict(zip(names, row, strict=True)), "answer": row[2], "signed_unit": row[0]}


def _next(connection: sqlite3.Connection, table: str) -> int:
    """Return the first id that neither the table nor the server's reserved blocks have."""
    highest = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
    reserved = connection.execute("SELECT value FROM meta WHERE name = ?", (f"next_{table}",)).fetchone()
    return max(int(highest) + 1, int(reserved[0]) if reserved else 0)


def _sums(connection: sqlite3.Connection, first: Mapping[str, int], units: int) -> None:
    """Bring the sums and the reserved ids up to what was added."""
    for table in first:
        connection.execute(
            f"UPDATE meta SET value = (SELECT max(id) + 1 FROM {table}) WHERE name = ?", (f"next_{table}",)
        )
    credit = connection.execute(
        "SELECT amount_milli, run_id, granted, app FROM credit_entry ORDER BY id DESC LIMIT 1"
    ).fetchone()
    each, own = weight(credit[2]) / 1000, (first["volunteer"],)
    paid = "FROM credit_entry WHERE volunteer_id >= ? GROUP BY"
    made = "FROM credit_entry WHERE volunteer_id >= ?"
    connection.execute(f"INSERT INTO ledger_span SELECT 1, min(id), max(id) {made}", own)
    connection.execute(f"DELETE FROM credit_unfolded WHERE entry_id >= (SELECT min(id) {made})", own)
    totals = "sum(amount_milli), count(*)"
    scored = f"{totals}, sum(amount_milli) * {each!r}"
    connection.execute(f"INSERT INTO credit_sum SELECT volunteer_id, {scored}, 0 {paid} volunteer_id", own)
    connection.execute(f"INSERT INTO credit_host SELECT host_id, {scored} {paid} host_id", own)
    connection.execute(
        f"INSERT INTO run_credit SELECT run_id, volunteer_id, {totals}, 0 {paid} volunteer_id, run_id", own
    )
    app = "(SELECT id FROM credit_app WHERE credit_app.app = credit_entry.app)"
    day = f"volunteer_id, {int(credit[2] // 86400)}, {app}"
    connection.execute(f"INSERT INTO credit_daily SELECT {day}, {totals} {paid} volunteer_id, app", own)
    people = connection.execute("SELECT count(*) FROM volunteer WHERE id >= ?", (first["volunteer"],)).fetchone()[0]
    amount = QUORUM * units * credit[0]
    connection.execute(
        "INSERT INTO people_sum SELECT 0, max(slot) + 1, ?, ?, ?, ? FROM people_sum",
        (people, amount, QUORUM * units, amount * each),
    )
    connection.execute(
        "UPDATE credit_app SET amount_milli = amount_milli + ?, valid = valid + ?, score = score + ? WHERE app = ?",
        (amount, QUORUM * units, amount * each, credit[3]),
    )
    for what, number in (
        ("unit.valid", units),
        ("replica.valid", QUORUM * units),
        ("credit", amount),
        ("unlisted", amount),
        ("volunteers", min(people, QUORUM * units)),
    ):
        connection.execute(
            "UPDATE tally SET n = n + ? WHERE run_id = ? AND what = ? AND slot = (SELECT min(slot) FROM tally "
            "WHERE run_id = ? AND what = ?)", (number, credit[1], what, credit[1], what),
        )  # fmt: skip


def forget_files() -> bool:
    """Drop the system's page cache; False if that is not allowed here."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long something took."""
    begin = time.perf_counter()
    yield
    say(f"     {what}: {time.perf_counter() - begin:.0f} s")


async def main(units: int, people: int, seconds: float, folder: Path) -> None:
    """Measure both servers in turn, the large one first with nothing of it in memory."""
    small, large = Bench(folder / "small", Options()), Bench(folder / "large", Options())
    enough = int(ROUNDS * RATE / QUORUM * (seconds + 5))
    await large.prepare(30_000, HOSTS)
    await large.measure(Habits(batch=BATCH), HOSTS_AT_WORK, 2.0)
    with timed(f"{units} units, {QUORUM * units} replicas, {people} hosts in bulk"):
        grow(large.home.server / "dsage.sqlite", units, people)
    size = sum(path.stat().st_size for path in large.home.server.glob("dsage.sqlite*"))
    say(f"     the database has {size / 1e9:.1f} GB")
    for bench in (small, large):
        await bench.prepare(enough, HOSTS)
    dropped = forget_files()
    say("     page cache dropped" if dropped else "     the page cache cannot be dropped here: the first round is warm")
    rates: dict[str, list[float]] = {"large": [], "small": []}
    costs: dict[str, list[float]] = {"large": [], "small": []}
    for turn in range(ROUNDS + dropped):
        for name, bench in (("large", large), ("small", small)):
            say(f"     {name}, {'cold' if dropped and not turn else 'warm'}")
            done = await bench.measure(Habits(batch=BATCH), HOSTS_AT_WORK, seconds)
            rates[name].append(done.replicas_per_s)
            costs[name].append(sum(done.server_cpu_s) / max(1.0, done.replicas_per_s * done.seconds))
    large.audit()
    if dropped:
        cold, _ = rates["large"].pop(0), rates["small"].pop(0)
        figure(f"growth: {BATCH} a call just after the page cache was dropped", cold, "replicas/s", better="higher")
    empty, full = statistics.median(rates["small"]), statistics.median(rates["large"])
    peer = ("an almost empty table", empty)
    figure(f"growth: {BATCH} a call with {units} finished units", full, "replicas/s", better="higher", peer=peer)
    costlier = statistics.median(costs["large"]) / statistics.median(costs["small"]) - 1
    figure("growth: processor time of the server, a replica, gained", 100 * costlier, "%")
    figure("growth: rate lost", 100 * (1 - full / empty), "%", bar=BAR_PERCENT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=UNITS, help=f"finished units (default {UNITS})")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"hosts in the table (default {PEOPLE})")
    parser.add_argument("--seconds", type=float, default=WINDOW_S, help=f"each window (default {WINDOW_S:g})")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsage-bench-", ignore_cleanup_errors=True) as name:
        uvloop.run(main(said.units, said.people, said.seconds, Path(name)))
