"""The volume of the d-dimensional unit ball by chance: `dsage submit montecarlo -p d=2 -p error=0.002` estimates pi.

Chance that can be checked: random numbers come from counted streams. Stream k is what the hash function SHAKE-128 makes
of "seed/k", so each unit has a stream of its own, any computer can compute any of them without the ones before, and two
computers get the same bits whatever their make. Points are compared as whole numbers, so nothing is rounded either.
"""

import struct
from hashlib import shake_128
from math import ceil, sqrt
from operator import mul
from typing import Any

from dsage import DistributedFunction, Limits, Unit, checkpoint, progress, restored
from dsage.errors import UsageError

FUNCTION = "MonteCarlo"
BATCH = 10_000  # points whose random bytes are made at once
FIRST = 4  # streams before the first look at the error


class MonteCarlo(DistributedFunction[list[int], int]):
    """The volume of the unit ball in `d` dimensions, to a standard error of at most `error`.

    A unit throws `points` points into the unit cube and counts those in the ball. `seed` chooses the streams: another
    one gives an independent estimate. The result is {"volume", "error", "points"}, and `error` is one standard error.
    """

    d: int
    error: float
    points: int
    seed: int
    title = "The volume of a ball by random points"
    limits = Limits(cpu_s=10 * 86400, wall_s=100 * 86400)

    def __init__(self, d: int = 2, error: float | str = 0.01, points: int = 100_000, seed: int = 1) -> None:
        super().__init__(d=int(d), error=float(error), points=int(points), seed=int(seed))
        if not (1 <= self.d <= 100 and self.points >= BATCH and self.error > 0):
            raise UsageError(f"d must be 1 to 100, points at least {BATCH}, and error above 0")
        self.hits = self.folded = self.made = 0
        self.wanted = FIRST

    def next_job(self) -> Unit[list[int]] | None:
        """Hand out the next stream, up to as many as are wanted so far."""
        if self.made == self.wanted:
            return None
        self.made += 1
        seconds = self.points * (1e-7 + 7e-8 * self.d)  # measured on the reference core
        limits = Limits(cpu_s=60 + 30 * seconds, wall_s=600 + 300 * seconds)
        args = [self.seed, self.made, self.d, self.points]
        return Unit(args, credit=seconds / 60, deadline_s=600 + 60 * seconds, limits=limits)

    @staticmethod
    def compute(args: list[int]) -> int:
        """Count a stream's points (x1, ..., xd), whole numbers from 0 to 2^32 - 1, with x1^2 + ... + xd^2 < 2^64."""
        seed, stream, d, points = args
        done, hits = restored() or [0, 0]
        while done < points:
            count = min(BATCH, points - done)
            data = shake_128(f"{seed}/{stream}/{done}".encode()).digest(4 * d * count)
            xs = iter(struct.unpack(f"<{d * count}I", data))  # little-endian everywhere
            hits += sum(sum(map(mul, point, point)) < 1 << 64 for point in zip(*[xs] * d, strict=True))
            done += count
            checkpoint([done, hits])
            progress(done / points)
        return int(hits)

    @staticmethod
    def verify(args: list[int], hits: object) -> bool | None:
        """Any number of hits is possible, and only another computer can tell which is right."""
        return None if type(hits) is int and 0 <= hits <= args[3] else False

    def process_result(self, unit: Unit[list[int]], hits: int) -> None:
        """Add a stream's hits; when all that are wanted are there, look at the error, and stop or want more.

        Looking only then makes the answer independent of which computer was quick.
        """
        self.hits += hits
        self.folded += 1
        if self.folded < self.wanted:
            return
        n = self.folded * self.points
        share = (self.hits + 1) / (n + 2)  # never 0 or 1, which would look free of error
        error = 2**self.d * sqrt(share * (1 - share) / n)
        self.result = {"volume": 2**self.d * self.hits / n, "error": error, "points": n}
        ratio = error / self.error
        self.done = ratio <= 1
        if not self.done:
            self.wanted = max(self.wanted + 1, ceil(self.wanted * ratio * ratio))

    def progress(self) -> dict[str, Any]:
        """Show the estimate so far; how far it is to the end is known when the first streams are in."""
        return {"fraction": self.folded / self.wanted, "summary": f"{self.hits} hits in {self.folded} streams"}
