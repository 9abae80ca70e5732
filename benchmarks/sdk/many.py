"""A run of very many units, each of one number; its answer is their sum, which says whether each was folded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsage import DistributedFunction, Unit


class Many(DistributedFunction[int, int]):
    """The numbers below `count`, in units that one volunteer's answer is enough for."""

    count: int

    def units(self) -> Iterator[Unit[int]]:
        """Yield the numbers."""
        for number in range(self.count):
            yield Unit(number, quorum=1)

    @staticmethod
    def compute(number: int) -> int:
        """Return the number itself, as simulated hosts do."""
        return number

    def process_result(self, unit: Unit[int], value: int) -> None:
        """Add it up."""
        folded, total = self.result or (0, 0)
        self.result = [folded + 1, total + value]

    def progress(self) -> dict[str, Any]:
        """Return how many are folded."""
        return {"folded": (self.result or [0])[0]}
