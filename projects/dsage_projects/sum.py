"""The sum 1 + 2 + ... + n, one unit of work for each number: `dsage submit sum -p n=5`.

The first example that DSage's ancestor showed, and the shortest project there can be.
"""

from collections.abc import Iterator

from dsage import DistributedFunction, Unit

FUNCTION = "Sum"


class Sum(DistributedFunction[int, int]):
    """The sum of the whole numbers from 1 to n; an n below 1 gives 0."""

    n: int
    title = "The sum of the numbers from 1 to n"

    def __init__(self, n: int = 5) -> None:
        super().__init__(n=int(n), result=0)

    def units(self) -> Iterator[Unit[int]]:
        """One unit for each number; a thousandth of a credit is the least there is, and more than adding takes."""
        for i in range(1, self.n + 1):
            yield Unit(i, credit=0.001, deadline_s=60.0)

    @staticmethod
    def compute(i: int) -> int:
        """This runs on volunteers' computers."""
        return i

    def process_result(self, unit: Unit[int], value: int) -> None:
        """This runs where the driver is, once for each accepted answer, in whatever order they come."""
        self.result += value
