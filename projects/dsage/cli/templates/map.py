"""The same function for many values; the answer is a list in their order."""

from dsage import DistributedFunction


class Map(DistributedFunction):
    def __init__(self, n=10):
        super().__init__(n=n, result=[None] * n)

    def units(self):  # what to compute, one unit each
        yield from range(self.n)

    @staticmethod
    def compute(i):  # runs on volunteers' computers
        return i**2

    def process_result(self, unit, value):  # runs here, once for each answer
        self.result[unit.args] = value
