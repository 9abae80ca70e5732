"""What mypy and pyright say of a researcher's code, run as a researcher would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".mypy_cache" / "typing"


def marked(path: Path) -> set[int]:
    """Return the lines that are wrong."""
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# wrong")}


def mypy(path: Path, folder: Path) -> set[int]:
    """Return the lines of a file in which mypy finds an error."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={CACHE}", str(path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode in (0, 1), done.stderr
    found = re.findall(rf"^{re.escape(str(path))}:(\d+): error: ", done.stdout, re.MULTILINE)
    assert bool(found) == bool(done.returncode), done.stdout
    return {int(line) for line in found}


def pyright(path: Path, folder: Path) -> set[int]:
    """Return the lines of a file in which pyright, being strict, finds an error."""
    program = shutil.which("pyright", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        return unavailable("it is not installed")
    shutil.copy(path, folder)
    settings = {"include": ["."], "strict": ["."], "reportMissingTypeArgument": "none"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [program, "--outputjson", "--pythonpath", sys.executable, "--project", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    if not done.stdout.startswith("{"):
        return unavailable(f"it needs Node.js, which it could not fetch: {done.stderr[-300:]}")
    assert json.loads(done.stdout)["summary"]["filesAnalyzed"] == 1
    told = json.loads(done.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in told if each["severity"] == "error"}


def unavailable(why: str) -> set[int]:
    """Skip on a laptop; in CI a missing checker is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"pyright cannot run: {why}")
    pytest.skip(f"pyright cannot run: {why}")


@pytest.mark.parametrize("checker", [mypy, pyright])
@pytest.mark.parametrize("name", ["good.py", "misuse.py"])
def test_checkers_find_what_is_wrong_and_nothing_else(checker, name, tmp_path):
    path = HERE / name
    wrong = marked(path)
    assert bool(wrong) == (name == "misuse.py")
    assert checker(path, tmp_path) == wrong


def test_the_package_says_that_it_is_typed():
    assert files("dsage").joinpath("py.typed").is_file()
