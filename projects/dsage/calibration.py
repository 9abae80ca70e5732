"""The reference core, by which credit is counted: it does these three sets of work in exactly these times.

Each set is what a kind of research spends its time on: squaring numbers of thousands of digits (factors, primes), small
whole numbers in plain Python (searches), fractions in plain Python (pictures). All do the same on every computer, and
their answers are known, so a computer that calculates wrong is not measured. The times are those of one core of an AMD
EPYC server of 2021 with CPython 3.11 and gmpy2 2.2, and never change: who wants faster work of the same kind to be
worth less measures work anew and writes another number on new units.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dsage.errors import UnitFailed
from dsage.files import write_whole
from dsage.home import Home

FILE: Final = "calibration.json"
TIMES: Final = 5
"""Each set is done so often, and the shortest time counts: others who use the computer only make it longer."""


@dataclass(frozen=True, slots=True)
class Set:
    """A set of work: what does it, what comes out, and the seconds of the reference core."""

    name: str
    work: Callable[[], int]
    answer: int
    reference_s: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A core as it was measured: `speed` is in reference cores, `seconds` by set, `measured` in Unix seconds."""

    speed: float
    seconds: dict[str, float]
    measured: float


def squarings() -> int:
    """Square 1,000 times modulo 2^44497 - 1; return the last 32 bits."""
    from gmpy2 import mpz, powmod

    return int(powmod(mpz(3), mpz(1) << 1000, (mpz(1) << 44_497) - 1) % (1 << 32))


def numbers() -> int:
    """Return the sum of the lengths of all Collatz chains from below 250,000, each by the ones before."""
    lengths = {1: 1}
    for start in range(2, 250_000):
        n, steps = start, 0
        while n not in lengths:
            n = 3 * n + 1 if n % 2 else n // 2
            steps += 1
        lengths[start] = steps + lengths[n]
    return sum(lengths.values())


def fractions() -> int:
    """Return how many steps the points of a grid stay within a circle of radius 2 (Mandelbrot's set, 60 steps)."""
    total = 0
    for row in range(-150, 150):
        for column in range(-240, 120):
            x, y, a, b = 0.0, 0.0, column / 120, row / 120
            for _ in range(60):
                xx, yy = x * x, y * y
                if xx + yy > 4.0:
                    break
                x, y = xx - yy + a, 2.0 * x * y + b
                total += 1
    return total


SETS: Final = (
    Set("squarings", squarings, 190_647_004, 0.108),
    Set("numbers", numbers, 29_515_416, 0.099),
    Set("fractions", fractions, 1_785_564, 0.111),
)


def measure(sets: tuple[Set, ...] = SETS, clock: Callable[[], float] = time.thread_time) -> Calibration:
    """Measure the core that this runs on, in a second or so: its speed is the geometric mean over the sets.

    Raises UnitFailed if it calculates wrong.
    """
    seconds = {each.name: min(_timed(each, clock) for _ in range(TIMES)) for each in sets}
    speeds = [each.reference_s / seconds[each.name] for each in sets]
    speed = math.exp(sum(map(math.log, speeds)) / len(speeds))
    return Calibration(speed=speed, seconds=seconds, measured=time.time())


def _timed(each: Set, clock: Callable[[], float]) -> float:
    begin = clock()
    answer = each.work()
    took = clock() - begin
    if answer != each.answer:
        raise UnitFailed(
            f"this computer calculates wrong: {each.name} gave {answer}, not {each.answer}",
            hint="Its memory or processor is faulty, or overclocked too far: test it before it computes for anybody.",
        )
    return max(took, 1e-9)


def keep(home: Home, found: Calibration) -> None:
    """Remember a calibration of this computer. Raises StorageFull."""
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(home.folder / FILE, msgspec.json.encode(found))


def known(home: Home) -> Calibration | None:
    """Return the last calibration of this computer, if there is one that can be read."""
    try:
        data = Path(home.folder / FILE).read_bytes()
        found = msgspec.json.decode(data, type=Calibration)
    except (OSError, msgspec.DecodeError):
        return None
    return found if 0 < found.speed < math.inf else None
