"""A person at a computer: a throw-away copy of this one, a user without rights, a screen with a panel, a server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHANGED = Path("/run/changed")
SHOTS = ROOT / "build" / "desktop"
PATIENCE_S = 90.0
DSAGE = [str(ROOT / ".venv" / "bin" / "dsage")]


def wait(what: Callable[[], object], why: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something is true. Fails with `why` if it never is."""
    end = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > end:
            pytest.fail(f"never came: {why}")
        time.sleep(0.1)


def differences() -> set[str]:
    """Return every file that was added to or changed on this computer, packages' and users' data bases left out."""
    known = ("/var/lib/dpkg/", "/var/log/", "/var/cache/", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")
    found = set()
    for path in CHANGED.rglob("*"):
        name = "/" + str(path.relative_to(CHANGED))
        if (path.is_symlink() or path.is_file()) and not name.startswith((*known, "/etc/subuid", "/etc/subgid")):
            found.add(name)
    return found


class Person:
    """Somebody without rights who sits at the computer. `start` and `run` are what they do there."""

    def __init__(self, name: str) -> None:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", name], check=True)
        self.name = name
        self.home = Path("/home") / name
        self.runtime = Path("/run/user") / name
        self.runtime.mkdir(parents=True)
        shutil.chown(self.runtime, name, name)
        self.runtime.chmod(0o700)
        self.environ = {
            "HOME": str(self.home),
            "USER": name,
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def command(self, arguments: list[str]) -> list[str]:
        """Return the command line by which this person runs something."""
        words = [f"{name}={value}" for name, value in self.environ.items()]
        return ["runuser", "-u", self.name, "--", "env", "-i", "-C", str(self.home), *words, *arguments]

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run something to its end; return what it printed."""
        done = subprocess.run(
            self.command(list(arguments)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}"
        return done.stdout

    def start(self, *arguments: str, log: str = "") -> subprocess.Popen[bytes]:
        """Start something that goes on; what it prints goes to a file among the screenshots."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        with (SHOTS / f"{log or Path(arguments[0]).name}.log").open("wb") as file:
            process = subprocess.Popen(
                self.command(list(arguments)), stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )
        self._running.append(process)
        return process

    def leave(self) -> None:
        """End all that was started."""
        for process in reversed(self._running):
            process.terminate()
        for process in reversed(self._running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.runtime)
