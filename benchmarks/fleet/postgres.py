"""A throw-away PostgreSQL for benchmarks and tests: durable as by default, on a free port, reached by a socket file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from dsage.errors import NotFound, ServerAway

BINARIES: Final = "/usr/lib/postgresql"
USER: Final = "postgres"
"""Whom Debian's packages make; PostgreSQL refuses to run as root."""
READY_S: Final = 30.0
SETTINGS: Final = ("listen_addresses=", "max_connections=60", "shared_buffers=512MB", "max_wal_size=4GB")


def binaries() -> Path:
    """Return the folder of the newest installed PostgreSQL. Raises NotFound."""
    found = sorted(Path(BINARIES).glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise NotFound("PostgreSQL is not installed here", hint="apt-get install postgresql")
    return found[-1].parent


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server in a folder of its own and give its URL; it is gone afterwards.

    Raises NotFound if none is installed, ServerAway if it does not start.
    """
    tools = binaries()
    with tempfile.TemporaryDirectory(prefix="dsage-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        demoted: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
            demoted = {"user": USER, "group": USER, "extra_groups": []}
        data = f"{folder}/data"
        initdb = [str(tools / "initdb"), "--pgdata", data, "--username", USER, "--auth", "trust", "--no-locale"]
        made = subprocess.run([*initdb, "--encoding", "UTF8"], cwd=folder, capture_output=True, text=True, **demoted)
        if made.returncode:
            raise ServerAway(f"initdb failed: {made.stderr[-500:]}")
        options = [part for setting in (*SETTINGS, f"unix_socket_directories={folder}") for part in ("-c", setting)]
        with (Path(folder) / "log").open("w") as log:
            server = subprocess.Popen(
                [str(tools / "postgres"), "-D", data, *options], cwd=folder, stdout=log, stderr=log, **demoted
            )
        try:
            _wait(tools, folder, server)
            yield f"postgresql://{USER}@/{USER}?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def processes(url: str) -> list[int]:
    """Return the processes of the PostgreSQL server at `url`: what its work costs is theirs."""
    folder = url.rpartition("=")[2]
    first = int((Path(folder) / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


def _wait(tools: Path, folder: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_S
    asking = [str(tools / "pg_isready"), "--quiet", "--host", folder, "--username", USER]
    while subprocess.run(asking, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            raise ServerAway(f"PostgreSQL did not start: {(Path(folder) / 'log').read_text()[-500:]}")
        time.sleep(0.1)
