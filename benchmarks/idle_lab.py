"""How long a key press takes to reach the handler of an idle sensor, and what waiting for it costs.

Everything is real: an X server and the sensor. Keys are pressed in two ways: by the server's test extension, where the
time begins with the key, and by `xdotool`, whose own start is in the time and grows with the load of the computer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from figures import figure, say

from dsage_client.idle.wire import Connection
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


class Keyboard:
    """Presses a key by the server's own test extension. Source: X Test Extension Protocol 2.2."""

    FAKE_INPUT, PRESS, RELEASE, KEY = 2, 2, 3, 38

    def __init__(self, environment: dict[str, str]) -> None:
        self._connection = Connection(environment)
        self._code, _ = self._connection.extension("XTEST")

    def press(self) -> None:
        """Press a key and release it."""
        for kind in (self.PRESS, self.RELEASE):
            head = struct.pack("<BBHBBxxII", self._code, self.FAKE_INPUT, 9, kind, self.KEY, 0, 0)
            self._connection.send(head + bytes(36 - len(head)))

    def close(self) -> None:
        """Put it away."""
        self._connection.close()


def measure(environment: dict[str, str], presses: int, press: Callable[[], None]) -> list[float]:
    """Return for each key press the milliseconds until the handler was called."""
    idle, back = threading.Event(), threading.Event()
    returned = [0.0]

    def on_return() -> None:
        returned[0] = time.perf_counter()
        idle.clear()
        back.set()

    sensor = X11(environment)
    sensor.open(IDLE_AFTER_S, idle.set, on_return)
    took = []
    for _ in range(presses):
        if not idle.wait(WAIT_S):
            raise TimeoutError("nobody was ever idle")
        back.clear()
        pressed = time.perf_counter()
        press()
        if not back.wait(WAIT_S):
            raise TimeoutError("a key press was not noticed")
        took.append((returned[0] - pressed) * 1000)
    sensor.close()
    return took


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a program to its end."""
    subprocess.run(command, env=environment, check=True, timeout=WAIT_S)


def tell(name: str, took: list[float], bar: float | None = None) -> None:
    """Print what was measured (ms), and what is demanded of it."""
    centiles = statistics.quantiles(took, n=100)
    say(f"{len(took)} key presses under Xvfb, {name}: slowest {max(took):.2f} ms")
    figure(f"idle_return_{name}_p50_ms", centiles[49], "ms", bar=bar)
    figure(f"idle_return_{name}_p99_ms", centiles[98], "ms", bar=bar)


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
        keyboard = Keyboard(environment)
        tell("key", measure(environment, presses, keyboard.press), bar=100)
        keyboard.close()
        xdotool = ["xdotool", "key", "a"]
        tell("xdotool", measure(environment, presses, lambda: run(xdotool, environment)))
        share = cost(environment)
    figure("idle_waiting_cpu_percent", share, "% of a core", bar=0.1)


if __name__ == "__main__":
    main()
