"""Today's programs and those of the previous release, as real processes: they join, fetch, report and are paid."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from lab import Lab, wait_for

ROOT: Final = Path(__file__).resolve().parents[2]
PREVIOUS: Final = "0f0ee89"
"""The commit of the previous release."""
NUMBER: Final = "2^67-1"
FACTORS: Final = {193707721: 1, 761838257287: 1}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the previous release, with its own list of commands, into a folder; what it needs is what we need."""
    packed = subprocess.run(["git", "archive", "--format=tar", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the history here does not reach back to {PREVIOUS}: {packed.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("previous")
    for place in (folder, folder.parent):
        place.chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "source")], check=True)
    return folder / "site"


class MixedLab(Lab):
    """A lab in which some homes run the previous release."""

    def __init__(self, folder: Path, previous: Path, old: set[str]) -> None:
        super().__init__(folder)
        self._path = str(previous)
        self.old = old

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of a home's programs; that of an old one leads to the previous release."""
        extra = {"PYTHONPATH": self._path} if home.name in self.old else {}
        return super().environment(home) | extra

    def start_client(self, name: str, link: str = "") -> None:
        """Start `dsage join`; the previous release asked nobody what others may see."""
        if name not in self.old:
            super().start_client(name, link)
            return
        with (self.folder / f"{name}.jsonl").open("a") as stdout:
            home = self.folder / name
            words = ["join", link, "--when", "always", "--own-work", "--slots", "1", "--json", "--home", str(home)]
            self.clients[name] = self._start(words, home, f"{name}.log", stdout)


@pytest.fixture(params=["home", "client1", "home client2"])
def mixed(request: pytest.FixtureRequest, tmp_path: Path, previous: Path) -> Iterator[MixedLab]:
    """A server and two clients, of which those named run the previous release; `home` is server and researcher."""
    made = MixedLab(tmp_path, previous, set(request.param.split()))
    try:
        yield made
    finally:
        made.stop()


def release_of(mixed: MixedLab, name: str) -> Path:
    """Return where a home's programs find their packages."""
    program = [sys.executable, "-c", "import dsage; print(dsage.__file__)"]
    done = subprocess.run(program, env=mixed.environment(Path(name)), capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def test_old_and_new_work_together(mixed: MixedLab, previous: Path) -> None:
    old = {name for name in ("home", "client1", "client2") if release_of(mixed, name).is_relative_to(previous)}
    assert old == mixed.old
    mixed.start_server()
    mixed.join(2)
    run = mixed.dsage_json("submit", "factor", "-p", f"n={NUMBER}")["data"]
    assert {int(prime): power for prime, power in run["result"]["factors"]} == FACTORS
    run = mixed.dsage_json("submit", f"{sums(mixed.folder)}:Sum", "-p", "n=6")["data"]
    assert run["result"] == 21
    wait_for(lambda: len(paid(mixed)) == len(mixed.clients))
    mixed.stop()
    assert all(amount > 0 for amount in paid(mixed).values())


def sums(folder: Path) -> Path:
    """Write an app whose every unit needs both clients."""
    path = folder / "sums.py"
    path.write_text(
        "from dsage import DistributedFunction\n\n\n"
        "class Sum(DistributedFunction):\n"
        "    def units(self):\n"
        "        yield from range(1, self.n + 1)\n\n"
        "    @staticmethod\n"
        "    def compute(i):\n"
        "        return i\n\n"
        "    def process_result(self, unit, value):\n"
        "        self.result = (self.result or 0) + value\n"
    )
    return path


def paid(lab: MixedLab) -> dict[int, int]:
    """Return how much each volunteer was paid, in thousandths."""
    database = sqlite3.connect(lab.home / "server" / "dsage.sqlite", timeout=15)
    try:
        return dict(database.execute("SELECT volunteer_id, SUM(amount_milli) FROM credit_entry GROUP BY volunteer_id"))
    finally:
        database.close()
