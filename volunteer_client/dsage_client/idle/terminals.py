"""When somebody last typed into a terminal of this computer, on its own screen or over ssh."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

NEVER_S: Final = 86400.0
"""What is said where nobody has typed for so long, or there is no terminal."""
DEVICES: Final = Path("/dev")


def terminals_idle_s(devices: Path = DEVICES) -> float:
    """Return for how many seconds nobody has typed into any terminal.

    A terminal's time of last access is that of its last input; Linux keeps it to 8 seconds (tty_update_time).
    """
    now = time.time()
    typed = [now - NEVER_S]
    for path in _terminals(devices):
        with suppress(OSError):
            typed.append(os.stat(path).st_atime)
    return max(0.0, now - max(typed))


def _terminals(devices: Path) -> Iterator[Path]:
    """Yield the screens' own terminals, those of ssh, and whatever else somebody is logged in on."""
    for folder, name in ((devices, r"tty\d+"), (devices / "pts", r"\d+")):
        with suppress(OSError):
            yield from (path for path in folder.iterdir() if re.fullmatch(name, path.name))
    for user in psutil.users():
        if user.terminal:
            yield devices / user.terminal
