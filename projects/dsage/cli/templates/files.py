"""Units that read a file: words counted in pieces of it. Here the file is this program itself."""

from pathlib import Path

from dsage import DistributedFunction, Unit, running


class Words(DistributedFunction):
    def __init__(self, file=__file__, pieces=3):
        super().__init__(file=file, pieces=pieces, result=0)

    def units(self):  # the file is sent to volunteers' computers once
        for i in range(self.pieces):
            yield Unit([i, self.pieces], inputs={"text": Path(self.file)})

    @staticmethod
    def compute(piece):  # runs there; only the unit's own files can be read
        i, pieces = piece
        return sum(len(line.split()) for line in running.input("text").read_text().splitlines()[i::pieces])

    def process_result(self, unit, value):  # runs here, once for each answer
        self.result += value
