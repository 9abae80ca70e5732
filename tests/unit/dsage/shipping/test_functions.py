"""Functions of scripts, modules and packages as apps: what travels, and why something does not."""

from __future__ import annotations

import functools
import json
import math
import operator
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsage import codec
from dsage.errors import BundleError
from dsage.shipping import ShipError, load, ship_function

REPORT = """
import json as _json, sys as _sys
from dsage import codec as _codec
from dsage.shipping import ship_function as _ship
if __name__ == "__main__":
    _b = _ship({name})
    print(_json.dumps({{
        "sha256": _b.sha256,
        "entry": _b.entry,
        "needs": _b.function.needs,
        "title": _b.function.title,
        "files": {{k: v.decode() for k, v in _codec.decode(_b.data)["files"].items()}},
        "here": _codec.encode(_b.function.compute({calls})).hex(),
        "data": _b.data.hex(),
    }}))
"""


def shipped(
    folder: Path, source: str, name: str, calls: Any, seed: str = "0", file: str = "script.py"
) -> dict[str, Any]:
    """Run a script that ships one of its functions; check that the bundle gives the same answers elsewhere."""
    folder.mkdir(exist_ok=True)
    path = folder / file
    path.write_text(textwrap.dedent(source) + REPORT.format(name=name, calls=calls))
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-B", path], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    elsewhere = load(bytes.fromhex(told["data"]), told["entry"])
    assert codec.encode(elsewhere.compute(calls)).hex() == told["here"]
    told["answers"] = codec.decode(bytes.fromhex(told["here"]))
    return told


SCRIPT = '''
"""A script."""
import math
import os.path
import xml.dom
from collections import Counter, namedtuple
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction as F

SCALE = 3
NAMES = {"b", "a", "c"}
TABLE = {"x": [1, (2,)], 5: float("inf")}
UNUSED = open(__file__)


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    colour: Colour = Colour.RED

    def grown(self):
        return Point(helper(self.x), self.colour)


class Wide(Point):
    pass


def helper(x):
    return x * SCALE + (0 if x else other(1))


def other(x):  # calls back
    return helper(x) + len(NAMES) + len(TABLE)


def work(point: Point, *, by: F = F(1, 2)) -> Point:
    """Do it."""
    assert type(point) is Point, point
    letters = Counter("aab")  # a comment stays
    return Wide(point.grown().x + math.floor(by) + letters["a"] + len(os.path.basename("/a/b")))
'''


def test_a_script_s_function_takes_along_what_it_uses(tmp_path: Path) -> None:
    told = shipped(tmp_path, SCRIPT, "work", [[[{"x": 2, "colour": "red"}], {}], [[{"x": 0}], {"by": 4}]])
    assert [answer[0]["x"] for answer in told["answers"]] == [9, 15]
    assert set(told["files"]) == {"calls.py", "dsage_functions.py"}
    assert (told["needs"], told["title"], told["entry"]) == ([], "work", "calls:Shipped")
    text = told["files"]["dsage_functions.py"]
    assert "a comment stays" in text
    assert "UNUSED" not in text
    assert "namedtuple" not in text
    assert "xml" not in text
    assert str(tmp_path) not in text + told["files"]["calls.py"]


def test_the_same_source_is_the_same_everywhere(tmp_path: Path) -> None:
    calls = [[[{"x": 2}], {}]]
    first = shipped(tmp_path / "a", SCRIPT, "work", calls, seed="1")
    second = shipped(tmp_path / "b", "# moved\n\n\n" + SCRIPT, "work", calls, seed="2", file="renamed.py")
    changed = shipped(tmp_path / "c", SCRIPT.replace("SCALE = 3", "SCALE = 4"), "work", calls)
    assert first["sha256"] == second["sha256"] != changed["sha256"]


PACKAGE = {
    "lib/__init__.py": "from .core import run\n",
    "lib/core.py": "from . import deep\nfrom .deep.low import LOW\nimport beside\n\n"
    "def run(x):\n    return x + LOW + beside.B\n",
    "lib/deep/__init__.py": "",
    "lib/deep/low.py": "from ..sizes import S\nLOW = S\n",
    "lib/sizes.py": "S = 100\n",
    "lib/plots.py": "import matplotlib\n",
    "lib/not-source/x.py": "",
    "lib/data.bin": "",
    "beside.py": "try:\n    import fancy_speedups\nexcept ImportError:\n    pass\nB = 7\n",
    "elsewhere.py": "1 / 0\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_travels_whole_with_what_it_imports(on_path: Path) -> None:
    write(on_path, PACKAGE)
    from lib import run  # type: ignore[import-not-found]

    packed = ship_function(run)
    assert set(codec.decode(packed.data)["files"]) == {
        *("calls.py", "beside.py", "lib/__init__.py", "lib/core.py", "lib/deep/__init__.py", "lib/deep/low.py"),
        *("lib/sizes.py", "lib/plots.py"),
    }
    assert packed.function.needs == ()
    assert packed.function.compute([[[1], {}]]) == [[108]]
    assert load(packed.data, packed.entry).compute([[[1], {}]]) == [[108]]


def test_a_module_takes_its_neighbours_and_names_what_it_needs(on_path: Path) -> None:
    write(
        on_path,
        {
            "mine.py": "import numpy.linalg as la\nimport msgspec, json\nfrom beside import go\nfrom calls import N\n"
            "if __name__ == '__main__':\n    import tkinter_extras\n\n"
            "def f(x):\n    import gmpy2\n    return go(x) + N\n",
            "beside.py": "def go(x):\n    return x * 2\n",
            "calls.py": "N = 1\n",
            "far.py": "",
        },
    )
    from mine import f  # type: ignore[import-not-found]

    packed = ship_function(f)
    assert set(codec.decode(packed.data)["files"]) == {"mine.py", "beside.py", "calls.py", "dsage_calls.py"}
    assert packed.function.needs == ("gmpy2", "numpy")
    assert packed.function.compute([[[4], {}]]) == [[9]]


def test_a_script_takes_modules_beside_it(tmp_path: Path) -> None:
    write(tmp_path, {"tools.py": "def double(x):\n    return 2 * x\n"})
    told = shipped(
        tmp_path,
        "import tools\nfrom tools import double as d\ndef f(x): return d(x) + tools.double(1)",
        "f",
        [[[3], {}]],
    )
    assert told["answers"] == [[8]]
    assert set(told["files"]) == {"calls.py", "dsage_functions.py", "tools.py"}


@pytest.mark.parametrize(
    ("function", "args", "answer", "needs"),
    [
        (math.sqrt, [4], 2.0, ()),
        (operator.add, [1, 2], 3, ()),
        (abs, [-1], 1, ()),
        (int, ["7"], 7, ()),
        (os.path.join, ["a", "b"], "a/b", ()),
        (textwrap.dedent, [" a"], "a", ()),
        (np.linalg.norm, [[3, 4]], 5.0, ("numpy",)),
    ],
)
def test_what_any_computer_has_travels_by_name(
    function: Callable[..., Any], args: list[Any], answer: Any, needs: tuple[str, ...]
) -> None:
    packed = ship_function(function)
    assert set(codec.decode(packed.data)["files"]) == {"calls.py"}
    assert (packed.function.compute([[args, {}]]), packed.function.needs) == ([[answer]], needs)


DECORATED = """
import functools, collections
from typing import NamedTuple
import functions

class Pair(NamedTuple):
    left: int
    right: int = 1

counter = 0

@functools.cache
def slow(n):
    global counter
    counter += 1
    return n if n < 2 else slow(n - 1) + slow(n - 2)

class Tools:
    @staticmethod
    def f(x, print=len):
        return [slow(each) + functions.K + Pair(x).right for each in range(x)] + [f"{slow(x)!r:>{functions.K}}"]
"""


def test_decorators_statics_and_a_neighbour_of_any_name(tmp_path: Path) -> None:
    write(tmp_path, {"functions.py": "K = 5\n"})
    told = shipped(tmp_path, DECORATED, "Tools.f", [[[3], {}]])
    assert told["answers"] == [[[6, 7, 7, "    2"]]]
    assert shipped(tmp_path, DECORATED, "slow", [[[9], {}]])["answers"] == [[34]]
    assert set(told["files"]) == {"calls.py", "dsage_functions.py", "functions.py"}


def test_a_module_s_own_name_and_place_stay_here(tmp_path: Path) -> None:
    told = shipped(
        tmp_path, "def f(x):\n    return len(__name__) > 0 and '__file__' in globals() and x", "f", [[[3], {}]]
    )
    assert told["answers"] == [[3]]
    assert str(tmp_path) not in "".join(told["files"].values())
    assert "__main__" not in "".join(told["files"].values())


def test_our_own_decorator_is_left_out(tmp_path: Path) -> None:
    source = """
    from dsage.grid import Parallel

    class grid:
        @staticmethod
        def parallel(function):
            return Parallel(None, function, {})

    grid.__module__ = "dsage.grid"

    @grid.parallel
    def helper(x):
        return x + 1

    @grid.parallel
    def f(x):
        return helper(x) * 2
    """
    told = shipped(tmp_path, source, "f", [[[3], {}]])
    assert told["answers"] == [[8]]
    assert "parallel" not in told["files"]["dsage_functions.py"]


# -- what does not travel ----------------------------------------------------------------------------------------------

THRESHOLD = np.zeros(3)
square = lambda x: x * x  # noqa: E731


def around() -> dict[str, Any]:
    n, m = 2, 3

    def closure(x):
        return x + n + m

    return {"closure": closure, "lambda": lambda x: x}


class Holder:
    def method(self, x):
        return x

    def __call__(self, x):
        return x


def yields(x):
    yield x


async def waits(x):
    return x


def uses_array(x):
    return x + THRESHOLD


def uses_lambda(x):
    return square(x)


def uses_closure(x):
    return CLOSURE(x)


def uses_nothing(x):
    return missing_name(x)  # noqa: F821


CLOSURE = around()["closure"]
PLAIN_PROMPT: dict[str, Any] = {"__name__": "__main__"}
exec("def typed_in(x):\n    return x", PLAIN_PROMPT)


@pytest.mark.parametrize(
    ("function", "words", "fix"),
    [
        (square, "a lambda cannot travel", "def f(x)"),
        (around()["closure"], "closure: it uses `m` and `n` of the function around it", "Pass `m` and `n`"),
        (Holder().method, "Holder.method is bound to a Holder", "function that takes"),
        (Holder(), "a Holder object cannot travel", "function that takes"),
        ([].append, "list.append is bound to a list", "function that takes"),
        (functools.partial(operator.add, 1), "functools.partial of add", "arguments"),
        (yields, "yields yields its values", "list"),
        (waits, "waits is async", "def"),
        (uses_array, "uses_array uses the global 'THRESHOLD', a numpy.ndarray", "Pass THRESHOLD as an argument"),
        (uses_lambda, "'square' is a lambda", "def square"),
        (uses_closure, "CLOSURE is a closure: it uses `m` and `n`", "Pass `m`"),
        (uses_nothing, "uses_nothing uses 'missing_name', which is not defined", "Define it"),
        (PLAIN_PROMPT["typed_in"], "the source of typed_in cannot be found", "IPython"),
        (5, "a int is not a function", "function's name"),
    ],
)
def test_what_cannot_travel_says_why_and_what_to_do(
    function: Any, words: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As `python -m pytest` would have it, this file can be imported, and then it is another matter.
    monkeypatch.setattr("sys.path", [folder for folder in sys.path if folder not in ("", os.getcwd())])
    with pytest.raises(ShipError) as caught:
        ship_function(function)
    assert words in caught.value.message
    assert fix in caught.value.hint
    assert (caught.value.code, caught.value.exit_status) == ("ship", 5)


def test_a_module_that_would_hide_another_is_refused(on_path: Path) -> None:
    write(on_path, {"flint.py": "def f(x): return x\n", "big.py": f"S = '{'x' * (1 << 20)}'\ndef f(x): return x\n"})
    import importlib.util

    spec = importlib.util.spec_from_file_location("flint", on_path / "flint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flint"] = module
    spec.loader.exec_module(module)
    with pytest.raises(BundleError, match="hide"):
        ship_function(module.f)
    from big import f  # type: ignore[import-not-found]

    with pytest.raises(BundleError, match="at most"):
        ship_function(f)
