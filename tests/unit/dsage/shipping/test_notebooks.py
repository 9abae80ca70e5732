"""Functions of notebook cells and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient

from dsage import codec
from dsage.shipping import ShipError, load, ship_function

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell.instance()
    made.user_ns["ship_function"] = ship_function
    yield made
    InteractiveShell.clear_instance()


def run(shell: InteractiveShell, *cells: str) -> Any:
    for cell in cells:
        result = shell.run_cell(cell, store_history=True)
        result.raise_error()
    return result.result


def answer(packed: Any, *args: Any) -> Any:
    here = packed.function.compute([[list(args), {}]])
    assert load(packed.data, packed.entry).compute([[list(args), {}]]) == here
    return here[0][0]


def test_a_cell_that_is_run_again_counts(shell: InteractiveShell) -> None:
    first = run(shell, "def f(x):\n    return x + 1", "ship_function(f)")
    assert answer(first, 1) == 2
    second = run(shell, "def f(x):\n    return x + 2", "ship_function(f)")
    assert answer(second, 1) == 3
    again = run(shell, "", "\n\ndef f(x):\n    return x + 1", "ship_function(f)")
    assert again.data == first.data


def test_cells_use_things_of_other_cells(shell: InteractiveShell) -> None:
    cells = (
        "from dataclasses import dataclass\nimport math as m\nN = 2",
        "@dataclass\nclass Point:\n    x: int = 0",
        "class Bare(Exception): pass",
        "%time Y = 3",
        "def helper(p: Point) -> int:\n    if p.x < 0:\n        raise Bare()\n    return p.x * N",
        "def f(p: Point):\n    return m.floor(helper(p)) + Y",
    )
    packed = run(shell, *cells, "ship_function(f)")
    assert answer(packed, {"x": 5}) == 13
    changed = run(shell, "N = 10", "@dataclass\nclass Point:\n    x: int = 0\n    y: int = 1", "ship_function(f)")
    assert answer(changed, {"x": 5}) == 53
    assert b"y: int" in codec.decode(changed.data)["files"]["dsage_functions.py"]
    with pytest.raises(ShipError, match="the global 'N', a _io"):
        run(shell, "import os; N = open(os.devnull)", "ship_function(f)")
    run(shell, "N.close()")


def test_a_kernel_ships_what_its_cells_define(tmp_path: Path) -> None:
    cells = [
        "from dsage.shipping import ship_function\nK = 7\ndef helper(x):\n    return x * K",
        "def f(x):\n    return helper(x) + 1",
        "def f(x):\n    return helper(x) + 2",
        "class P:\n    two = 2",
        "def g(x):\n    return P.two * x",
        "print(ship_function(f).function.compute([[[3], {}]]), ship_function(g).function.compute([[[3], {}]]))",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert book.cells[-1].outputs[0].text == "[[23]] [[6]]\n"
