"""How long a key press takes to reach the handler of an idle sensor, and what waiting for it costs.

Everything is real: an X server, `xdotool` and the sensor. The time begins before xdotool is started, so its own start is
in it, and ends when the sensor's handler is called.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from figures import figure, say

from dsage_client.idle.x11 import X11

IDLE_AFTER_S = 0.05
WAIT_S = 20.0
COST_S = 5.0


@contextmanager
def display() -> Iterator[dict[str, str]]:
    """Run an X server; yield the environment of a session on it."""
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", "640x480x24"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            yield {"DISPLAY": f":{server.stdout.readline().strip()}", "PATH": os.environ["PATH"]}
        finally:
            server.terminate()


def press(environment: dict[str, str], presses: int) -> list[float]:
    """Return for each key press the milliseconds until the handler was called."""
    idle, back = threading.Event(), threading.Event()
    returned = [0.0]

    def on_return() -> None:
        returned[0] = time.perf_counter()
        back.set()

    sensor = X11(environment)
    sensor.open(IDLE_AFTER_S, idle.set, on_return)
    took = []
    for _ in range(presses):
        if not idle.wait(WAIT_S):
            raise TimeoutError("nobody was ever idle")
        idle.clear()
        back.clear()
        pressed = time.perf_counter()
        with subprocess.Popen(["xdotool", "key", "a"], env=environment):
            if not back.wait(WAIT_S):
                raise TimeoutError("a key press was not noticed")
        took.append((returned[0] - pressed) * 1000)
    sensor.close()
    return took


def cost(environment: dict[str, str]) -> float:
    """Return the share of a core (%) that a sensor takes while nobody comes."""
    sensor = X11(environment)
    idle = threading.Event()
    sensor.open(IDLE_AFTER_S, idle.set, lambda: None)
    idle.wait(WAIT_S)
    before = time.process_time()
    time.sleep(COST_S)
    share = (time.process_time() - before) / COST_S * 100
    sensor.close()
    return share


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presses", type=int, default=200)
    presses = parser.parse_args().presses
    with display() as environment:
        took = press(environment, presses)
        share = cost(environment)
    centiles = statistics.quantiles(took, n=100)
    say(f"{presses} key presses under Xvfb: slowest {max(took):.2f} ms")
    figure("idle_return_p50_ms", centiles[49], "ms", bar=100)
    figure("idle_return_p99_ms", centiles[98], "ms", bar=100)
    figure("idle_waiting_cpu_percent", share, "% of a core", bar=0.1)


if __name__ == "__main__":
    main()
