"""Texts that are run as they are."""

from __future__ import annotations

import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dsage import codec
from dsage.shipping import ShipError, load, ship_file, ship_source


def answer(text: str, **variables: Any) -> Any:
    packed = ship_source(textwrap.dedent(text), names=tuple(variables))
    (outcome,) = packed.function.compute([[[], variables]])
    return outcome[0] if len(outcome) == 1 else outcome[1]


@pytest.mark.parametrize(
    ("text", "variables", "value"),
    [
        ("2+2", {}, 4),
        ("a + b", {"a": 5, "b": 5}, 10),
        ("x = 3\nx ** 2", {}, 9),
        ("x = 3", {}, None),
        ("DSAGE_RESULT = 5\n6", {}, 5),
        ("", {}, None),
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)\n[f(n) for n in range(5)]", {}, [1, 1, 2, 6, 24]),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nP(1).x", {}, 1),
        ("if __name__ == '__main__':\n    DSAGE_RESULT = name", {"name": "ä'\\n"}, "ä'\\n"),
    ],
)
def test_the_last_expression_is_the_answer(text: str, variables: dict[str, Any], value: Any) -> None:
    assert answer(text, **variables) == value


def test_calls_see_nothing_of_one_another() -> None:
    packed = ship_source("seen = globals().get('seen', 0) + 1\nseen")
    assert packed.function.compute([[[], {}], [[], {}]]) == [[1], [1]]


def test_an_error_names_the_line_of_the_text() -> None:
    assert answer("x = 1\nx / 0").startswith("ZeroDivisionError: division by zero")
    packed = ship_source("def f():\n    raise KeyError(1)\nf()")
    runner = sys.modules[packed.function.__module__].run
    with pytest.raises(KeyError) as caught:
        runner("def f():\n    raise KeyError(1)\nf()", "<eval>", {}, False)
    frames = [(frame.filename, frame.lineno, frame.line) for frame in _frames(caught.value)]
    assert ("<eval>", 2, "raise KeyError(1)") in frames


def _frames(error: BaseException) -> Any:
    import traceback

    return traceback.extract_tb(error.__traceback__)


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("x = 1\nfoo bar", (), "<eval>, line 2)\n    foo bar\n        ^"),
        ("(", (), "was never closed"),
        ("x\0", (), "null bytes"),
        ("1", ("a b",), "'a b' cannot be the name"),
        ("1", ("class",), "'class' cannot be the name"),
    ],
)
def test_what_is_wrong_is_found_before_anything_travels(text: str, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ShipError) as caught:
        ship_source(text, names=names)
    assert words in caught.value.message


def test_the_same_text_is_the_same_app() -> None:
    assert ship_source("a", names=("a",)).sha256 == ship_source("a", names=("a", "b")).sha256
    assert ship_source("a").sha256 != ship_source("a ").sha256


def test_what_a_text_imports_is_needed() -> None:
    packed = ship_source("import numpy as np, json, helper\nhelper.x", files={"helper.py": b"x = 1"})
    assert packed.function.needs == ("numpy",)
    assert packed.function.compute([[[], {}]]) == [[1]]


def test_a_file_takes_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("from below import B\ndef f(x): return x + B\n")
    (tmp_path / "below.py").write_text("B = 10\n")
    (tmp_path / "unused.py").write_text("")
    path = tmp_path / "main.py"
    path.write_text("import helper\nDSAGE_RESULT = helper.f(n)\n")
    packed = ship_file(path)
    files = set(codec.decode(packed.data)["files"])
    assert files == {"calls.py", "dsage_runner.py", "helper.py", "below.py"}
    assert packed.function.compute([[[], {"n": 1}]]) == [[11]]
    assert load(packed.data, packed.entry).compute([[[], {"n": 2}]]) == [[12]]
    path.write_text("oh no")
    with pytest.raises(ShipError, match=r"main\.py, line 1"):
        ship_file(path)
    with pytest.raises(ShipError, match="cannot be read"):
        ship_file(tmp_path / "none.py")


STAND_IN = {
    "sage/__init__.py": "",
    "sage/all.py": """
from fractions import Fraction
import numbers

class Integer:
    def __init__(self, n): self.n = int(n)
    def __index__(self): return self.n
    def __hash__(self): return self.n
    def __pow__(self, other): return Integer(self.n ** int(other))
    def __truediv__(self, other): return Rational(Fraction(self.n, int(other)))
    def numerator(self): return self
    def denominator(self): return Integer(1)

class Rational:
    def __init__(self, f): self.f = f
    def __index__(self):
        if self.f.denominator > 1: raise TypeError("not a whole number")
        return self.f.numerator
    def numerator(self): return Integer(self.f.numerator)
    def denominator(self): return Integer(self.f.denominator)

numbers.Rational.register(Rational)

class Polynomial:
    def __str__(self): return "x^2 + 1"

def poly(): return Polynomial()
""",
    "sage/repl/__init__.py": "",
    "sage/repl/preparse.py": "import re\ndef preparse(text):\n"
    "    return re.sub(r'(?<![\\w])(\\d+)', r'Integer(\\1)', text).replace('^', '**')\n",
}


def test_sage_s_language_is_run_where_sage_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Sage with its names and its preparser, as small as can be."""
    for name, text in STAND_IN.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    packed = ship_source("[2^100, 6/4, 6/2, {1: poly()}, (n/2,)]", names=("n",), sage=True)
    assert packed.function.needs == ("sage",)
    monkeypatch.setattr(sys, "modules", {k: v for k, v in sys.modules.items() if k.partition(".")[0] != "sage"})
    monkeypatch.syspath_prepend(str(tmp_path))
    (outcome,) = packed.function.compute([[[], {"n": 1}]])
    assert outcome == [[2**100, Fraction(3, 2), 3, {1: "x^2 + 1"}, (Fraction(1, 2),)]]
    assert {type(part) for part in outcome[0]} == {int, Fraction, dict, tuple}


def test_sage_itself_if_it_is_here() -> None:
    pytest.importorskip("sage.repl.preparse", reason="neither Sage nor passagemath is installed")
    packed = ship_source("R.<x> = ZZ[]\n[2^100, 6/n, factor(12), x^2 + 1, 1.5 * 2]", names=("n",), sage=True)
    answer = [2**100, Fraction(3, 2), "2^2 * 3", "x^2 + 1", 3.0]
    assert packed.function.compute([[[], {"n": 4}]]) == [[answer]]
