"""`Render`: the scene of `tracer`, with nothing but Python."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from dsage import checkpoint, progress, restored, running
from dsage.errors import UsageError
from dsage_projects.render import tracer
from dsage_projects.render.picture import Band, Picture

RAY_S = 32e-6
"""Seconds of the reference core for one ray from the eye, with all that follows from it; measured over the scene."""
MAX_SAMPLES = 8
CHECKPOINT_S = 1.0
HAS_PICTURES = hasattr(running, "MAX_SHOWS")
"""Clients from before pictures take nothing but the share that is done."""


class Render(Picture):
    """Balls like the seeds of a sunflower; a pixel is the mean of samples^2 rays (1 to 8)."""

    title: ClassVar[str] = "A picture by ray tracing"

    def __init__(self, width: int = 640, height: int = 360, *, samples: int = 2, bands: int = 0) -> None:
        self.samples = int(samples)
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise UsageError(f"samples is {samples}, not 1 to {MAX_SAMPLES}")
        super().__init__(width, height, bands, RAY_S * self.samples**2)

    def details(self) -> dict[str, Any]:
        """Return how many rays make a pixel."""
        return {"samples": self.samples}

    @staticmethod
    def compute(args: Band) -> bytes:
        """Paint a band row by row; a checkpoint is the rows so far."""
        pixels = restored() or b""
        first = args["top"] + len(pixels) // (3 * args["width"])
        kept = time.monotonic()
        rows = args["bottom"] - args["top"]
        tile = {"tile": args["top"] // rows + 1, "tiles": -(-args["height"] // rows)} if HAS_PICTURES else {}
        for y in range(first, args["bottom"]):
            pixels += tracer.row(args["width"], args["height"], y, args["samples"])
            if time.monotonic() - kept >= CHECKPOINT_S:
                checkpoint(pixels)
                progress((y + 1 - args["top"]) / rows, **tile)
                kept = time.monotonic()
        return pixels
