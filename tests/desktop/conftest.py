"""What the tests of a real desktop share; they run in a throw-away copy of this computer (`elsewhere`)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from throwaway import CHANGED, DSAGE, ROOT, Person, wait


@pytest.fixture(scope="session", autouse=True)
def _throw_away() -> None:
    if not CHANGED.is_dir():
        pytest.skip("these tests install packages and make users: run them by `make test-desktop`")


@pytest.fixture(scope="session")
def deb() -> Path:
    """The package, as `make package` left it."""
    found = sorted((ROOT / "dist").glob("dsage_*.deb"))
    assert found, "no package in dist/: `make package` builds it"
    return found[-1]


@pytest.fixture
def ada() -> Iterator[Person]:
    """A person of this name, with nothing in her home but what every home has."""
    person = Person("ada")
    yield person
    person.leave()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A project server on this computer; yields the environment for its operator."""
    environ = os.environ | {"DSAGE_HOME": str(tmp_path / "server")}
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*DSAGE, "serve", "--listen", "127.0.0.1:8470", "--pages", "localhost:8471", "--name", "Newton's desk"],
            env=environ, stdout=file, stderr=file,
        )  # fmt: skip
    wait(lambda: "http://" in log.read_text() or process.poll() is not None, "a server")
    assert process.poll() is None, log.read_text()
    yield environ
    process.terminate()
    process.wait(20)
