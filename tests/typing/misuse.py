"""Mistakes that type checkers find, each on a line that says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsage import DistributedFunction, Limits, Unit, local


class WrongArguments(DistributedFunction[int, int]):
    """Units that compute does not take."""

    def units(self) -> Iterator[str]:  # wrong
        yield "one"

    def next_job(self) -> str | None:  # wrong
        return None


class WrongAnswer(DistributedFunction[int, int]):
    """An answer of another type."""

    @staticmethod
    def compute(i: int) -> str:  # wrong
        return str(i)

    @staticmethod
    def verify(i: int, value: str) -> bool | None:  # wrong
        return value == str(i)

    @staticmethod
    def agree(i: int, a: int, b: str) -> bool:  # wrong
        return str(a) == b


class WrongFold(DistributedFunction[int, int]):
    """Folds what compute does not give."""

    def process_result(self, unit: Unit[int], value: str) -> None:  # wrong
        self.result = value

    def retract(self, unit: Unit[str], value: int) -> None:  # wrong
        self.result = value

    def split(self, unit: Unit[int]) -> Iterable[str]:  # wrong
        return [str(unit.args)]


class WrongCalls(DistributedFunction[int, int]):
    """Right signatures, wrong calls."""

    limits = Limits(60.0)  # wrong

    @staticmethod
    def compute(i: int) -> int:
        return str(i)  # wrong

    def process_result(self, unit: Unit[int], value: int) -> None:
        self.submit("two")  # wrong
        self.submit(Unit("two"))  # wrong
        self.cancel(3)  # wrong
        unit.args.upper()  # wrong
        value.upper()  # wrong
        Unit(1, quorum="two")  # wrong


def square(x: int) -> int:
    """A function to map."""
    return x * x


names: list[str] = local().map(square, [1, 2]).wait()  # wrong
local().map("square", [1, 2])  # wrong
