"""What `dsage --help` costs, in processor time of bare Python's start, and what it imports."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

from figures import figure, say
from lab import command

STARTS: Final = 21
HEAVY: Final = {"aiohttp", "sqlalchemy", "numpy", "rich"}


def startup(starts: int) -> None:
    """Print the median ratio of so many starts of each in turn, and how many of the heavy packages are imported."""
    starts = starts or STARTS
    helped, bare = command("--help"), [sys.executable, "-c", "pass"]
    _cpu_s(helped), _cpu_s(bare)
    pairs = [(_cpu_s(helped), _cpu_s(bare)) for _ in range(starts)]
    ours, least = (statistics.median(each) for each in zip(*pairs, strict=True))
    say(f"     dsage --help: {1e3 * ours:.1f} ms of processor time; python -c pass: {1e3 * least:.1f} ms")
    figure("dsage --help over bare Python, processor time", ours / least, "ratio", bar=3, peer=("python -c pass", 1.0))
    figure("dsage --help: heavy packages imported", len(_imported() & HEAVY), "packages", bar=0)


def _cpu_s(line: list[str]) -> float:
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{line} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _imported() -> set[str]:
    """Return the packages that are loaded when the overview has been written."""
    script = Path(command()[0])
    line = [sys.executable, "-X", "importtime", str(script), "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {name.partition(".")[0] for name in names}
