"""What one server does: replicas a second, latency, waiting hosts, a restart, PostgreSQL. `make bench-server` runs it.

Everything is real: `dsage serve` as a process of its own with SQLite at synchronous=FULL, HTTPS, login, signed results,
quorum 2, the whole life of a unit. Hosts are simulated (`fleet`) in this process, and compute nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import psutil
import uvloop
from figures import figure, say
from fleet import prepare
from fleet.habits import Habits
from fleet.tally import percentile
from lab import kill
from peers import peers
from serving import Bench, Options, table

from dsage_server.store.testing import LARGE, postgres_cluster

UNITS = 1_000_000
HEADLINES = ((1, 128, 1500.0), (10, 128, 5000.0), (50, 32, 8000.0))
"""Copies a call, hosts, demanded replicas a second."""
CROWD = 10_000
AGREED_RATE = 500.0
SETTLE_S = 30.0
CROWD_WORK_S = 40.0
RETURN_S = 60.0
BACK_S = 10.0
"""Some come too early, before the server listens, and once more later."""


async def throughput(bench: Bench) -> dict[int, float]:
    """Replicas a second, from fetch to validated and credited, in a closed loop."""
    rates = {}
    for batch, hosts, bar in HEADLINES:
        seconds = bench.options.window(60.0)
        await bench.prepare(max(bench.options.units if not bench.run else 0, int(bar * (seconds + 5))))
        done = await bench.measure(Habits(batch=batch), hosts, seconds)
        rates[batch] = done.replicas_per_s
        figure(f"server: {batch} a call", done.replicas_per_s, "replicas/s", bar=bar, better="higher")
        figure(f"server: {batch} a call, processor time of the server for a replica", 1e3 * done.server_ms, "us")
    return rates


async def latency(bench: Bench) -> None:
    """How long a call takes from 8 connections in a closed loop."""
    for batch in (1, 10):
        seconds = bench.options.window(20.0)
        await bench.prepare(int(6_000 * (seconds + 5)))
        done = await bench.measure(Habits(batch=batch), 8, seconds)
        figure(f"server: p99 of a call at 8 connections, {batch} a call", done.p99_ms, "ms", bar=50)


async def validation(bench: Bench) -> None:
    """From sending the last needed answer to the unit being decided, at half of the demanded rate, 10 a call.

    The reply leaves after the commit that decides, so the call's latency is this time.
    """
    batch, hosts, rate = HEADLINES[1][0], HEADLINES[1][1], HEADLINES[1][2] / 2
    seconds = bench.options.window(20.0)
    await bench.prepare(int(rate * (seconds + 10)))
    done = await bench.measure(Habits(batch=batch, work_s=batch * hosts / rate), hosts, seconds, follow=True)
    figure("server: last needed answer to canonical, p99 at half load", done.completing_p99_ms, "ms", bar=50)


async def agreement(folder: Path, options: Options) -> None:
    """From the last needed answer to the unit being decided and paid, where an author's own `agree` decides in the
    sandbox, at 500 replicas a second; by the server's clock, out of its tables."""
    bench = Bench(folder / "agree", options, kind="Near")
    seconds = options.window(20.0)
    await bench.prepare(int(AGREED_RATE * (seconds + 10)))
    hosts = 50
    await bench.measure(Habits(batch=1, work_s=hosts / AGREED_RATE, noise=0.4), hosts, seconds)
    with sqlite3.connect(f"file:{bench.where}?mode=ro", uri=True) as database:
        took = [row[0] for row in database.execute(_DECIDED)]
    figure("server: last needed answer to canonical by a sandboxed agree, p50", 1e3 * percentile(took, 0.5), "ms")
    figure("server: the same, p99", 1e3 * percentile(took, 0.99), "ms", bar=1000)
    bench.audit()


async def adaptive(folder: Path, options: Options) -> None:
    """Units accepted a second where hosts have proved themselves, beside the same with a quorum of two; 10 a call."""
    batch, hosts, _ = HEADLINES[1]
    rates = {}
    for kind in (False, True):
        bench = Bench(folder / f"adaptive-{kind}", options, adaptive=kind)
        seconds = options.window(20.0)
        await bench.prepare(int(12_000 * (seconds + 5)))
        done = await bench.measure(Habits(batch=batch), hosts, seconds)
        with sqlite3.connect(f"file:{bench.where}?mode=ro", uri=True) as database:
            valid, copies = database.execute(_WASTE).fetchone()
        rates[kind] = done.replicas_per_s * valid / copies
        bench.audit()
    figure(
        "server: units accepted, adaptive, 10 a call", rates[True], "units/s", better="higher",
        peer=("quorum of two", rates[False]),
    )  # fmt: skip


_DECIDED: Final = """
    SELECT unit.finished - MAX(replica.reported) FROM unit JOIN replica ON replica.unit_id = unit.id
    WHERE unit.state = 'valid' AND replica.state = 'valid' AND replica.reported <= unit.finished GROUP BY unit.id
"""
_WASTE: Final = """
    SELECT (SELECT COUNT(*) FROM unit WHERE state = 'valid'), COUNT(*) FROM replica WHERE state = 'valid'
"""


async def crowd(bench: Bench) -> None:
    """10,000 hosts: waiting; then all woken by new units; then back after the server was killed and restarted.

    Fewer hosts return in as much less time, so that as many return each second.
    """
    count = bench.options.crowd
    return_s = RETURN_S * count / CROWD
    habits = Habits(batch=1, work_s=CROWD_WORK_S, back_s=return_s)
    begin = time.perf_counter()
    with bench.serving():
        empty = psutil.Process(bench.servers()[0]).memory_info().rss
        prepare.enrol(bench.where, count)
    say(f"     enrolled {count} hosts in {time.perf_counter() - begin:.0f} s")
    async with bench.fleet(habits, count) as hosts:
        await hosts.measure(SETTLE_S + CROWD_WORK_S)
        seconds = bench.options.window(50.0)
        with bench.profiled("waiting", seconds):
            done = await hosts.measure(seconds, bench.servers())
        table(f"{count} hosts waiting", done)
        share, each = sum(done.server_cpu_s) / done.seconds, (done.server_rss_bytes[0] - empty) / count
        figure(f"server: {count} waiting hosts, share of a core", 100 * share, "%", bar=10)
        figure(f"server: {count} waiting hosts, memory of each", each / 1e3, "kB", bar=250)
        async with prepare.driving(bench.home) as driver:
            await prepare.make_units(driver, 2 * count)
        table("all woken by units", await hosts.measure(SETTLE_S, bench.servers()))
        server = bench.labs[0].server
        assert server is not None
        kill(server)
        bench.labs[0].start_server()
        with bench.profiled("returning", return_s):
            done = await hosts.measure(return_s + BACK_S, bench.servers())
        table("after kill -9", done)
        say(f"     {hosts.inside()} of {count} hosts are back")
        figure(f"server: p99 of a report as {count} hosts return over {return_s:.0f} s", done.p99_ms, "ms", bar=2000)


async def postgresql(folder: Path, options: Options, sqlite: float) -> None:
    """Two server processes on one PostgreSQL, 10 a call, beside the SQLite figure."""
    batch, hosts, _ = HEADLINES[1]
    for servers in (1, 2):
        with postgres_cluster(LARGE) as cluster:
            bench = Bench(folder / f"postgres-{servers}", options, cluster=cluster, servers=servers)
            seconds = options.window(20.0)
            await bench.prepare(int(6_000 * (seconds + 5)))
            done = await bench.measure(Habits(batch=batch), hosts, seconds)
            bench.audit()
        figure(
            f"server: PostgreSQL, {servers} process{'es' * (servers > 1)}, {batch} a call",
            done.replicas_per_s, "replicas/s", bar=0.75 * sqlite if servers == 2 and sqlite else None,
            better="higher", peer=("SQLite, one process", sqlite) if sqlite else None,
        )  # fmt: skip


CELLS: dict[str, Callable[[Bench], Awaitable[object]]] = {
    "throughput": throughput, "latency": latency, "validation": validation,
}  # fmt: skip
ALL = [*CELLS, "agreement", "adaptive", "crowd", "postgres", "peers"]


async def main(only: list[str], options: Options) -> None:
    """Run every cell, or those named."""
    with tempfile.TemporaryDirectory(prefix="dsage-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        bench = Bench(folder / "sqlite", options)
        rates: dict[int, float] = {}
        for cell in only or ALL:
            say(f"-- {cell}")
            if cell == "crowd":
                many = Bench(folder / "crowd", options)
                await crowd(many)
                many.audit()
            elif cell in ("agreement", "adaptive"):
                await (agreement if cell == "agreement" else adaptive)(folder, options)
            elif cell == "postgres":
                await postgresql(folder, options, rates.get(10, 0.0))
            elif cell == "peers":
                await asyncio.to_thread(peers, rates)
            else:
                found = await CELLS[cell](bench)
                rates = found if isinstance(found, dict) else rates
        if bench.run:
            bench.audit()


def arguments() -> tuple[list[str], Options]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=ALL, default=[], help="this cell (may be repeated)")
    parser.add_argument("--seconds", type=float, help="the length of every window, instead of 20 to 60 s")
    parser.add_argument("--units", type=int, default=UNITS, help=f"units preloaded (default {UNITS})")
    parser.add_argument(
        "--profile", type=Path, help="a folder for a sampled profile of the server in each cell (py-spy)"
    )
    parser.add_argument("--crowd", type=int, default=CROWD, help=f"hosts that wait and return (default {CROWD})")
    said = parser.parse_args()
    return said.only, Options(seconds=said.seconds, units=said.units, profiles=said.profile, crowd=said.crowd)


if __name__ == "__main__":
    uvloop.run(main(*arguments()))
