"""docs/parity.md: every row is there, and every test that it names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TO_COME = {"56", "57"}
"""Rows that belong to work that is to come."""


def named_in(path: Path) -> set[str]:
    """Return the names of the tests of a file that are not skipped whatever happens."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if name.startswith(("test_", "Test"))}


def test_each_row_is_there_and_has_a_proof(proofs: dict[str, list[str]]) -> None:
    assert list(proofs) == [str(number) for number in range(1, 62)]
    assert {row for row, named in proofs.items() if not named} == TO_COME


def test_each_test_that_is_named_exists(proofs: dict[str, list[str]]) -> None:
    named = {name for names in proofs.values() for name in names}
    known = {path: named_in(ROOT / path) for path in {name.partition("::")[0] for name in named}}
    assert not [name for name in sorted(named) if name.partition("::")[2] not in known[name.partition("::")[0]]]


def test_a_whole_run_without_a_proof_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what they load would be most of each run's time
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntestpaths = ["tests"]\nmarkers = ["slow: slow"]\n')
    tests, docs = pytester.mkdir("tests"), pytester.mkdir("docs")
    (tests / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text().replace("pytest_plugins", "_"))
    (tests / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_good(n): pass\n"
        "@pytest.mark.slow\n"
        "def test_slow(): pass\n"
        "@pytest.mark.skip\n"
        "def test_skipped(): pass\n"
    )
    row = "| 1 | P | a | b | `tests/test_a.py::{}` |\n"
    for name, ci, ends in [
        ("test_good", "true", 0), ("test_slow", "true", 0), ("test_gone", "", 1), ("test_skipped", "", 0),
        ("test_skipped", "true", 1),
    ]:  # fmt: skip
        (docs / "parity.md").write_text(row.format(name))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CI", ci)
            assert pytester.runpytest_subprocess("-m", "not slow").ret == ends, name
    side_by_side = ("-p", "xdist", "-n", "2", "-m", "not slow")
    (docs / "parity.md").write_text(row.format("test_gone"))
    assert pytester.runpytest_subprocess("-k", "test_good").ret == 0
    assert pytester.runpytest_subprocess(*side_by_side).ret == 1
    (docs / "parity.md").write_text(row.format("test_good"))
    assert pytester.runpytest_subprocess(*side_by_side).ret == 0
    (docs / "parity.md").write_text(row.format("test_slow"))
    pytester.runpytest_subprocess("--parity").assert_outcomes(passed=1, deselected=3)
    (tests / "test_a.py").write_text("import pytest\n@pytest.mark.slow\ndef test_slow(): pytest.skip('not here')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI", "true")
        assert pytester.runpytest_subprocess("--parity").ret == 1
