"""Many answers folded into one: the sum of 1 to n."""

from dsage import DistributedFunction


class Sum(DistributedFunction):
    def __init__(self, n=10):
        super().__init__(n=n, result=0)

    def units(self):  # what to compute, one unit each
        yield from range(1, self.n + 1)

    @staticmethod
    def compute(i):  # runs on volunteers' computers
        return i

    def process_result(self, unit, value):  # runs here, once for each answer
        self.result += value
