"""Uses that type checkers accept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dsage import DistributedFunction, Limits, Unit, checkpoint, close, detections, local, progress, restored


class Sum(DistributedFunction[int, int]):
    """The talk's example."""

    n: int
    limits = Limits(cpu_s=60.0)
    needs = ("gmpy2",)

    def units(self) -> Iterator[int]:
        yield from range(1, self.n + 1)

    @staticmethod
    def compute(i: int) -> int:
        checkpoint({"i": i})
        progress(0.5)
        return i if restored() is None else 0

    @staticmethod
    def verify(i: int, value: int) -> bool | None:
        return value == i

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.result = (self.result or 0) + value
        if unit.args > 3:
            self.submit(unit.args - 1)
            self.submit(Unit(2, quorum=1, key="two"))


@dataclass
class Tile:
    """Arguments of a unit."""

    x: int


@dataclass
class Pixels:
    """An answer."""

    data: bytes


class Render(DistributedFunction[Tile, Pixels]):
    """Everything overridden."""

    def next_job(self) -> Unit[Tile] | Tile | None:
        return Unit(Tile(1), group="a")

    @staticmethod
    def compute(tile: Tile) -> Pixels:
        return Pixels(bytes(tile.x))

    @staticmethod
    def agree(tile: Tile, a: Pixels, b: Pixels) -> bool:
        return a.data == b.data

    @staticmethod
    def partial(tile: Tile, value: Pixels, seed: int) -> float:
        return tile.x / seed + len(value.data)

    def process_result(self, unit: Unit[Tile], value: Pixels) -> None:
        self.result = value.data[: unit.args.x]

    def retract(self, unit: Unit[Tile], value: Pixels) -> None:
        self.result = None

    def split(self, unit: Unit[Tile]) -> Iterable[Tile]:
        return [Tile(unit.args.x - 1)]

    def unit_failed(self, unit: Unit[Tile], reason: str) -> None:
        self.done = bool(reason)


class Ruled(DistributedFunction[int, float]):
    """A rule in place of a function."""

    agree = close(rtol=1e-9)

    @staticmethod
    def compute(i: int) -> float:
        return float(i)


class Found(DistributedFunction[int, list[list[float]]]):
    """Another, used as a function too."""

    agree = detections(threshold=8.0, tolerance=(0.5, 0.1))


same: bool = Ruled.agree(1, 1.0, 2.0) or Found.agree(1, [], [])


class Untyped(DistributedFunction):
    """Without parameters, anything goes."""

    def units(self) -> Iterator[str]:
        yield "a"

    @staticmethod
    def compute(word: str) -> list[str]:
        return [word]

    def process_result(self, unit: Unit, value: list[str]) -> None:
        self.result = value


Sum(n=5).units_taken += 1


def square(x: int) -> int:
    """A function to map."""
    return x * x


squares: list[int] = local().map(square, [1, 2]).wait()
