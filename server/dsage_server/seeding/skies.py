"""Regular pulses in noise: an app for the made-up radio search, small enough to be computed while a server is filled.

Noise comes from a hash function, so any computer hears the same sky.
"""

from hashlib import shake_128
from typing import Any

from dsage import DistributedFunction, Unit
from dsage.agreement import detections

SAMPLES = 512
THRESHOLD = 5.0  # in standard deviations
PERIODS = range(7, 90)


class Pulsars(DistributedFunction[list[int], list[list[float]]]):
    """Folds each beam of a recording at many periods; the result lists [beam, period in ms, strength]."""

    title = "Pulses in old recordings"
    agree = detections(threshold=THRESHOLD, tolerance=0.5, rtol=0.01)

    def __init__(self, recording: int = 1, beams: int = 200) -> None:
        super().__init__(recording=int(recording), beams=int(beams))
        self.recording, self.beams = int(recording), int(beams)
        self.heard = 0
        self.result: list[list[float]] = []

    def units(self) -> Any:
        """Yield the beams."""
        for beam in range(1, self.beams + 1):
            yield Unit([self.recording, beam], key=f"beam {beam}")

    @staticmethod
    def compute(args: list[int]) -> list[list[float]]:
        """Return the [period, strength] of a beam's pulses that stand out of the noise."""
        noise = shake_128(f"{args[0]}/{args[1]}".encode()).digest(SAMPLES)
        hidden = 7 + noise[0] % 80 if noise[1] < 16 else 0
        sky = [byte + (90 if hidden and i % hidden == 0 else 0) for i, byte in enumerate(noise)]
        mean = sum(sky) / SAMPLES
        found = []
        for period in PERIODS:
            train = sky[::period]
            strength = (sum(train) / len(train) - mean) / 74 * len(train) ** 0.5
            if strength > THRESHOLD:
                found.append([float(period), round(strength, 3)])
        return found

    def process_result(self, unit: Unit[list[int]], value: list[list[float]]) -> None:
        """Keep what was heard."""
        self.heard += 1
        self.result = sorted([*self.result, *([float(unit.args[1]), *pulse] for pulse in value)])

    def progress(self) -> dict[str, Any]:
        """Return how many beams were listened to."""
        return {
            "fraction": self.heard / self.beams,
            "summary": f"{self.heard} of {self.beams} beams, {len(self.result)} pulses",
        }
