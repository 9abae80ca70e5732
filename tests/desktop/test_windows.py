"""The preview for Windows, as far as wine can tell: it installs itself, its Python runs, it goes without a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from throwaway import ROOT, wait

pytestmark = pytest.mark.slow

Run = Callable[..., str]
USER = Path("drive_c/users/root")
FOLDER = USER / "AppData/Local/Programs/DSage"
RUN_KEY = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run"


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[Path]:
    """A fresh Windows."""
    if shutil.which("wine") is None:
        pytest.skip("wine is not installed; `make test-wine` installs it (700 MB)")
    yield tmp_path / "wine"
    subprocess.run(["wineserver", "-k"], env=os.environ | {"WINEPREFIX": str(tmp_path / "wine")}, check=False)


@pytest.fixture
def wine(prefix: Path, tmp_path: Path) -> Run:
    """Run a program there to its end; return what it printed. Its streams are pipes, which Python needs under wine."""
    environ = os.environ | {"WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "HOME": str(tmp_path)}

    def run(*arguments: str) -> str:
        return subprocess.run(
            ["wine", *arguments], env=environ, input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
            check=False,
        ).stdout.decode(errors="replace")  # fmt: skip

    return run


def test_install_and_uninstall(wine: Run, prefix: Path) -> None:
    found = sorted((ROOT / "dist").glob("dsage-*-preview-setup.exe"))
    assert found, "no installer in dist/: `make package` builds it"
    wine("wineboot", "-i")
    before = {str(path) for path in (prefix / USER).rglob("*")}
    wine(str(found[-1]), "/S")
    python = str(prefix / FOLDER / "python/python.exe")
    assert Path(python).is_file()

    assert wine(python, "-P", "-m", "dsage", "--version").startswith("dsage ")
    assert wine(python, "-P", "-m", "dsage_client.install", "state").strip() == "on"
    # Not aiohttp and cryptography: both ask Windows for what wine 8 does not have.
    loaded = "import msgspec, gmpy2, flint, psutil, PIL; print(psutil.cpu_count(), gmpy2.mpz(2) ** 70)"
    assert wine(python, "-c", loaded).strip().endswith(" 1180591620717411303424")
    starts = wine("reg", "query", RUN_KEY)
    assert "pythonw.exe -P -m dsage join" in starts
    assert "pythonw.exe -P -m dsage tray" in starts
    assert '-m dsage manager "%1"' in wine("reg", "query", r"HKCU\Software\Classes\dsage\shell\open\command")

    wine(str(prefix / FOLDER / "uninstall.exe"), "/S")
    wait(lambda: not (prefix / FOLDER).exists(), "the end of the program's folder")
    assert "DSage" not in wine("reg", "query", RUN_KEY)
    assert "dsage manager" not in wine("reg", "query", r"HKCU\Software\Classes\dsage\shell\open\command")
    left = {path for path in map(str, (prefix / USER).rglob("*")) if "dsage" in path.lower()}
    assert left <= before
