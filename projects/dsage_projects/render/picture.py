"""What both renderers share: a picture cut into bands of rows, and put together again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from dsage import DistributedFunction, Limits, Unit
from dsage.errors import UsageError
from dsage_projects.render.png import png

MAX_BYTES = 1_000_000
"""Three for each pixel. What has come in is the driver's state, which may have a mebibyte."""
BAND_S = 5.0
"""Seconds of the reference core that a band takes, unless the number of bands is given."""
FEWEST_BANDS = 4
SLOWEST_HOST = 30
"""A computer may be so much slower than the reference core."""

Band = dict[str, Any]


class Picture(DistributedFunction[Band, bytes]):
    """A picture of `width` x `height` pixels in `bands` parts (0: by the estimate of `pixel_s` seconds a pixel).

    The result is a PNG file. An answer is rows of red, green and blue bytes, which look the same to every computer;
    compressed files would depend on its version of zlib.
    """

    shown_as: ClassVar[str] = "tiles"
    limits: ClassVar[Limits] = Limits(cpu_s=86400.0, wall_s=10 * 86400.0)

    def __init__(self, width: int, height: int, bands: int, pixel_s: float) -> None:
        super().__init__()
        self.width, self.height = int(width), int(height)
        size = 3 * self.width * self.height
        if self.width < 1 or self.height < 1 or size > MAX_BYTES:
            raise UsageError(
                f"{width} x {height} pixels cannot be painted",
                hint=f"Width and height are at least 1, and at most {MAX_BYTES // 3:,} pixels together.",
            )
        self.pixel_s = float(pixel_s)
        if not 0 < self.pixel_s < self.limits.cpu_s:
            raise UsageError(f"a pixel cannot take {pixel_s} seconds")
        seconds = self.width * self.height * self.pixel_s
        self.bands = int(bands) or min(max(round(seconds / BAND_S), FEWEST_BANDS), self.height)
        band_s = SLOWEST_HOST * seconds / max(self.bands, 1)
        if not 1 <= self.bands <= self.height or 60 + band_s > self.limits.cpu_s:
            raise UsageError(f"{self.bands} bands are not right for {self.height} rows that take {seconds:.0f} seconds")
        self.painted: dict[str, bytes] = {}
        self.rows_painted = 0

    def details(self) -> dict[str, Any]:
        """Return what a renderer has to know besides the size."""
        return {}

    def files(self) -> Mapping[str, str | Path]:
        """Return the files that a renderer reads."""
        return {}

    def units(self) -> Iterator[Unit[Band]]:
        """Yield the bands from top to bottom; they differ by at most one row."""
        edges = [self.height * i // self.bands for i in range(self.bands + 1)]
        for top, bottom in pairwise(edges):
            seconds = self.pixel_s * self.width * (bottom - top)
            slow_s = 60 + SLOWEST_HOST * seconds
            yield Unit(
                {"width": self.width, "height": self.height, "top": top, "bottom": bottom, **self.details()},
                key=f"rows {top} to {bottom - 1}",
                credit=seconds / 60,
                deadline_s=slow_s,
                limits=Limits(cpu_s=slow_s, wall_s=10 * slow_s),
                inputs=self.files(),
            )

    @staticmethod
    def verify(args: Band, value: Any) -> bool | None:
        """Return False for what is no such band; whether it shows the scene is for a second computer to say."""
        return None if type(value) is bytes and len(value) == band_bytes(args) else False

    def process_result(self, unit: Unit[Band], value: bytes) -> None:
        """Keep a band, and put all of them together when it was the last."""
        self.painted[str(unit.args["top"])] = zlib.compress(value)
        self.rows_painted += unit.args["bottom"] - unit.args["top"]
        if self.rows_painted == self.height:
            parts = [zlib.decompress(self.painted[top]) for top in sorted(self.painted, key=int)]
            self.painted = {}
            self.result = png(self.width, self.height, b"".join(parts))

    def progress(self) -> dict[str, Any]:
        """Return the share of the rows that are painted."""
        return {
            "fraction": self.rows_painted / self.height,
            "summary": f"{self.rows_painted} of {self.height} rows painted",
        }


def band_bytes(args: Band) -> int:
    """Return how many bytes a band has."""
    return 3 * int(args["width"]) * int(args["bottom"] - args["top"])
