"""Units tried on this computer: which ones, where answers differ, and what a check says of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from dsage import codec
from dsage.cli.init import TEMPLATES
from dsage.cli.main import main
from dsage.errors import SandboxRefused, UsageError
from dsage.function import DistributedFunction, Unit
from dsage.sandbox import strongest
from dsage.stepping import AuthorError
from dsage.trying import difference, files_of, first_units, sample

SOURCE = """
import os, random, time
from dsage import DistributedFunction, Unit, close, detections


class Sum(DistributedFunction):
    def __init__(self, n=4):
        super().__init__(n=n, result=0)

    def units(self):
        yield from (Unit(i, quorum=1) for i in range(self.n))

    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        self.result += value


class Sets(Sum):
    @staticmethod
    def compute(i):
        return {"kept": [1, list({"x", "y", "z", "u", "v", "w"})]}


class Zone(Sum):
    @staticmethod
    def compute(i):
        return [0.5, {"hour": time.localtime(0).tm_hour}]


class Threads(Sum):
    @staticmethod
    def compute(i):
        return int(os.environ["OMP_NUM_THREADS"])


class Folder(Sum):
    @staticmethod
    def compute(i):
        with open("scratch", "w") as file:
            file.write("may be written")
        return os.getcwd()


class Near(Sum):
    @staticmethod
    def compute(i):
        return 1.0 + int(os.environ["OMP_NUM_THREADS"]) * 1e-12

    @staticmethod
    def agree(args, a, b):
        return abs(a - b) < 1e-9


class Rule(Sum):
    compute = staticmethod(Near.compute)
    agree = close(rtol=1e-9)


class Narrow(Sum):
    compute = staticmethod(Near.compute)
    agree = close(rtol=1e-14)


class Unknown(Sum):
    agree = close(nan="never")

    @staticmethod
    def compute(i):
        return [1.0, float("nan")]


class Found(Sum):
    agree = detections(threshold=5.0, tolerance=0.5)

    @staticmethod
    def compute(i):
        return [{"x": 1.0, "snr": 9.0}]


class OneWay(Near):
    @staticmethod
    def agree(args, a, b):
        return a <= b


class Yes(Near):
    @staticmethod
    def agree(args, a, b):
        return "yes"


class NeverItself(Sum):
    @staticmethod
    def agree(args, a, b):
        return False


class Maybe(Sum):
    @staticmethod
    def verify(args, value):
        return "maybe"


class Method(Sum):
    def agree(self, args, a, b):
        return True


class Liar(Sum):
    @staticmethod
    def verify(args, value):
        return False


class NoData(Sum):
    @staticmethod
    def compute(i):
        return object()


class Folds(Sum):
    def process_result(self, unit, value):
        self.result += value["x"]


class Shifted(Sum):
    # Where a round signal is largest, found in another order by each copy.

    def units(self):
        yield [3, 1, 4, 1, 5, 9, 2, 6]

    @staticmethod
    def perturb(args, seed):
        return args[seed % 8 :] + args[: seed % 8]

    @staticmethod
    def compute(args):
        return args.index(max(args))

    @staticmethod
    def restore(args, value, seed):
        return (value + seed) % 8


class Unrestored(Shifted):
    @staticmethod
    def restore(args, value, seed):
        return value


class Fixed(Shifted):
    @staticmethod
    def compute(args):
        return args.index(max(args[:4] + args[5:]))


class Stumbles(Shifted):
    @staticmethod
    def perturb(args, seed):
        return args[seed:] if seed > 8 else args

    @staticmethod
    def restore(args, value, seed):
        return value


class Refused(Shifted):
    @staticmethod
    def verify(args, value):
        return type(value) is int

    @staticmethod
    def agree(args, a, b):
        return True

    @staticmethod
    def restore(args, value, seed):
        return 5.0


class Idle(Shifted):
    @staticmethod
    def perturb(args, seed):
        return args

    @staticmethod
    def restore(args, value, seed):
        return value


class Shuffled(Sum):
    def units(self):
        yield from random.sample(range(100), self.n)
"""


class Tree(DistributedFunction):
    def units(self) -> Any:
        yield from range(self.n)

    @staticmethod
    def compute(i: int) -> int:
        return i


@pytest.fixture(scope="module", autouse=True)
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        asyncio.run(strongest(tmp_path_factory.mktemp("probe"), strangers=True))
    except SandboxRefused as error:
        pytest.skip(error.message)


@pytest.fixture
def app(tmp_path: Path) -> str:
    (tmp_path / "trial.py").write_text(SOURCE)
    return str(tmp_path / "trial.py")


def test_the_first_units_are_those_of_a_run_and_the_function_stays_as_it_is() -> None:
    function = Tree(n=600)
    units, whole = first_units(function, 300)
    assert ([codec.decode(unit.args) for unit in units], whole) == (list(range(300)), False)
    assert function.units_taken == 0
    units, whole = first_units(function, 1000)
    assert (len(units), whole) == (600, True)
    assert first_units(Tree(n=0), 10) == ([], True)
    with pytest.raises(AuthorError):
        first_units(Tree(n="x"), 10)


def test_samples_are_spread() -> None:
    units, _ = first_units(Tree(n=100), 100)
    assert [codec.decode(unit.args) for unit in sample(units, 3)] == [0, 49, 99]
    assert list(sample(units[:2], 3)) == units[:2]
    assert list(sample(units, 1)) == units[:1]


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        (1, 1, None),
        (1, 1.0, "answer"),
        (float("nan"), float("nan"), None),
        ([1, [2, 3]], [1, [2, 4]], "answer[1][1]"),
        ([1], [1, 2], "len(answer)"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "answer['a']['b']"),
        ({"a": 1}, {"b": 1}, "answer['a']"),
        ({}, {"b": 1}, "answer['b']"),
        ([0.0], [-0.0], "answer[0]"),
    ],
)
def test_the_first_difference_has_a_path(first: Any, second: Any, path: str | None) -> None:
    found = difference(first, second)
    assert (None if found is None else found.path) == path


def test_files_that_are_not_here(tmp_path: Path) -> None:
    class Reads(Tree):
        def units(self) -> Any:
            yield Unit(1, inputs={"table": Path(self.file) if "/" in self.file else self.file})

    with pytest.raises(UsageError, match="by its hash"):
        files_of(first_units(Reads(file="0" * 64), 1)[0][0])
    with pytest.raises(UsageError, match="no such file"):
        files_of(first_units(Reads(file=str(tmp_path / "no")), 1)[0][0])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Sets", "answer['kept'][1]["),
        ("Zone", "answer[1]['hour'] is 0 once and 5 the other time"),
        ("Threads", "answer is 1 once and 3 the other time"),
        ("Folder", "answer is /"),
        ("Liar", "verify calls this answer a lie"),
        ("NoData", "codec: "),
        ("Folds", "process_result of unit"),
        ("Narrow", "answer is 1.000000000001 once and 1.000000000003 the other time"),
        ("Unknown", "by the rule close(rtol=1e-09, atol=0.0, nan='never'), the answer holds a NaN"),
        ("Found", "the answer has as detection 0 no list of one or more positions and a strength"),
        ("OneWay", "agree says one thing of (a, b) and another of (b, a)"),
        ("Yes", "agree gives 'yes', where True or False belongs"),
        ("NeverItself", "agree says that an answer differs from itself"),
        ("Maybe", "verify gives 'maybe', where True, False or None belongs"),
        ("Shuffled", "the units are not the same each time"),
        ("Unrestored", "answer is 5 as it is and 4 perturbed by the seed 1 and restored"),
        ("Fixed", "answer is 5 as it is and 7 perturbed by the seed 1 and restored"),
        ("Stumbles", "perturbed by the seed 11400714819323198485 it fails: exception: ValueError"),
        ("Refused", "perturbed by the seed 1: verify calls this answer a lie"),
    ],
)
def test_a_check_finds(kind: str, said: str, app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{app}:{kind}", "--samples", "1"]) == 5
    out, err = capsys.readouterr()
    assert any(line.startswith("problem: ") and said in line for line in err.splitlines()), err
    assert out.startswith("unit ")


def test_a_check_that_passes_is_a_document_too(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{app}:Sum", "--samples", "2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["units"], data["all_units"], data["problems"]) == (4, True, [])
    assert [each["same"] for each in data["samples"]] == [True, True]
    assert main(["check", f"{app}:Near", "--samples", "1"]) == 0
    assert "`agree` takes them for the same" in capsys.readouterr().err
    assert main(["check", f"{app}:Rule", "--samples", "1"]) == 0
    assert "the rule close(rtol=1e-09, atol=0.0, nan='same') takes them for the same" in capsys.readouterr().err


def test_copies_that_differ_are_tried_where_the_class_can_perturb_them(
    app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{app}:Shifted", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [each["perturbed"] for each in json.loads(out)["data"]["samples"]] == [True]
    assert "1 unit computed twice, and perturbed 3 times, in the" in err
    assert "leaves the arguments" not in err
    assert main(["check", f"{app}:Idle"]) == 0
    assert "note: perturb leaves the arguments as they are" in capsys.readouterr().err
    assert main(["check", f"{app}:Sum", "--samples", "1"]) == 0
    assert "perturbed" not in capsys.readouterr().err
    assert main(["check", f"{app}:Unrestored"]) == 5
    assert "restore(args, compute(perturb(args, seed)), seed) has to be compute(args)" in capsys.readouterr().err


def test_a_function_that_nobody_could_call_is_refused_before_anything_is_tried(
    app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{app}:Method"]) == 5
    assert "Method.agree is to be a static function of args, a, b" in capsys.readouterr().err


def test_some_units_are_computed_here(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"{app}:Sum", "--units", "1:3"]) == 0
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == ["1", "2"]
    assert main(["run", f"{app}:NoData", "--units", "0", "--json"]) == 8
    assert json.loads(capsys.readouterr().out)["data"][0]["reason"] == "codec"
    assert main(["run", f"{app}:Sum", "--units", "9:12"]) == 2


def test_a_whole_run_here_has_the_answer_of_a_submitted_one(app: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"{app}:Sum", "-p", "n=6"]) == 0
    assert capsys.readouterr().out == "15\n"
    assert main(["run", f"{app}:NoData", "--json"]) == 8
    assert json.loads(capsys.readouterr().out)["data"]["state"] == "failed"


@pytest.mark.parametrize(
    ("template", "answer"),
    [("map", "81"), ("function", "55"), ("tree", "4"), ("files", None), ("montecarlo", "3.14327")],
)
def test_a_template_runs_as_it_is_in_under_fifteen_lines(
    template: str, answer: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", template, str(tmp_path / "new")]) == 0
    path = capsys.readouterr().out.strip()
    lines = [line for line in Path(path).read_text().splitlines()[1:] if line.strip() and "import" not in line]
    assert len(lines) < 15
    assert main(["run", path, "--workers", "2"]) == 0
    told = capsys.readouterr().out.split()[-1]
    assert told == (answer or str(len(Path(path).read_text().split())))
    assert main(["init", template, str(tmp_path / "new")]) == 7
    assert main(["init", template, str(tmp_path / "new"), "--force"]) == 0


def test_every_template_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(TEMPLATES)
