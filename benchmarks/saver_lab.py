"""What the screensaver costs: its share of a core at ten pictures a second, on a large screen, for every picture.

Everything is real: an X server, and the saver as a process of its own that draws in a window as large as the screen.
The X server's own share is printed beside it; here it draws without a graphics card.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
from figures import figure

from dsage.home import Home
from dsage_client.door.words import Running, Status
from dsage_client.guest.reasons import Reason, Work

SIZE = "1800x1000"
SCENES = {
    "curves": {"curve": 37, "curves": 120, "b1": 11_000_000},
    "tiles": {"tile": 5, "tiles": 24},
    "spectrum": {},
    "plain": {},
}
CORE_BAR_PERCENT = 4.0
WARM_S = 2.0


@contextmanager
def screen() -> Iterator[tuple[psutil.Process, str]]:
    """Run an X server; yield it and the name of its display."""
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", f"{SIZE}x24"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            yield psutil.Process(server.pid), f":{server.stdout.readline().strip()}"
        finally:
            server.terminate()


def status(scene: str, screen: str) -> Status:
    """Return the status of a client that computes one unit half way."""
    unit = Running(
        server="s", unit=7, project="lab", title="A unit", fraction=0.5, scene=scene, shows=dict(SCENES[scene])
    )
    return Status(
        at=time.time(), version="0", pid=os.getpid(), work=Work.RUN, reason=Reason.WORKING, sentence="Computing",
        running=[unit], screen=screen,
    )  # fmt: skip


def used(process: psutil.Process) -> float:
    """Return the processor time that a process has taken (s)."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(scene: str, mode: str, seconds: float) -> None:
    """Print what one picture costs."""
    with tempfile.TemporaryDirectory() as folder, screen() as (server, name):
        client = Home(Path(folder)).client
        client.mkdir(parents=True)
        (client / "status.json").write_bytes(msgspec.json.encode(status(scene, mode)))
        environment = {"DISPLAY": name, "PATH": os.environ["PATH"], "HOME": folder, "DSAGE_HOME": folder}
        with subprocess.Popen([sys.executable, "-m", "dsage_client.saver", "--full-screen"], env=environment) as saver:
            try:
                time.sleep(WARM_S)
                process = psutil.Process(saver.pid)
                began, own, other = time.perf_counter(), used(process), used(server)
                time.sleep(seconds)
                took = (time.perf_counter() - began) / 100
                title = f"saver_{scene}" if mode == "full" else f"saver_{scene}_calm"
                shares = (used(process) - own) / took, (used(server) - other) / took
                figure(f"{title}_core_percent", shares[0], "%", bar=CORE_BAR_PERCENT, peer=("X server", shares[1]))
                if scene == "plain" and mode == "full":
                    figure("saver_memory_mib", process.memory_info().rss / 2**20, "MiB")
            finally:
                saver.terminate()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to watch each picture")
    options = parser.parse_args()
    for mode in ("full", "calm"):
        for scene in SCENES:
            measure(scene, mode, options.seconds)


if __name__ == "__main__":
    main()
