"""PostgreSQL for tests and benchmarks: a cluster of its own for as long as it is needed, and databases by the copy."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import create_engine, pool

from dsage.errors import NotFound, ServerAway
from dsage_server.store.engine import Store
from dsage_server.store.migrate import upgrade
from dsage_server.store.place import DATABASE, MEMORY, place_of

BINARIES: Final = Path("/usr/lib/postgresql")
USER: Final = "postgres"
"""Whom Debian's packages make; PostgreSQL refuses to run as root."""
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
START_S: Final = 120
"""After a kill it reads through all its files first, which takes a busy computer a while."""
VARIABLE: Final = "DSAGE_TEST_STORE"
"""The name in the environment that says on which database the tests are to run."""
SMALL: Final = ("shared_buffers=64MB", "max_connections=200")
LARGE: Final = ("shared_buffers=512MB", "max_connections=100", "max_wal_size=4GB")
"""What PostgreSQL gets in tests, and what it gets where it is measured."""


def binaries() -> Path:
    """Return the folder of the newest installed PostgreSQL. Raises NotFound."""
    found = sorted(BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise NotFound("PostgreSQL is not installed here", hint="apt-get install postgresql")
    return found[-1].parent


@dataclass
class Cluster:
    """A PostgreSQL server, durable as by default, that can be stopped and started."""

    folder: Path
    port: int
    tools: Path = field(default_factory=binaries)
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, database: str = USER) -> str:
        """Return the URL of a database, by the socket file."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}"

    def tcp_url(self, database: str = USER) -> str:
        """Return the URL of a database, by TCP on this computer."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it. Raises ServerAway if it does not."""
        self._tool("pg_ctl", "start", "--pgdata", self._data, "--timeout", str(START_S), "--log", f"{self.folder}/log")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` is what a kill or a power cut is, `fast` ends sessions in order."""
        self._tool("pg_ctl", "stop", "--pgdata", self._data, "--mode", mode, "--timeout", str(START_S))

    def database(self, template: str = "template0") -> str:
        """Make a database and return its URL."""
        name = f"made_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def migrated(self) -> str:
        """Make a database with today's tables, as a copy of one that was migrated, and return its URL."""
        with self._lock:
            return self.database(self._template)

    def execute(self, statement: str) -> None:
        """Run a statement outside of every database's own tables."""
        engine = create_engine(
            self.url().replace(":", "+psycopg:", 1), poolclass=pool.NullPool, isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def processes(self) -> list[int]:
        """Return the ids of its processes: what its work costs is theirs."""
        first = int((Path(self._data) / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    @functools.cached_property
    def _template(self) -> str:
        url = self.database()
        upgrade(url)
        return url.partition("@/")[2].partition("?")[0]

    @property
    def _data(self) -> str:
        return f"{self.folder}/data"

    def make(self, settings: Sequence[str]) -> None:
        """Make its files. Raises ServerAway if that fails."""
        self._tool(
            "initdb", "--pgdata", self._data, "--username", USER, "--auth", "trust", "--no-locale",
            "--encoding", "UTF8", "--no-sync",
        )  # fmt: skip
        places = ("listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}")
        lines = [f"{name} = '{value}'" for name, _, value in (each.partition("=") for each in (*places, *settings))]
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *lines, ""]))

    def _tool(self, name: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as said:
            command = [str(self.tools / name), *arguments]
            done = subprocess.run(command, cwd=self.folder, stdout=said, stderr=said, check=False, **_demoted())
            if done.returncode:
                said.seek(0)
                raise ServerAway(f"{name} failed: {said.read()[-500:].decode(errors='replace')}")


_GUARD: Final = 'read _; "$0" stop --pgdata "$1/data" --mode immediate >"$1/guard" 2>&1; rm -rf "$1"'
"""Ends the cluster as soon as the line to who began it is cut, also by a kill."""


@contextlib.contextmanager
def postgres_cluster(settings: Sequence[str] = SMALL) -> Iterator[Cluster]:
    """Run a PostgreSQL server in a folder of its own; it is gone afterwards.

    Raises NotFound if none is installed, ServerAway if it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="dsage-pg-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder), _free_port())
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        cluster.make(settings)
        words = ["sh", "-c", _GUARD, str(cluster.tools / "pg_ctl"), folder]
        with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True, **_demoted()):
            cluster.start()
            yield cluster


def _demoted() -> dict[str, Any]:
    return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


@functools.cache
def shared_cluster() -> Cluster:
    """Return one cluster for all tests of this process, made when it is first asked for.

    Without PostgreSQL the test is skipped, except under CI.
    """
    stack = contextlib.ExitStack()
    try:
        cluster = stack.enter_context(postgres_cluster())
    except NotFound as missing:
        if "CI" in os.environ:
            raise
        import pytest  # only tests come here

        pytest.skip(f"{missing.message}: {missing.hint}")
    atexit.register(stack.close)
    return cluster


def on_postgresql() -> bool:
    """Whether tests that leave it open are to use PostgreSQL."""
    return os.environ.get(VARIABLE) == POSTGRESQL


def kinds() -> list[str]:
    """Return the databases on which a test runs that should run on each."""
    return [POSTGRESQL] if on_postgresql() else [SQLITE, POSTGRESQL]


def fresh(folder: Path, kind: str = "") -> Path | str:
    """Return a database with today's tables for a test: a file in the folder, or the URL of one on PostgreSQL."""
    if kind == POSTGRESQL or (not kind and on_postgresql()):
        return shared_cluster().migrated()
    path = folder / DATABASE
    path.write_bytes(_empty())
    return path


def store_of(folder: Path) -> str:
    """Return the store for a test's server in this folder, for its settings: a new one, or what it has already."""
    known = (folder / MEMORY).exists() or (folder / DATABASE).exists()
    return "" if known or not on_postgresql() else shared_cluster().migrated()


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query in SQL finds in the database of a server's folder."""
    store = Store(place_of(folder))
    try:
        return store.read_now(lambda c: [tuple(row) for row in c.exec_driver_sql(query)])
    finally:
        store.close()


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(Path(folder, DATABASE))
        return Path(folder, DATABASE).read_bytes()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
