"""What tests have computed elsewhere: it needs nothing but Python and DSage, as what needs more goes to few."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from dsage import DistributedFunction, Unit


def square(x: int) -> int:
    return x * x


def add(a: Any, b: Any) -> Any:
    return a + b


def rest(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def numbered(number: int) -> int:
    time.sleep(0.05)
    return number


class Sum(DistributedFunction[list[float], float]):
    """The talk's example, corrected; `rest_s` makes it slow."""

    n: int
    rest_s: float

    def units(self) -> Iterator[Unit[list[float]]]:
        for number in range(1, self.n + 1):
            yield Unit([number, self.rest_s], quorum=1)

    @staticmethod
    def compute(args: list[float]) -> float:
        time.sleep(args[1])
        return args[0]

    def process_result(self, unit: Unit[list[float]], value: float) -> None:
        self.result += value
