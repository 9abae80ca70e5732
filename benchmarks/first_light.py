"""The figures of the first light: the demo, right answers, efficiency, round trip, and what idling costs.

Run by `make bench`. Everything is real: processes, TLS, SQLite, sandboxes. Ratios are taken within this run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gmpy2
import psutil
from figures import figure, say
from lab import Lab, command, lab, wait_for

from dsage.bundle import pack
from dsage.driver import Driver
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage_projects.factor import program
from dsage_projects.factor.misses import MISSES

DEMO_RUNS = 5
STARTS = 15
ANSWERS = 20
SITTINGS = 5
ROUND_TRIPS = 41
IDLE_S = 20.0
SEED = 11150

TRIVIAL = """
from dsage import DistributedFunction, Unit

class Echo(DistributedFunction):
    def units(self):
        yield Unit(1, quorum=1)

    @staticmethod
    def compute(number):
        return number

    def process_result(self, unit, value):
        self.result = value
"""


def demo() -> None:
    """Fresh runs of the demo, start-up included."""
    seconds = []
    for run in range(DEMO_RUNS):
        with tempfile.TemporaryDirectory(prefix="dsage-bench-") as home:
            environment = {**os.environ, "DSAGE_HOME": home}
            begin = time.monotonic()
            done = subprocess.run(
                command("demo", "--json"), env=environment, capture_output=True, text=True, check=False
            )
            seconds.append(time.monotonic() - begin)
        data = json.loads(done.stdout)["data"]
        product = 1
        for prime, power in data["factors"].items():
            product *= int(prime) ** power
        right = done.returncode == 0 and product == 11**150 + 1 and len(data["factors"]) == 11
        say(f"demo {run + 1}: {seconds[-1]:.1f} s, {'right' if right else 'WRONG'}")
    figure("demo: 11^150+1, start-up included, median of 5", statistics.median(seconds), "s", bar=60)


def starts() -> None:
    """The demo always runs the same curves, which may be lucky ones: the same number from other first curves."""
    draw = random.Random(SEED)
    seconds = []
    with lab(2) as running:
        for run in range(STARTS):
            sigma = draw.randrange(1 << 33, 1 << 49)
            done = running.dsage("submit", "factor", "-p", "n=11^150+1", "-p", f"sigma={sigma}", "--json")
            view = json.loads(done.stdout)["data"]
            seconds.append(float(view["finished"] - view["created"]))
            say(f"start {run + 1}: {seconds[-1]:.1f} s")
    figure("11^150+1 from 15 other first curves, submit to done, median", statistics.median(seconds), "s", bar=60)
    figure("the same, the slowest", max(seconds), "s")


def answers() -> None:
    """Twenty different numbers of 40 to 120 digits whose second-largest prime has at most 25 digits."""
    wrong = 0
    seconds = []
    draw = random.Random(SEED)
    with lab(2) as running:
        for run in range(ANSWERS):
            primes = _known_factors(draw, 40 + run * 80 // (ANSWERS - 1))
            n = 1
            for prime in primes:
                n *= prime
            begin = time.monotonic()
            done = running.dsage("submit", "factor", "-p", f"n={n}", "--json", check=False)
            seconds.append(time.monotonic() - begin)
            found = _factors(done.stdout) if done.returncode == 0 else []
            right = found == sorted(primes)
            wrong += not right
            say(f"answer {run + 1}: {len(str(n))} digits, {seconds[-1]:.1f} s, {'right' if right else 'WRONG'}")
    figure("wrong answers in 20 numbers of 40-120 digits", wrong, "answers", bar=0)
    figure("median time of those 20 numbers", statistics.median(seconds), "s")


def _known_factors(draw: random.Random, digits: int) -> list[int]:
    """Return primes, all but the largest of at most 25 digits, whose product has about so many digits."""
    primes: list[int] = []
    left = digits
    while left > 30 and len(primes) < 3:
        size = draw.choice((8, 12, 16, 20, 23, 25))
        primes.append(_prime(draw, size))
        left -= size
    return [*primes, _prime(draw, max(left, 12))]


def _prime(draw: random.Random, digits: int) -> int:
    return int(gmpy2.next_prime(draw.randrange(10 ** (digits - 1), 9 * 10 ** (digits - 1))))


def _factors(stdout: str) -> list[int]:
    answer = json.loads(stdout)["data"]["result"]
    return sorted(int(prime) for prime, power in answer["factors"] for _ in range(power))


def efficiency() -> None:
    """400 fixed curves through the whole system, against GMP-ECM doing the same curves alone.

    Volunteers' work runs at idle priority, so any other program on the machine lengthens the wall time: what those
    used meanwhile shows in the second figure, the processor time of the whole machine.
    """
    ratios = []
    costs = []
    with lab(2) as running:
        for sitting in range(SITTINGS):
            before = _children_cpu()
            sigmas = range(int(MISSES["sigma"]), int(MISSES["sigma"]) + int(MISSES["curves"]))
            found = program.find()
            assert found is not None, "GMP-ECM's program is needed for this figure"
            list(program.run(found, int(MISSES["n"]), int(MISSES["b1"]), sigmas))
            alone = _children_cpu() - before
            wall, cpu = _curves(running)
            ratios.append(wall / (alone / 2))
            costs.append(cpu / alone)
            say(f"efficiency {sitting + 1}: {wall:.2f} s wall, {cpu:.2f} s CPU; GMP-ECM alone {alone:.2f} s CPU")
    figure(
        f"efficiency: wall of 400 curves with 2 volunteers over half of GMP-ECM's CPU, median of {SITTINGS}",
        statistics.median(ratios), "ratio", bar=1.15, peer=("GMP-ECM on two cores, no overhead", 1.0),
    )  # fmt: skip
    figure("the same in CPU of the whole machine over GMP-ECM's", statistics.median(costs), "ratio")


def _curves(running: Lab) -> tuple[float, float]:
    """Return the run's wall seconds, and the CPU seconds of the whole machine meanwhile."""
    parameters = [part for name, value in MISSES.items() for part in ("-p", f"{name}={value}")]
    before = _machine_cpu()
    done = running.dsage("submit", "factor", *parameters, "-p", "quorum=1", "--json", check=False)
    cpu = _machine_cpu() - before
    view = json.loads(done.stdout)["data"]
    return float(view["finished"] - view["created"]), cpu


def _machine_cpu() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def round_trip() -> None:
    """One trivial unit in a run of its own, quorum 1, to an idle client: submit to validated and folded."""
    with lab(1) as running:
        app = running.folder / "echo.py"
        app.write_text(TRIVIAL)
        seconds = asyncio.run(_round_trips(running.home, app))
    figure("round trip of one trivial unit, submit to validated, p50", statistics.median(seconds) * 1000, "ms", bar=100)
    figure("the same, p90", statistics.quantiles(seconds, n=10)[-1] * 1000, "ms")


async def _round_trips(home: Path, app: Path) -> list[float]:
    seconds = []
    packed = pack(str(app))
    async with await Researcher.open(Home(home)) as api:
        for _ in range(ROUND_TRIPS):
            begin = time.perf_counter()
            function = construct(packed.function, {})
            run = await api.submit(packed, function, {}, project="lab", likely="lab")
            await Driver(function, api, run).drive()
            seconds.append(time.perf_counter() - begin)
            await asyncio.sleep(0.2)
    return seconds[1:]


def idling() -> None:
    """A server with two idle clients: processor time and memory."""
    with lab(2) as running:
        assert running.server is not None
        server = psutil.Process(running.server.pid)
        clients = [psutil.Process(p.pid) for p in running.clients.values()]
        running.dsage("submit", "factor", "-p", "n=2^101-1")
        wait_for(lambda: all(_settled(client) for client in clients))
        before, begin = _cpu(server), time.monotonic()
        time.sleep(IDLE_S)
        share = (_cpu(server) - before) / (time.monotonic() - begin)
        figure("server: CPU of one core with two idle clients", share * 100, "%", bar=1)
        figure("server: resident memory", server.memory_info().rss / 1e6, "MB", bar=150)
        figure("client without a task: resident memory", max(c.memory_info().rss for c in clients) / 1e6, "MB", bar=80)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _settled(process: psutil.Process) -> bool:
    return process.cpu_percent(0.5) < 1


def main() -> None:
    """Run every part, or those named."""
    parts: dict[str, Callable[[], Any]] = {
        "demo": demo, "starts": starts, "answers": answers,
        "efficiency": efficiency, "round-trip": round_trip, "idling": idling,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*parts, []], help="which figures (default: all)")
    for name in parser.parse_args().part or parts:
        parts[name]()


if __name__ == "__main__":
    main()
