"""Monte Carlo: pi by chance. Each unit has a random stream of its own, the same on every computer."""

import random

from dsage import DistributedFunction


class Pi(DistributedFunction):
    def __init__(self, n=20, points=20_000):
        super().__init__(n=n, points=points, hits=0, result=None)

    def units(self):  # the unit's number is the seed of its stream
        yield from ([seed, self.points] for seed in range(self.n))

    @staticmethod
    def compute(args):  # runs on volunteers' computers
        seed, points = args
        draw = random.Random(seed).random
        return sum(draw() ** 2 + draw() ** 2 < 1 for _ in range(points))

    def process_result(self, unit, value):  # runs here, once for each answer
        self.hits += value
        self.result = 4 * self.hits / (self.n * self.points)
