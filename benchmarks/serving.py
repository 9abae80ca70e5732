"""One prepared server for many measurements: started anew for each, on the same folder, watched from outside."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil
from figures import figure, say
from fleet import prepare
from fleet.audit import audit
from fleet.crowd import Fleet, Measurement, allow_files, fleet
from fleet.habits import Habits
from lab import Lab

from dsage.home import Home
from dsage.trust.invite import Link
from dsage_server.store.place import DATABASE
from dsage_server.store.testing import Cluster

HOSTS = 1_000
MAX_FILES = 12_000
WARM_S = 3.0
BUSY_SHARE = 0.85
"""Above this the generator may be what limits a rate."""
DISTURBED_SHARE = 0.25
"""Of a core, used by programs that have no part in this."""
SAMPLES_PER_S = 200


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    seconds: float | None = None
    units: int = 0
    profiles: Path | None = None
    crowd: int = 0

    def window(self, usual_s: float) -> float:
        """Return how long to measure."""
        return self.seconds or usual_s


class Bench:
    """Server processes on one database, SQLite in the home's folder or a PostgreSQL `cluster`."""

    def __init__(
        self,
        folder: Path,
        options: Options,
        *,
        cluster: Cluster | None = None,
        servers: int = 1,
        kind: str = "Echo",
        adaptive: bool = False,
    ) -> None:
        self.kind = kind
        self.adaptive = adaptive
        self.labs = [Lab(folder / str(n)) for n in range(servers)]
        for lab in self.labs:
            lab.folder.mkdir(parents=True)
            lab.home = folder / "home"
        self.home = Home(self.labs[0].home)
        self.options = options
        self.cluster = cluster
        self.store = cluster.url() if cluster else ""
        self.acknowledged: list[int] = []
        self.run = self.left = 0

    @property
    def where(self) -> Path | str:
        """The database."""
        return self.store or self.home.server / DATABASE

    def servers(self) -> list[int]:
        """The processes whose costs count."""
        own = [lab.server.pid for lab in self.labs if lab.server is not None]
        return own + (self.cluster.processes() if self.cluster else [])

    @contextlib.contextmanager
    def serving(self) -> Iterator[list[Link]]:
        """Start the servers and end them afterwards."""
        allow_files(MAX_FILES)
        try:
            for lab in self.labs:
                lab.start_server(*(["--store", self.store] if self.store else []))
            yield [Link.parse(lab.described["link"]) for lab in self.labs]
        finally:
            for lab in self.labs:
                lab.stop()

    async def prepare(self, units: int, hosts: int = HOSTS) -> None:
        """Have at least so many units that wait, and enrolled hosts. Says how fast a driver could make many units."""
        if self.left >= units and self.run:
            return
        first = not self.run
        with self.serving():
            if first:
                prepare.enrol(self.where, hosts)
            async with prepare.driving(self.home, self.run, self.kind) as driver:
                self.run = driver.run
                begin, missing = time.perf_counter(), units - self.left
                memory = _memory(self.servers()[:1])
                await prepare.make_units(driver, missing, adaptive=self.adaptive)
                took, grown = time.perf_counter() - begin, _memory(self.servers()[:1]) - memory
            self.left += missing
        say(f"made {missing} units in {took:.1f} s: {missing / took:.0f}/s; the server grew by {grown / 1e6:.0f} MB")
        if first and missing >= 100_000 and not self.store:
            figure("server: units made by a driver, signed", missing / took, "units/s", bar=20_000, better="higher")
            figure(f"server: memory grown by making {missing} units", grown / 1e6, "MB")

    @asynccontextmanager
    async def fleet(self, habits: Habits, hosts: int, *, follow: bool = False) -> AsyncIterator[Fleet]:
        """Start the servers, and let a fleet work until the end of the block."""
        with self.serving() as links:
            async with fleet(links, habits, hosts, follow=follow) as crowd:
                crowd.begin()
                yield crowd
            self.acknowledged.extend(crowd.shared.acknowledged)
            self.left -= crowd.leased // 2

    async def measure(self, habits: Habits, hosts: int, seconds: float, *, follow: bool = False) -> Measurement:
        """Let a fleet work for so long, after a warm-up; the profile is of that time too."""
        async with self.fleet(habits, hosts, follow=follow) as crowd:
            await crowd.measure(WARM_S + 2 * habits.work_s)
            with self.profiled(f"{habits.batch}-{hosts}", seconds):
                done = await crowd.measure(seconds, self.servers())
        table(f"{habits.batch} a call, {hosts} hosts", done)
        return done

    def audit(self) -> None:
        """Say whether the tables fit together and hold whatever was acknowledged."""
        faults = audit(self.where, self.acknowledged)
        for fault in faults:
            say(f"     WRONG: {fault}")
        figure(
            f"server: faults in the tables after {len(self.acknowledged)} acknowledged answers",
            len(faults),
            "faults",
            bar=0,
        )

    @contextlib.contextmanager
    def profiled(self, name: str, seconds: float) -> Iterator[None]:
        """Sample the first server process for so long, if profiles are wanted."""
        folder = self.options.profiles
        if folder is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        sampler = [
            str(Path(sys.executable).with_name("py-spy")),
            "record",
            "--format",
            "raw",
            "--rate",
            str(SAMPLES_PER_S),
        ]
        what = ["--output", str(folder / f"{name}.txt"), "--duration", str(max(1, int(seconds)))]
        command = [*sampler, *what, "--pid", str(self.servers()[0])]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            yield


def table(name: str, done: Measurement) -> None:
    """Tell people what one measurement gave."""
    cpu, memory = sum(done.server_cpu_s), sum(done.server_rss_bytes)
    limited = "   THE GENERATOR LIMITS" if done.generator_share > BUSY_SHARE else ""
    others = done.others_cpu_s / done.seconds
    disturbed = f"   DISTURBED: others used {others:.0%} of a core" if others > DISTURBED_SHARE else ""
    say(
        f"     {name:22} {done.replicas_per_s:7.0f} replicas/s {done.calls_per_s:6.0f} calls/s"
        f"   p50 {done.p50_ms:6.1f}  p99 {done.p99_ms:6.1f}  max {done.slowest_ms:6.0f} ms"
        f"   server {cpu / done.seconds:4.0%}, {done.server_ms:.3f} ms a replica,"
        f" {memory / 1e6:.0f} MB ({sum(done.server_grew_bytes) / 1e6:+.0f})"
        f"   generator {done.generator_share:4.0%}{limited}{disturbed}"
    )
    odd = {code: count for code, count in {**done.acks, **done.troubles}.items() if code != "ok" and count}
    if odd:
        say(f"     {'':22} besides: {odd}")


def _memory(numbers: Sequence[int]) -> int:
    return sum(psutil.Process(number).memory_info().rss for number in numbers)
