"""What the ledger costs: a million rows added up, proven and hashed; a board of 100,000 people. `make bench-credit`.

The rows are made in bulk: of each call of a host `BATCH` answers were paid, as in the server's own benchmark, or only
one, which is the worst case: every row belongs to another volunteer. Folding, proof and hashes are the server's own
functions, a page is asked for over HTTP and made anew for each visitor. Beside the time on the clock stands the
processor's: the first means little on a computer that has something else to do. PostgreSQL looks at its tables once
before the board, as it does by itself within minutes of such a change.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from aiohttp import web
from figures import figure, say
from sqlalchemy import Connection, insert, text

from dsage_server.store import credit, daybook, recount
from dsage_server.store.boards import PERIOD_S, Board, Horizon, contenders
from dsage_server.store.engine import Store
from dsage_server.store.migrate import upgrade
from dsage_server.store.schema import document, run
from dsage_server.store.testing import LARGE, postgres_cluster
from dsage_server.web.pages import make_pages

ROWS = 1_000_000
PEOPLE = 100_000
RUNS = 10
BATCH = 10
NOW = 1_800_000_000.0
BAR_FOLD_S = 15.0
BAR_PAGE_MS = 50.0
PAGES = ((1, 20), (481, 500), (981, 1000))
"""First and last of the pages that are asked for: each once, as a page is kept for a while after it was made."""


def fill(store: Store, rows: int, people: int, batch: int) -> None:
    """Make volunteers, all of them listed, and unfolded grants of one day in the order of time."""
    runs = [
        {
            "id": number, "run_key": f"k{number}", "project": "p", "title": "", "app": f"app{number}",
            "authorisation": "app1", "researcher": b"r", "params": b"", "state": "running", "fence": 0, "step": 0,
            "driver_state": b"", "progress": b"", "created": 0.0,
        }
        for number in range(1, RUNS + 1)
    ]  # fmt: skip
    numbers = (
        "(SELECT generate_series(0, {} - 1) AS i) AS n"
        if store.shared
        else "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {}) SELECT i FROM n) AS n"
    )
    owner = f"1 + (i / {batch} * 2654435761) % {people}"
    app = f"'000000000000000000000000000000000000000000000000000000000000app' || (1 + i / {batch} % {RUNS})"
    statements = (
        f"INSERT INTO volunteer (id, pseudonym, public, created) SELECT 1 + i, 'made ' || i, true, 0 "
        f"FROM {numbers.format(people)}",
        f"INSERT INTO host (id, volunteer_id, key, created, last_seen) SELECT 1 + i, 1 + i, "
        f"{'int8send(i)' if store.shared else 'CAST(i AS BLOB)'}, 0, 0 FROM {numbers.format(people)}",
        f"INSERT INTO credit_sum SELECT 1 + i, 0, 0, 0, true FROM {numbers.format(people)}",
        f"INSERT INTO people_sum VALUES (true, 0, {people}, 0, 0, 0)",
        "INSERT INTO credit_entry (replica_id, volunteer_id, host_id, run_id, project, kind, amount_milli, granted, "
        f"app) SELECT 1 + i, {owner}, {owner}, 1 + i / {batch} % {RUNS}, 'p', 'grant', 1000 + i % 977, "
        f"{NOW} + i / {batch} * {80_000.0 * batch / rows}, {app} FROM {numbers.format(rows)}",
        "INSERT INTO tally SELECT run_id, 0, 'credit', sum(amount_milli) FROM credit_entry GROUP BY run_id",
    )
    apps = [{"hash": f"app{n}", "kind": "m", "envelope": b"", "created": 0.0} for n in range(1, RUNS + 1)]

    def make(connection: Connection) -> None:
        connection.execute(insert(document), apps)
        connection.execute(insert(run), runs)
        for statement in statements:
            connection.execute(text(statement))

    store.write_now(make)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Return how long a piece of work takes (seconds), and what it returns."""
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def fold(store: Store, name: str, rows: int, bar: float | None) -> None:
    """Add everything up as the server does, in short transactions; then prove and hash it."""
    most = credit.FOLD_SHARED if store.shared else credit.FOLD
    each, begin = [], time.process_time()
    while True:
        took, done = timed(lambda: store.write_now(lambda c: credit.fold(c, most)))
        if not done:
            break
        each.append(took)
    cpu_s = time.process_time() - begin
    each.sort()
    per_million = 1e6 / rows
    figure(f"credit: a million ledger rows folded, {name}", sum(each) * per_million, "s", bar=bar)
    figure(f"credit: the same, this process's processor time, {name}", cpu_s * per_million, "s")
    figure(f"credit: one fold of {most} rows, p99, {name}", 1e3 * each[int(len(each) * 0.99)], "ms")
    took, found = timed(lambda: store.read_now(recount.differences))
    figure(f"credit: a million rows proven against every sum, {name}", took * per_million, "s")
    if found:
        say(f"     SUMS DIFFER: {found}")
    store.write_now(lambda c: daybook.close(c, NOW))
    took, _ = timed(lambda: store.read_now(daybook.unhashed))
    figure(f"credit: a day of a million rows hashed, {name}", took * per_million, "s")


async def board(store: Store, name: str, people: int) -> None:
    """Ask for pages of the board, 100 volunteers each."""
    runner = web.AppRunner(make_pages(store, server_id="s", name="Bench", clock=lambda: NOW, period_s=0.0))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        for first, last in PAGES:
            took = []
            for page in range(first, last + 1):
                begin = time.perf_counter()
                async with session.get(f"/leaderboard?page={page}") as reply:
                    assert reply.status == 200
                    await reply.read()
                took.append(1e3 * (time.perf_counter() - begin))
            label = f"credit: leaderboard of {people} volunteers, a page of {first} to {last}, {name}"
            figure(f"{label}, median", statistics.median(took), "ms", bar=BAR_PAGE_MS)
            figure(f"{label}, slowest", max(took), "ms")
    await runner.cleanup()


def horizons(store: Store, name: str) -> None:
    """Read every board, and ask of it what visitors ask."""
    for horizon in Horizon:
        took, read = timed(lambda horizon=horizon: store.read_now(lambda c: contenders(c, horizon, NOW + 80_000)))  # type: ignore[misc]
        figure(f"credit: everybody's {horizon} read, at most every {PERIOD_S[horizon]:g} s, {name}", took, "s")
        took, board = timed(lambda read=read: Board(read).prepare())  # type: ignore[misc]
        figure(f"credit: {horizon} put in order, behind the visitors, {name}", 1e3 * took, "ms")
        assert isinstance(board, Board)
        for what, ask in (
            ("a name", lambda board=board: board.named("made 7777")),
            ("a page", lambda board=board: board.page(len(board) // 200)),
            ("a rank among neighbours", lambda board=board: board.around(board.page(9)[0].who.volunteer)),
        ):
            took, _ = timed(ask)
            figure(f"credit: {what} of {horizon}, {len(board)} volunteers, {name}", 1e3 * took, "ms", bar=BAR_PAGE_MS)


def measure(store: Store, name: str, rows: int, people: int, batch: int) -> None:
    """Print every figure of one database."""
    took, _ = timed(lambda: fill(store, rows, people, batch))
    named = f"{name}, {batch} a call"
    say(f"-- {named}: {rows} rows and {people} volunteers made in {took:.0f} s")
    fold(store, named, rows, BAR_FOLD_S if batch == BATCH else None)
    if store.shared:
        store.write_now(lambda c: c.execute(text("ANALYZE")))
    if batch == BATCH:
        asyncio.run(board(store, name, people))
        horizons(store, name)
    store.close()


def main() -> None:
    """Measure on SQLite, then on PostgreSQL, or what is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("sqlite", "postgresql"), help="this database")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the ledger (default {ROWS})")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"volunteers (default {PEOPLE})")
    options = parser.parse_args()
    for batch in (BATCH, 1):
        if options.only != "postgresql":
            with tempfile.TemporaryDirectory(prefix="dsage-bench-") as folder:
                path = Path(folder) / "dsage.sqlite"
                upgrade(path)
                measure(Store(path), "SQLite", options.rows, options.people, batch)
        if options.only != "sqlite":
            with postgres_cluster(LARGE) as cluster:
                measure(Store(cluster.migrated()), "PostgreSQL", options.rows, options.people, batch)


if __name__ == "__main__":
    main()
