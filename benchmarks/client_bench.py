"""`make bench-client`: what the owner of a computer notices of DSage, measured on real processes.

A server, `dsage join` and `dsage tray` run with homes of their own under an X server without pixels. A key is pressed
by the server's test extension; what counts is when the work inside the sandbox last had processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path

import psutil
from figures import figure, say
from idle_lab import Keyboard, display
from lab import Lab, command, wait_for

from dsage.sandbox import processes

HERE = Path(__file__).parent
IDLE_AFTER_S = 1.0
QUIET_S = 0.4
"""So long without processor time is to be stopped."""
REST_S = 30.0
LOOP_S = 0.4
SOURCE = """
import time
from dsage import DistributedFunction, Unit


class Burn(DistributedFunction):
    def units(self):
        yield from (Unit(i, quorum=1, cpu_s=36000, wall_s=36000, deadline_s=36000) for i in range(self.n))

    @staticmethod
    def compute(i):
        while True:
            pass

    def process_result(self, unit, value):
        pass
"""


def main() -> None:
    """Measure what was asked for, or all of it."""
    parts: dict[str, Callable[[int], None]] = {
        "join": lambda _: joining(),
        "return": returning,
        "poll": lambda _: polling(),
        "rest": lambda _: resting(),
        "beside": lambda _: beside(),
        "tray": lambda _: other("tray_lab.py"),
        "sandbox": lambda _: other("sandbox_lab.py", "--rounds", "15"),
        "saver": lambda _: other("saver_lab.py"),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=list(parts))
    parser.add_argument("--presses", type=int, default=200, help="how many presses of a key to time")
    said = parser.parse_args()
    os.environ.pop("DISPLAY", None)
    for name in said.only or parts:
        say(f"-- {name}")
        parts[name](said.presses)


def other(program: str, *arguments: str) -> None:
    """Run a laboratory of its own; its figures are ours."""
    subprocess.run([sys.executable, str(HERE / program), *arguments], check=False, timeout=300)


def joining() -> None:
    """From the link to the first result that was found right, where no research waits."""
    with laboratory() as lab:
        lab.dsage_json("admin", "welcome")
        link = lab.invite(1)
        began = time.monotonic()
        with client(lab, link):
            wait_for(lambda: (told := status(lab)) and any(server.get("granted") for server in told["servers"]))
            figure("join link to first validated result", time.monotonic() - began, "s", bar=60)


def returning(presses: int) -> None:
    """From a key to no more work: `dsage tray` on an X server, units in the sandbox of `dsage join`."""
    with laboratory() as lab, display() as shown:
        burn(lab)
        with client(lab, lab.invite(1), f"idle_after_s={IDLE_AFTER_S:g}"), helper(lab, shown):
            for verb in ("pause", "resume"):  # ends the minutes in which whoever has just joined sees it work
                lab.dsage(verb, "--home", str(lab.folder / "client"))
            keyboard = Keyboard(shown)
            took = sorted(one_return(lab, keyboard) for _ in range(presses))
            keyboard.close()
    ms = [each * 1000 for each in took]
    figure("key to no more work, event sensor: p50", statistics.median(ms), "ms")
    figure("key to no more work, event sensor: p99", ms[ceil(0.99 * len(ms)) - 1], "ms", bar=100, peer=("BOINC", 1000))
    figure("key to no more work, event sensor: worst", ms[-1], "ms")


def one_return(lab: Lab, keyboard: Keyboard) -> float:
    """Wait until units run, press a key, and return the seconds until they ran no more."""
    boxes = wait_for(lambda: (told := status(lab)) and told["work"] == "run" and told["running"] and told["boxes"])
    pids = [pid for box, _ in boxes for pid in processes.tree(box)]
    before = ran_ns(pids)
    wait_for(lambda: ran_ns(pids) - before > 20_000_000)
    pressed = time.perf_counter()
    keyboard.press()
    last, ran = pressed, ran_ns(pids)
    while (now := time.perf_counter()) - last < QUIET_S:
        if (more := ran_ns(pids)) != ran:
            last, ran = now, more
        time.sleep(0.001)
    return last - pressed


def polling() -> None:
    """From the return of a user to the handler of a sensor that must ask: KDE's service, four times a second."""
    from dsage_client.idle.bus import Bus
    from dsage_client.idle.freedesktop import Freedesktop
    from dsage_client.idle.testing import FakeDesktop, PrivateBus

    idle, back = threading.Event(), threading.Event()
    returned = [0.0]

    def on_return() -> None:
        returned[0] = time.perf_counter()
        back.set()

    took = []
    with PrivateBus() as bus, FakeDesktop(bus.address) as desktop:
        sensor = Freedesktop(Bus(bus.address))
        sensor.open(1.0, idle.set, on_return)
        for number in range(40):
            desktop.untouched(5.0)
            if not idle.wait(20):
                raise TimeoutError("nobody was ever idle")
            back.clear()
            time.sleep(0.05 + 0.007 * number)  # presses fall anywhere between two looks
            began = time.perf_counter()
            desktop.touch()
            if not back.wait(20):
                raise TimeoutError("a return was not noticed")
            idle.clear()
            took.append((returned[0] - began) * 1000)
        sensor.close()
    took.sort()
    figure("return to handler, polling sensor: p99", took[-1], "ms", bar=300, peer=("BOINC", 1000))


def resting() -> None:
    """What agent and helper take together while nothing happens."""
    with laboratory() as lab, display() as shown, client(lab, lab.invite(1)) as agent, helper(lab, shown) as tray:
        both = [psutil.Process(agent.pid), psutil.Process(tray.pid)]
        wait_for(lambda: (told := status(lab)) and told["servers"] and told["servers"][0]["granted"] is not None)
        time.sleep(5.0)
        before = sum(sum(process.cpu_times()[:2]) for process in both)
        time.sleep(REST_S)
        spent = sum(sum(process.cpu_times()[:2]) for process in both) - before
        figure("agent and helper at rest: processor", spent / REST_S * 100, "% of a core", bar=0.2)
        figure("agent and helper at rest: memory", sum(p.memory_info().rss for p in both) / 1e6, "MB", bar=90)


def beside() -> None:
    """How much slower a program becomes on the same core as a unit."""
    with laboratory() as lab:
        burn(lab)
        cores = sorted(os.sched_getaffinity(0))[:1]
        with client(lab, lab.invite(1), "when=always", prefix=["taskset", "-c", str(cores[0])]):
            wait_for(lambda: (told := status(lab)) and told["running"])
            own = os.sched_getaffinity(0)
            os.sched_setaffinity(0, cores)
            loops = calibrated()
            ratios = []
            for _ in range(15):
                beside_s = loop(loops)
                lab.dsage("pause", "--home", str(lab.folder / "client"))
                time.sleep(0.3)
                ratios.append(beside_s / loop(loops))
                lab.dsage("resume", "--home", str(lab.folder / "client"))
                wait_for(lambda: (told := status(lab)) and told["work"] == "run")
                time.sleep(0.3)
            os.sched_setaffinity(0, own)
    figure("a program on the same core as a unit: slower by", (statistics.median(ratios) - 1) * 100, "%", bar=10)


def calibrated() -> int:
    """Return how many turns take LOOP_S here."""
    turns = 1_000_000
    return max(1, int(turns * LOOP_S / loop(turns)))


def loop(turns: int) -> float:
    """Return how long so many turns of nothing take."""
    began = time.perf_counter()
    for _ in range(turns):
        pass
    return time.perf_counter() - began


def ran_ns(pids: list[int]) -> int:
    """Return how long these processes have had a processor (proc/PID/schedstat)."""
    total = 0
    for pid in pids:
        with suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[0])
    return total


def burn(lab: Lab) -> None:
    """Submit units that never end."""
    source = lab.folder / "burn.py"
    source.write_text(SOURCE)
    lab.clients["driver"] = lab.start("submit", f"{source}:Burn", "-p", "n=64", log="driver")


def status(lab: Lab) -> dict[str, object] | None:
    """Return what the client says of itself in its status file."""
    try:
        told: dict[str, object] = json.loads((lab.folder / "client" / "client" / "status.json").read_bytes())
    except (OSError, ValueError):
        return None
    return told


@contextmanager
def laboratory() -> Iterator[Lab]:
    """A server in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="dsage-lab-") as folder:
        Path(folder).chmod(0o755)
        lab = Lab(Path(folder))
        lab.start_server()
        try:
            yield lab
        finally:
            lab.stop()


@contextmanager
def client(
    lab: Lab, link: str, *preferences: str, prefix: list[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`dsage join` with preferences, until the end of the block."""
    home = lab.folder / "client"
    if preferences:
        (home / "client").mkdir(parents=True, exist_ok=True)
        lab.dsage("prefs", "--home", str(home), *preferences)
    joining = ["join", link] if link else ["join"]
    arguments = [*(prefix or []), *command(*joining, "--own-work", "--home", str(home))]
    yield from process(lab, arguments, lab.environment(home), "join.log")


@contextmanager
def helper(lab: Lab, shown: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`dsage tray` in a session on the display."""
    home = lab.folder / "client"
    wait_for(lambda: (home / "client" / "door").exists())
    environment = lab.environment(home) | shown | {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    yield from process(lab, command("tray", "--icon", "none", "--home", str(home)), environment, "tray.log")


def process(lab: Lab, arguments: list[str], environment: dict[str, str], log: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block."""
    with (lab.folder / log).open("wb") as told:
        started = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told)
        try:
            yield started
        finally:
            started.terminate()
            started.wait(30)


if __name__ == "__main__":
    main()
