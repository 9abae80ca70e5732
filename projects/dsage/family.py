"""A server and its volunteers as processes of this computer, for one program: they end with it, however it ends.

They are the real commands (`dsage serve`, `dsage join`) in homes of their own; each family has its own folder.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from dsage.background import Background
from dsage.errors import DSageError, TimedOut, UsageError

READY_S: Final = 60.0
STOP_S: Final = 8.0
"""A client takes two seconds for its last call; after this it is killed."""
LOOK_S: Final = 0.02
TAIL_BYTES: Final = 1 << 20
DSAGE: Final = (sys.executable, "-P", "-m", "dsage")
_PARENT_DEATH_SIGNAL: Final = 1


def possible() -> bool:
    """Return whether the server's packages are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("dsage_server", "dsage_client", "sqlalchemy"))


class Family:
    """A server with `workers` volunteers, each with one slot. `home` holds the researcher's
    key and login; `pages_url` is where people look."""

    def __init__(self, workers: int = 2, *, port: int = 0) -> None:
        """Start it; return when the server and every volunteer are ready. Raises UsageError, DSageError or TimedOut."""
        if workers < 1:
            raise UsageError(f"{workers} workers cannot do anything", hint="Give 1 or more.")
        self.folder = Path(tempfile.mkdtemp(prefix="dsage-family-"))
        self.folder.chmod(0o711)
        self.home = self.folder / "server"
        self.workers = workers
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starter = Background("dsage-family")
        self._closing = threading.Lock()
        atexit.register(self.close)
        try:
            described = self._serve(port)
            self.url, self.pages_url = str(described["url"]), str(described["pages_url"])
            self._join(workers)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """The numbers of its processes."""
        return [child.pid for child in self._children.values()]

    def log(self, name: str, lines: int = 50) -> str:
        """Return the last lines that `server` or `worker N` wrote. Raises UsageError."""
        if isinstance(lines, bool) or not isinstance(lines, int) or lines < 0:
            raise UsageError(f"{lines!r} is no number of lines", hint="Give 0 or more, for example 50.")
        if name not in self._children:
            raise UsageError(f"there is no {name!r} here", hint=f"There is {', '.join(self._children)}.")
        with self._log(name).open("rb") as file:
            file.seek(max(0, self._log(name).stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:] if lines else [])

    def close(self) -> None:
        """End every process, in the order in which nothing is lost, and remove the folder. May be called again."""
        with self._closing:
            atexit.unregister(self.close)
            _ended([child for name, child in self._children.items() if name != "server"])
            _ended(list(self._children.values()))
            self._children.clear()
            self._starter.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _serve(self, port: int) -> dict[str, Any]:
        listen = ("--listen", f"127.0.0.1:{port}", "--pages", "localhost:0")
        self._start("server", "serve", *listen, "--own-work", "--json")
        data: dict[str, Any] = self._until("server", lambda: _document(self._said("server")))["data"]
        return data

    def _join(self, count: int) -> None:
        link = json.loads(self._finished("invite", "--uses", str(count), "--json"))["data"]["link"]
        names = [f"worker {number}" for number in range(1, count + 1)]
        for name in names:
            home = str(self.folder / name.replace(" ", "-"))
            self._start(name, "join", link, "--when", "always", "--own-work", "--slots", "1", "--home", home, "--json")
        for name in names:
            self._until(name, partial(self._joined, name))

    def _joined(self, name: str) -> bool:
        return b'"joined"' in self._said(name).read_bytes()

    def _start(self, name: str, *words: str) -> None:
        """Start a program from a thread that lives as long as the family: it gets a signal when that thread ends."""

        async def begin() -> subprocess.Popen[bytes]:
            with self._said(name).open("wb") as said, self._log(name).open("wb") as log:
                return subprocess.Popen(  # noqa: ASYNC220 - this loop has nothing else to do
                    [*DSAGE, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=log, env=self._environment(),
                    start_new_session=True, preexec_fn=_ending_with(os.getpid()),
                )  # fmt: skip

        self._children[name] = self._starter.call(begin())

    def _finished(self, *words: str) -> str:
        done = subprocess.run(
            [*DSAGE, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self._environment()
        )
        if done.returncode:
            raise DSageError(f"`dsage {words[0]}` ended with: {done.stderr.strip()[-400:]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DSAGE_HOME": str(self.home), "NO_COLOR": "1"}

    def _until(self, name: str, ask: Callable[[], Any]) -> Any:
        ends = time.monotonic() + READY_S
        while time.monotonic() < ends:
            if answer := ask():
                return answer
            if self._children[name].poll() is not None:
                raise DSageError(f"the {name} ended before it was ready: {self.log(name, 3)}")
            time.sleep(LOOK_S)
        raise TimedOut(f"the {name} was not ready within {READY_S:g} s")

    def _said(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.json"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def _ended(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        with suppress(ProcessLookupError):
            child.terminate()
    ends = time.monotonic() + STOP_S
    for child in children:
        try:
            child.wait(max(ends - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _ending_with(parent: int) -> Callable[[], None] | None:
    """Return what a child does first: it ends when this program does, also if that has happened already."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def bind() -> None:
        libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind
