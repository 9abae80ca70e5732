"""A server and volunteers' clients as real processes with homes of their own, for benchmarks and fault tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

READY_S = 60.0


class Lab:
    """One folder, one server, some clients. Every process is started here and ended here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.server: subprocess.Popen[str] | None = None
        self.clients: dict[str, subprocess.Popen[str]] = {}
        self.listen = "127.0.0.1:0"
        self.prefix: list[str] = []
        """The command that the server is started by, if another one starts it: it must become the server."""
        self.variables: dict[str, str] = {}
        """What the server finds in its environment besides."""
        self.described: dict[str, Any] = {}
        self._logs: list[IO[str]] = []

    def start_server(self, *more: str) -> None:
        """Start `dsage serve` and wait until it says where it listens; the same port again after a restart."""
        out = self.folder / "serve.json"
        out.unlink(missing_ok=True)
        with out.open("w") as stdout:
            self.server = self._start(
                ["serve", "--listen", self.listen, "--pages", "localhost:0", "--own-work", "--json", *more],
                self.home, "server.log", stdout, prefix=self.prefix, variables=self.variables,
            )  # fmt: skip
        self.described = wait_for(lambda: _document(out), self.server)["data"]
        self.listen = self.described["url"].removeprefix("https://") or self.listen

    def invite(self, uses: int) -> str:
        """Return an invite link."""
        return str(self.dsage_json("invite", "--uses", str(uses))["data"]["link"])

    def start_client(self, name: str, link: str = "") -> None:
        """Start `dsage join`; without a link it goes on with the server that it knows."""
        arguments = [
            "join",
            *([link] if link else []),
            "--when",
            "always",
            "--show",
            "leaderboard",
            "--show",
            "discoveries",
            "--own-work",
            "--slots",
            "1",
            "--json",
        ]
        home = self.folder / name
        with (self.folder / f"{name}.jsonl").open("a") as stdout:
            arguments += ["--home", str(home)]
            self.clients[name] = self._start(arguments, home, f"{name}.log", stdout)

    def join(self, count: int) -> None:
        """Start clients and wait until all are connected."""
        link = self.invite(count)
        for number in range(count):
            self.start_client(f"client{number + 1}", link)
        wait_for(lambda: self.dsage_json("status")["data"]["hosts_live"] >= count)

    def dsage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            command(*arguments), env=self.environment(self.home), capture_output=True, text=True, check=check
        )

    def dsage_json(self, *arguments: str) -> dict[str, Any]:
        """Run one command with --json and return its document."""
        done = self.dsage(*arguments, "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def start(self, *arguments: str, log: str) -> subprocess.Popen[str]:
        """Start a command of the researcher's and do not wait for it."""
        with (self.folder / f"{log}.out").open("a") as stdout:
            return self._start(list(arguments), self.home, f"{log}.log", stdout)

    def stop(self) -> None:
        """End everything that was started here."""
        running = [p for p in [*self.clients.values(), self.server] if p is not None and p.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()

    def environment(self, home: Path) -> dict[str, str]:
        """Return what a process gets of this environment: nothing but a path, a language and its home."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TMPDIR") if name in os.environ}
        return {**kept, "DSAGE_HOME": str(home), "NO_COLOR": "1"}

    def _start(
        self, arguments: list[str], home: Path, log: str, stdout: IO[str], *, prefix: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:  # fmt: skip
        stderr = (self.folder / log).open("a")
        self._logs.append(stderr)
        return subprocess.Popen(
            [*prefix, *command(*arguments)], env={**self.environment(home), **(variables or {})},
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True,
        )  # fmt: skip


def command(*arguments: str) -> list[str]:
    """Return the command line of `dsage` in this environment."""
    return [str(Path(sys.executable).with_name("dsage")), *arguments]


def kill(process: subprocess.Popen[str]) -> None:
    """End a process of ours without warning."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_for(ask: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    """Return the first true answer. Raises TimeoutError, or RuntimeError if the process ended meanwhile.

    Whoever is asked gets as much time between two questions as one takes: many start a program.
    """
    end = time.monotonic() + READY_S
    while (began := time.monotonic()) < end:
        answer = ask()
        if answer:
            return answer
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        time.sleep(max(0.05, time.monotonic() - began))
    raise TimeoutError("it did not come true in time")


@contextlib.contextmanager
def lab(clients: int) -> Iterator[Lab]:
    """Run a server with so many connected clients, and end it all afterwards."""
    with tempfile.TemporaryDirectory(prefix="dsage-lab-", ignore_cleanup_errors=True) as folder:
        made = Lab(Path(folder))
        try:
            made.start_server()
            if clients:
                made.join(clients)
            yield made
        finally:
            made.stop()


def _document(path: Path) -> Any:
    text = path.read_text() if path.exists() else ""
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        return None
