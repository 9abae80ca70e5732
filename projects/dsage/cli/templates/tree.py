"""A search tree: answers make new units, to any depth. Counts the ways to place n queens on a board."""

from dsage import DistributedFunction


class Queens(DistributedFunction):
    def __init__(self, n=6):
        super().__init__(n=n, result=0)

    def units(self):  # the root of the tree: an empty board
        yield [self.n, []]

    @staticmethod
    def compute(node):  # runs on volunteers' computers: the boards with one queen more
        n, queens = node
        taken = {c + d * (len(queens) - r) for r, c in enumerate(queens) for d in (-1, 0, 1)}
        return [[n, [*queens, c]] for c in range(n) if c not in taken]

    def process_result(self, unit, children):  # runs here: full boards count, the others have children
        self.result += len(unit.args[1]) == self.n
        for child in children:
            self.submit(child)
