"""What the tests of the gallery share: a private current folder, as in the sandbox, and the GMP-ECM program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsage_projects.factor import program


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ecm() -> str:
    found = program.find()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("GMP-ECM is missing, and this is CI")
        pytest.skip("GMP-ECM is not installed (apt install gmp-ecm)")
    return found
