"""Real server processes with a fleet at work on them, while a test does its worst; at the end the tables must be sound.

Whatever was acknowledged to a host must stand in the tables, and no credit may have been given twice (`fleet.audit`).
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from fleet import prepare
from fleet.audit import audit
from fleet.crowd import Fleet, Kind, allow_files, fleet
from fleet.habits import Habits
from fleet.host import Host as Simulated
from lab import Lab, kill

from dsage.connection import Connection
from dsage.errors import ServerAway, UsageError
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.ceremony import LAB
from dsage.trust.invite import Link
from dsage.wire import Assignment, Exchange, ExchangeReply, StatusView
from dsage_server.cli import make_invite
from dsage_server.server import Running
from dsage_server.store.engine import Store
from dsage_server.store.place import DATABASE
from dsage_server.testing import HandDriver, Host

HOSTS: Final = 64
FILES: Final = 12_000
OWN_DISK: Final = """
    disk=$(mktemp -d) && mount -t tmpfs -o size="$0",mode=700 dsage "$disk" && cp -a "$DSAGE_HOME/." "$disk" &&
    mount --bind "$disk" "$DSAGE_HOME" && rmdir "$disk" 2>/dev/null; exec "$@"
"""
STEADY: Final = Habits(batch=5, work_s=0.2, wait_s=20.0, back_s=0.3)
"""Some 1,600 answers a second from HOSTS hosts: the server is busy, and a test beside it gets its turn."""
RESTLESS: Final = Habits(batch=5, wait_s=20.0, back_s=0.3)
"""As much as the server takes."""


class Remote:
    """A server process as `dsage_server.testing.Host` needs to know it."""

    def __init__(self, home: Home, link: Link) -> None:
        self.home = home
        self.hub = self
        self.url = link.url
        self.server_id = link.server_id

    async def invite(self) -> Link:
        """Make an invite for one, as the operator does while the server runs."""
        made = make_invite(self.home, 1, 3600.0)
        return Link(self.url, made.server_id, made.ca, made.root, made.code)


class Guest(Host):
    """A host that a test moves by hand; what it calls is another process."""

    async def exchange(self, **said: Any) -> ExchangeReply:
        """Make the one call of a client."""
        return await self.conn.call("POST", "/v1/exchange", Exchange(**said), ExchangeReply, token=self.token,
                                    timeout_s=90.0)  # fmt: skip


class Siege:
    """Server processes on one database, made by `siege`. Their numbers count from 0; `crowd` is the fleet."""

    def __init__(self, folder: Path, stack: AsyncExitStack, store: str, servers: int) -> None:
        self.labs = [Lab(folder / str(n)) for n in range(servers)]
        for lab in self.labs:
            lab.folder.mkdir()
            lab.home = folder / "home"
        self.home = Home(folder / "home")
        self.stack = stack
        self.store = store
        self.crowd: Fleet
        self.driver: HandDriver
        self.more: list[tuple[str, ...]] = [()] * servers

    @property
    def disk(self) -> Path:
        """The servers' home, also if it lies on a disk that only the first of them sees."""
        return Path(f"/proc/{self.process().pid}/root{self.home.folder}")

    # -- processes -----------------------------------------------------------------------------------------------

    async def start(self, number: int = 0) -> None:
        """Start a server process, on the port that it had, and wait until it serves."""
        store = ("--store", self.store) if self.store else ()
        try:
            await asyncio.to_thread(self.labs[number].start_server, *store, *self.more[number])
        except RuntimeError as error:
            raise ServerAway(f"{error}: {self.log(number)[-3000:]}") from None

    def kill(self, number: int = 0) -> None:
        """End a server process without warning."""
        kill(self.process(number))

    def process(self, number: int = 0) -> subprocess.Popen[str]:
        """Return a server process."""
        server = self.labs[number].server
        assert server is not None
        return server

    def link(self, number: int = 0) -> Link:
        """Return the link to a server process."""
        return Link.parse(self.labs[number].described["link"])

    def lives(self, number: int = 0) -> bool:
        """Whether a server process runs."""
        return self.process(number).poll() is None

    def peak(self, number: int = 0) -> int:
        """Return the most bytes of memory that a server process has had."""
        said = Path(f"/proc/{self.process(number).pid}/status").read_text()
        return 1024 * int(said.partition("VmHWM:")[2].split()[0])

    def files(self, number: int = 0) -> int:
        """Return how many files and connections a server process has open."""
        return len(os.listdir(f"/proc/{self.process(number).pid}/fd"))

    def log(self, number: int = 0) -> str:
        """Return what a server process has said."""
        return (self.labs[number].folder / "server.log").read_text()

    # -- people --------------------------------------------------------------------------------------------------

    async def host(self, number: int = 0) -> Host:
        """A host joins that a test moves by hand."""
        remote = Remote(self.home, self.link(number))
        return await self.stack.enter_async_context(Guest.joined(cast(Running, remote)))

    async def run(self, number: int = 0, source: str = prepare.APP, name: str = "Echo") -> HandDriver:
        """A run of a class is submitted at one of the processes, and driven there by a test's hand."""
        researcher = await self.stack.enter_async_context(await Researcher.open(self.home, self.link(number), LAB))
        file = self.home.folder / "app.py"
        file.write_text(source)
        return await HandDriver.submitted(researcher, f"{file}:{name}")

    async def status(self, number: int = 0) -> StatusView:
        """Return what the server says of itself."""
        async with await Connection.open(self.link(number)) as conn:
            return await conn.call("GET", "/v1/status", None, StatusView)

    def leads_to(self, number: int) -> None:
        """Let every host of the fleet call this process from its next connection on, as a proxy would."""
        for host in self.crowd.hosts:
            host.link = self.link(number)

    # -- what happens --------------------------------------------------------------------------------------------

    @property
    def where(self) -> Path | str:
        """The database; a copy, if it lies on a disk of the server's own."""
        if self.store or not self.labs[0].prefix:
            return self.store or self.home.server / DATABASE
        copy = self.labs[0].folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        self.process().send_signal(signal.SIGSTOP)
        for name in (DATABASE, f"{DATABASE}-wal"):
            shutil.copy(self.disk / "server" / name, copy)
        self.process().send_signal(signal.SIGCONT)
        return copy / DATABASE

    @property
    def acknowledged(self) -> int:
        """How many answers of the fleet have been acknowledged so far."""
        return len(self.crowd.shared.acknowledged)

    @property
    def handed_out(self) -> int:
        """How many copies the fleet has got so far."""
        return self.crowd.shared.tally.leased

    def troubles(self) -> dict[str, int]:
        """Return what went wrong for the fleet so far."""
        return dict(self.crowd.shared.tally.troubles)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query in SQL finds."""
        store = Store(self.where)
        try:
            return store.read_now(lambda c: [tuple(row) for row in c.exec_driver_sql(query)])
        finally:
            store.close()

    def change(self, statement: str) -> None:
        """Change a row by a statement in SQL, as time would."""
        store = Store(self.where)
        try:
            store.write_now(lambda c: c.exec_driver_sql(statement))
        finally:
            store.close()

    def count(self, query: str) -> int:
        """Return the number that a query in SQL finds."""
        return int(self.ask(query)[0][0])

    def acknowledge(self, got: Iterable[Assignment]) -> None:
        """Note that the answers of a host that a test moves were acknowledged, too."""
        self.crowd.shared.acknowledged.extend(each.replica for each in got)

    async def until(self, condition: Callable[[], Any], within_s: float = 30.0) -> None:
        """Wait for a condition. Raises TimeoutError with the state of things, or what ended a host of the fleet."""
        end = time.monotonic() + within_s
        while True:
            for task in self.crowd.tasks:
                if task.done() and not task.cancelled():
                    task.result()
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            if time.monotonic() > end:
                logs = "\n".join(self.log(number)[-3000:] for number in range(len(self.labs)))
                raise TimeoutError(f"{self.acknowledged} acknowledged, {self.troubles()}, {logs}")
            await asyncio.sleep(0.02)

    async def goes_on(self, answers: int = 200, within_s: float = 30.0) -> None:
        """Wait until the fleet has had so many further answers acknowledged."""
        wanted = self.acknowledged + answers
        await self.until(lambda: self.acknowledged >= wanted, within_s)

    def check(self) -> None:
        """Raise AssertionError if the tables do not fit together or miss what was acknowledged."""
        faults = audit(self.where, self.crowd.shared.acknowledged)
        assert faults == [], faults
        assert self.acknowledged > 0


@asynccontextmanager
async def siege(
    *, units: int = 8_000, hosts: int = HOSTS, habits: Habits = STEADY, store: str = "", servers: int = 1,
    more: Sequence[tuple[str, ...]] = (), links: Sequence[int] = (), disk_bytes: int = 0,
    variables: Mapping[str, str] | None = None, kind: Kind = Simulated,
) -> AsyncIterator[Siege]:  # fmt: skip
    """Start servers, make units, let a fleet work; at the end its answers must be in the tables.

    `more` are further arguments of each process, `variables` what all find in their environment, and `links` those that
    the fleet calls (all of them, if none is named). `kind` makes its hosts. With `disk_bytes` the home is a disk of its
    own, of that size.
    """
    allow_files(FILES)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dsage-siege-", ignore_cleanup_errors=True))
        made = Siege(Path(folder), stack, store, servers)
        made.more = list(more) or made.more
        for number, lab in enumerate(made.labs):
            stack.callback(lab.stop)
            lab.variables = dict(variables or {})
            await made.start(number)
        prepare.enrol(made.where, hosts)
        made.driver = await made.run()
        await prepare.make_units(made.driver, units)
        if disk_bytes:
            made.kill()
            made.labs[0].prefix = [*apart(), "sh", "-c", OWN_DISK, str(disk_bytes)]
            await made.start()
        async with fleet([made.link(n) for n in links or range(servers)], habits, hosts, kind=kind) as made.crowd:
            made.crowd.begin()
            await made.goes_on(100)
            yield made
        made.check()


def apart() -> list[str]:
    """Return the command that gives another one mounts of its own. Raises UsageError if this user may not have them."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        raise UsageError("this user may not mount anything, not even for a process alone")
    return command
