"""What one server does: replicas a second, latency, and what waiting hosts cost. `make bench-server` runs it.

Everything is real: `dsage serve` as a process of its own with SQLite at synchronous=FULL, HTTPS, login, signed results,
quorum 2, the whole life of a unit. Hosts are simulated (`fleet`) in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop
from figures import figure, say
from fleet import prepare
from fleet.crowd import Measurement, fleet
from fleet.habits import Habits
from lab import Lab

from dsage.home import Home
from dsage.trust.invite import Link

UNITS = 1_000_000
HOSTS = 2_000
WARM_S = 3.0
BUSY_SHARE = 0.85
"""Above this the generator may be what limits a rate."""
HEADLINES = ((1, 128, 1500.0), (10, 128, 5000.0), (50, 32, 8000.0))
"""Copies a call, hosts, demanded replicas a second."""


class Bench:
    """A folder with one prepared server, started anew for each cell."""

    def __init__(self, lab: Lab, seconds: float | None, units: int, profiles: Path | None) -> None:
        self.lab = lab
        self.profiles = profiles
        self.home = Home(lab.home)
        self.seconds = seconds
        self.units = units
        self._run = 0

    def window(self, usual_s: float) -> float:
        """Return how long to measure."""
        return self.seconds or usual_s

    async def prepared(self, least: int) -> None:
        """Have a run with enough units that wait; the first call makes everything."""
        if not self._run:
            say(f"preparing {self.units} units and {HOSTS} hosts")
            self._run = await prepare.submit(self.home)
            prepare.add_hosts(self.home, HOSTS)
            prepare.add_units(self.home, self._run, self.units)
        if (missing := least - prepare.ready_units(self.home)) > 0:
            prepare.add_units(self.home, self._run, missing)

    async def measure(self, habits: Habits, hosts: int, seconds: float) -> Measurement:
        """Start the server, let a fleet work, and measure after a warm-up; its profile is of that time too."""
        self.lab.start_server()
        assert self.lab.server is not None
        try:
            async with fleet([Link.parse(self.lab.described["link"])], habits, hosts) as crowd:
                crowd.begin()
                await crowd.measure(WARM_S)
                with self._profiled(f"{habits.batch}-{hosts}", self.lab.server.pid, seconds):
                    return await crowd.measure(seconds, [self.lab.server.pid])
        finally:
            self.lab.stop()

    @contextlib.contextmanager
    def _profiled(self, name: str, server: int, seconds: float) -> Iterator[None]:
        if self.profiles is None:
            yield
            return
        self.profiles.mkdir(parents=True, exist_ok=True)
        sampler = [str(Path(sys.executable).with_name("py-spy")), "record", "--format", "raw", "--rate", "200"]
        where = ["--output", str(self.profiles / f"{name}.txt"), "--duration", str(max(1, int(seconds))), "--pid"]
        with subprocess.Popen([*sampler, *where, str(server)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            yield


async def throughput(bench: Bench) -> None:
    """Replicas a second, from fetch to validated and credited, in a closed loop."""
    for batch, hosts, bar in HEADLINES:
        seconds = bench.window(60.0)
        await bench.prepared(int(bar * 2 * (seconds + WARM_S)))
        done = await bench.measure(Habits(batch=batch), hosts, seconds)
        table(f"{batch} a call, {hosts} hosts", done)
        figure(f"server: {batch} a call", done.replicas_per_s, "replicas/s", bar=bar, better="higher")


async def latency(bench: Bench) -> None:
    """How long a call takes from 8 connections in a closed loop."""
    for batch in (1, 10):
        seconds = bench.window(20.0)
        await bench.prepared(int(10_000 * (seconds + WARM_S)))
        done = await bench.measure(Habits(batch=batch), 8, seconds)
        table(f"{batch} a call, 8 hosts", done)
        figure(f"server: p99 of a call at 8 connections, {batch} a call", done.p99_ms, "ms", bar=50)


def table(name: str, done: Measurement) -> None:
    """Tell people what one cell gave."""
    cpu, memory = sum(done.server_cpu_s), sum(done.server_rss_bytes)
    replicas = max(1.0, done.replicas_per_s * done.seconds)
    limited = "   THE GENERATOR LIMITS" if done.generator_share > BUSY_SHARE else ""
    say(
        f"{name:24} {done.replicas_per_s:8.0f} replicas/s {done.calls_per_s:7.0f} calls/s"
        f"   p50 {done.p50_ms:6.1f}  p99 {done.p99_ms:6.1f}  max {done.slowest_ms:6.0f} ms"
        f"   server {cpu / done.seconds:4.0%}, {1e3 * cpu / replicas:.3f} ms a replica,"
        f" {memory / 1e6:.0f} MB ({sum(done.server_grew_bytes) / 1e6:+.0f})"
        f"   generator {done.generator_share:4.0%}{limited}"
    )
    odd = {code: count for code, count in {**done.acks, **done.troubles}.items() if code != "ok" and count}
    if odd:
        say(f"{'':24} not as usual: {odd}")


CELLS: dict[str, Callable[[Bench], Awaitable[None]]] = {"throughput": throughput, "latency": latency}


async def main(only: list[str], seconds: float | None, units: int, profiles: Path | None) -> None:
    """Run every cell, or those named."""
    with tempfile.TemporaryDirectory(prefix="dsage-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Lab(Path(folder)), seconds, units, profiles)
        for name in only or CELLS:
            say(f"-- {name}")
            await CELLS[name](bench)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(CELLS), default=[], help="this cell (may be repeated)")
    parser.add_argument("--seconds", type=float, help="the length of every window, instead of 20 to 60 s")
    parser.add_argument("--units", type=int, default=UNITS, help=f"units preloaded (default {UNITS})")
    parser.add_argument(
        "--profile", type=Path, help="a folder for a sampled profile of the server in each cell (py-spy)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    said = arguments()
    uvloop.run(main(said.only, said.seconds, said.units, said.profile))
