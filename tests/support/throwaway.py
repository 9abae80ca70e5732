"""A person at a computer: a throw-away copy of this one, a user without rights, a screen with a panel, a server."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
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


def computer(*arguments: str, check: bool = True) -> str:
    """Run something as root to its end; return what it printed."""
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}"
    return done.stdout


def invite(environ: dict[str, str]) -> str:
    """Return a link by which somebody joins the server of this environment."""
    made = subprocess.run([*DSAGE, "invite"], env=environ, capture_output=True, text=True, check=True)
    found = re.search(r"https://\S+/join#\S+", made.stdout)
    assert found, made.stdout
    return found[0]


class Person:
    """Somebody without rights who has logged in. `start` and `run` are what they do there."""

    def __init__(self, name: str) -> None:
        computer("useradd", "--create-home", "--shell", "/bin/bash", name)
        self.name = name
        self.home = Path("/home") / name
        self.runtime = Path("/run/user") / computer("id", "-u", name).strip()
        self.environ = {
            "HOME": str(self.home),
            "USER": name,
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/bus",
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self.log_in()

    def log_in(self) -> None:
        """Begin a session, as a display manager does by PAM: systemd starts what starts with sessions."""
        computer("systemd-run", "--quiet", f"--unit={self.name}-session", "--property=PAMName=login",
                 f"--property=User={self.name}", "sleep", "infinity")  # fmt: skip
        wait(lambda: self.systemctl("is-system-running", check=False).strip() in ("running", "degraded"), "a session")

    def log_out(self) -> None:
        """End the session and everything that was started in it."""
        for process in reversed(self._running):
            process.terminate()
        for process in reversed(self._running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        computer("systemctl", "stop", f"{self.name}-session", check=False)
        computer("loginctl", "terminate-user", self.name, check=False)
        wait(lambda: not self.runtime.exists(), "an end of the session")

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Speak to the systemd of this person's session; return what it printed."""
        return self.run("systemctl", "--user", "--no-pager", *arguments, check=check)

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

    def interrupt(self, process: subprocess.Popen[bytes]) -> None:
        """Press Ctrl-C in what was started, and wait for its end."""
        for each in psutil.Process(process.pid).children():
            each.send_signal(signal.SIGINT)
        process.wait(30)

    def leave(self) -> None:
        """Log out for good: the account and its home are removed."""
        self.log_out()
        computer("userdel", "--force", "--remove", self.name, check=False)


def another(deb: Path, version: str, folder: Path) -> Path:
    """Return the same package as if it were of another version: its name, what apt sees, what the program says."""
    tree, made = folder / version, folder / f"dsage_{version}.deb"
    computer("dpkg-deb", "-R", str(deb), str(tree))
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.MULTILINE))
    (program,) = tree.glob("usr/lib/dsage/lib/python*/site-packages/dsage/__init__.py")
    text, times = re.subn(
        r'^__version__ = ".*"$', f'__version__ = "{version}"', program.read_text(), flags=re.MULTILINE
    )
    assert times == 1
    program.write_text(text)
    computer("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(made))
    return made
