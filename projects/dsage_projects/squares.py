"""The squares of some numbers, in the order of the numbers: `dsage submit squares -p numbers=25,12,25,32,12`.

What `map` does, written out: answers come in any order, and the key of a unit says where its answer belongs.
"""

from collections.abc import Iterator, Sequence

from dsage import DistributedFunction, Unit

FUNCTION = "Squares"


class Squares(DistributedFunction[int, int]):
    """The squares of `numbers`: integers of any size, as a sequence or as text with commas between them."""

    numbers: list[int]
    title = "The squares of some numbers"

    def __init__(self, numbers: Sequence[int] | str | int = "25,12,25,32,12") -> None:
        given = str(numbers).split(",") if isinstance(numbers, str | int) else numbers
        super().__init__(numbers=[int(number) for number in given])
        self.result = [None] * len(self.numbers)

    def units(self) -> Iterator[Unit[int]]:
        """One unit for each number, also for one that comes twice."""
        for place, number in enumerate(self.numbers):
            yield Unit(number, key=str(place), credit=0.001, deadline_s=60.0)

    @staticmethod
    def compute(number: int) -> int:
        """This runs on volunteers' computers."""
        return number * number

    @staticmethod
    def verify(number: int, square: object) -> bool:
        """Checking is as cheap as computing, so no second volunteer is needed."""
        return type(square) is int and square == number * number

    def process_result(self, unit: Unit[int], square: int) -> None:
        """Put an answer where its number stands."""
        self.result[int(unit.key)] = square
