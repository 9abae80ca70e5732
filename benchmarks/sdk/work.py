"""What is done elsewhere: a unit that keeps a processor busy, and one that costs nothing."""

from __future__ import annotations

import time


def busy(seconds: float) -> float:
    """Use so many seconds of processor time, and return how many it were."""
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < seconds:
        pass
    return used


def same(number: int) -> int:
    """Return the number."""
    return number
