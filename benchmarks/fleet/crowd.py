"""A fleet: many hosts on one event loop, what they achieve in a stretch of time, and what that costs."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dsage.connection import Connection
from dsage.errors import ServerAway, UsageError
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey
from dsage.trust.tls import pinned_context
from fleet.habits import Habits
from fleet.host import Host, Shared
from fleet.tally import Tally, percentile

SPARE_FILES: Final = 200
STUCK_S: Final = 60.0
"""A call that is open for this long beyond its wait is given up, as a client's own timeout would."""
LEAVE_S: Final = 2.0
ENTER_S: Final = 60.0
LOGINS_PER_S: Final = 400.0
"""How fast a fleet enters: each host costs the server a TLS handshake and a signature."""

Kind = Callable[[Shared, Link, PrivateKey, int], Host]
"""What makes a host."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet did in `seconds`. Latencies are in milliseconds; processor times in seconds of one core."""

    seconds: float
    hosts: int
    replicas_per_s: float
    """Acknowledged answers."""
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    completing_p99_ms: float
    acks: dict[str, int]
    troubles: dict[str, int]
    generator_cpu_s: float
    server_cpu_s: list[float]
    others_cpu_s: float
    """What everything else on this machine used meanwhile: a rate measured beside much of it says little."""
    server_rss_bytes: list[int]
    """At the end, by process."""
    server_grew_bytes: list[int]

    @property
    def generator_share(self) -> float:
        """How busy the generator's core was."""
        return self.generator_cpu_s / self.seconds

    @property
    def server_ms(self) -> float:
        """Processor time of the servers for each acknowledged answer: unlike rates it hardly depends on what else runs
        on the machine."""
        return 1e3 * sum(self.server_cpu_s) / max(1.0, self.replicas_per_s * self.seconds)


class Fleet:
    """Hosts under way, made by `fleet`. `leased` counts the copies handed out while it was measured."""

    def __init__(self, shared: Shared, hosts: Sequence[Host]) -> None:
        self.shared = shared
        self.hosts = hosts
        self.tasks: list[asyncio.Task[None]] = []
        self.leased = 0

    def inside(self) -> int:
        """Return how many hosts are logged in."""
        return sum(host.inside for host in self.hosts)

    async def all_inside(self) -> None:
        """Wait until every host is logged in. Raises ServerAway if that takes a minute longer than it should."""
        patience = time.perf_counter() + ENTER_S + 4 * len(self.hosts) / LOGINS_PER_S
        while self.inside() < len(self.hosts):
            if time.perf_counter() > patience:
                troubles = dict(self.shared.tally.troubles)
                raise ServerAway(f"only {self.inside()} of {len(self.hosts)} hosts could log in: {troubles}")
            await self._goes_on(0.05)

    def begin(self) -> None:
        """Let those that are logged in fetch; until then they wait."""
        self.shared.working.set()

    async def measure(self, seconds: float, servers: Sequence[int] = ()) -> Measurement:
        """Watch the fleet for so long; `servers` are the processes whose costs count."""
        watched = [psutil.Process(number) for number in servers]
        tally = self.shared.tally = Tally()
        before, own, rss = [_cpu(p) for p in watched], _cpu(psutil.Process()), [_rss(p) for p in watched]
        machine = _machine_cpu()
        began = time.perf_counter()
        await self._goes_on(seconds)
        took = time.perf_counter() - began
        self.shared.tally = Tally()
        self.leased += tally.leased
        generator = _cpu(psutil.Process()) - own
        cost = [_cpu(p) - was for p, was in zip(watched, before, strict=True)]
        others = max(0.0, _machine_cpu() - machine - generator - sum(cost))
        return Measurement(
            seconds=took, hosts=len(self.hosts),
            replicas_per_s=tally.acks["ok"] / took, calls_per_s=tally.calls / took,
            p50_ms=1e3 * percentile(tally.reporting, 0.5), p99_ms=1e3 * percentile(tally.reporting, 0.99),
            slowest_ms=1e3 * percentile(tally.reporting, 1.0),
            completing_p99_ms=1e3 * percentile(tally.completing, 0.99),
            acks=dict(tally.acks), troubles=dict(tally.troubles), generator_cpu_s=generator,
            server_cpu_s=cost, others_cpu_s=others,
            server_rss_bytes=[_rss(p) for p in watched],
            server_grew_bytes=[_rss(p) - was for p, was in zip(watched, rss, strict=True)],
        )  # fmt: skip

    async def _goes_on(self, seconds: float) -> None:
        """Wait, give up calls that are stuck, and raise what ended a host that should not have ended."""
        until = time.perf_counter() + seconds
        patience = STUCK_S + self.shared.habits.wait_s
        while (left := until - time.perf_counter()) > 0:
            await asyncio.sleep(min(left, 5.0))
            now = time.perf_counter()
            for host in self.hosts:
                if host.line is not None and 0 < host.line.since < now - patience:
                    self.shared.tally.troubles["stuck"] += 1
                    host.line.cut()
            for task in self.tasks:
                if task.done() and not task.cancelled():
                    task.result()

    async def leave(self) -> None:
        """End every host: those that are reporting after they were answered, the others at once."""
        self.shared.over = True
        self.shared.working.set()
        reporting = [task for task, host in zip(self.tasks, self.hosts, strict=True) if host.reporting]
        if reporting:
            await asyncio.wait(reporting, timeout=LEAVE_S)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@asynccontextmanager
async def fleet(
    links: Sequence[Link], habits: Habits, hosts: int, *, seed: str = "fleet", first: int = 0, follow: bool = False,
    kind: Kind = Host,
) -> AsyncIterator[Fleet]:  # fmt: skip
    """Let `hosts` hosts log in, in turn to each of `links`, and end them afterwards; all are inside when it begins.

    Their keys are numbers `first` onwards of `seed`: enrolled already (`fleet.prepare`), or about to be if the link
    has a code. With `follow` the latency of the calls that complete a unit is measured too. `kind` makes each host from
    what all have in common, its link, its key and its number.
    """
    if not 1 <= habits.batch <= 50:
        raise UsageError("a call fetches 1 to 50 copies")
    allow_files(hosts + SPARE_FILES)
    conn = await Connection.open(links[0])
    await conn.close()
    shared = Shared(habits, pinned_context(conn.ca_pem, links[0].ca))
    if follow:
        shared.answers_of = Counter()
    made = Fleet(
        shared, [kind(shared, links[n % len(links)], key_of(seed, first + n), first + n) for n in range(hosts)]
    )
    made.tasks = [asyncio.create_task(host.lives(n / LOGINS_PER_S)) for n, host in enumerate(made.hosts)]
    try:
        await made.all_inside()
        yield made
    finally:
        await made.leave()


def key_of(seed: str, number: int) -> PrivateKey:
    """Return the key of a simulated host: of its number, so that nobody has to keep it."""
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()))


def allow_files(wanted: int) -> None:
    """Let this process and those that it starts have so many open files. Raises UsageError if the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard < wanted:
        raise UsageError(f"{wanted} open files are more than the {hard} allowed here", hint="Raise `ulimit -Hn`.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _machine_cpu() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _rss(process: psutil.Process) -> int:
    return int(process.memory_info().rss)
