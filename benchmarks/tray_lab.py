"""How long a change of state takes to be seen in the tray, and what the session helper costs while nothing happens.

The helper is the real program, on a display and a bus of its own. An agent that stands in changes its status; a panel
without pixels waits for the signal, reads the icon and the whole menu again, and stops the clock when both show the new
state.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from math import ceil
from pathlib import Path

import psutil
from figures import figure, say

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))

from desk_stand import Stand
from idle_lab import display
from panel_stand import Panel, private_bus

from dsage.home import Home
from dsage_client.guest.reasons import Reason
from dsage_client.tray import icons
from dsage_client.tray.model import LOOKS, Look

TRAY = (sys.executable, "-c", "from dsage_client.tray.command import tray; tray(prog_name='dsage tray')")
SEEN_BAR_S = 0.2
MEMORY_BAR_MIB = 45.0
CORE_BAR_PERCENT = 0.1


async def seen_after(stand: Stand, panel: Panel, number: int) -> float:
    """Change the status; return the seconds until icon and menu show it."""
    look = (Look.WORKING, Look.PAUSED, Look.WAITING)[number % 3]
    sentence = f"State {number}"
    begun = time.perf_counter()
    stand.change(reason=LOOKS[look][0], paused=look is Look.PAUSED, sentence=sentence)
    await panel.shows(sentence)
    pixels = bytes((await panel.property("IconPixmap"))[0][2])
    took = time.perf_counter() - begun
    if pixels != icons.argb(look, icons.SIZES[0]):
        raise RuntimeError(f"the icon does not show {look}")
    return took


async def rest(process: psutil.Process, seconds: float) -> float:
    """Return which part of a core the process takes while nothing happens."""
    before = sum(process.cpu_times()[:2])
    await asyncio.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / seconds


async def measure(changes: int, rest_s: float) -> None:
    """Run a session and print its figures."""
    with tempfile.TemporaryDirectory() as folder, display() as shown:
        home = Path(folder)
        async with private_bus(home) as address, Panel(address) as panel, Stand(Home(home).client) as stand:
            environment = shown | {"DSAGE_HOME": folder, "HOME": folder, "DBUS_SESSION_BUS_ADDRESS": address}
            begun = time.perf_counter()
            helper = await asyncio.create_subprocess_exec(*TRAY, env=environment, stderr=subprocess.DEVNULL)
            try:
                await panel.registered()
                await panel.shows(stand.status.sentence)
                figure("tray_start_s", time.perf_counter() - begun, "s")
                took = [await seen_after(stand, panel, number) for number in range(changes)]
                stand.change(reason=Reason.IN_USE, sentence="At rest")
                await panel.shows("At rest")
                process = psutil.Process(helper.pid)
                say(f"now {rest_s:.0f} s of rest")
                share = await rest(process, rest_s)
                memory = process.memory_info().rss / 2**20
            finally:
                helper.terminate()
                await helper.wait()
    figure("tray_seen_p50_s", statistics.median(took), "s")
    figure("tray_seen_p99_s", sorted(took)[ceil(0.99 * len(took)) - 1], "s", bar=SEEN_BAR_S)
    figure("helper_rest_core_percent", 100 * share, "%", bar=CORE_BAR_PERCENT)
    figure("helper_rest_memory_mib", memory, "MiB", bar=MEMORY_BAR_MIB)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200, help="how many changes of state to time")
    parser.add_argument("--rest-s", type=float, default=60.0, help="how long to watch the helper at rest")
    options = parser.parse_args()
    asyncio.run(measure(options.changes, options.rest_s))


if __name__ == "__main__":
    main()
