"""A real server for tests: real TLS, a real database, real keys, on free ports; and people who speak to it by hand.

The database is SQLite, or PostgreSQL if the environment says DSAGE_TEST_STORE=postgresql.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from dsage import codec, wire
from dsage.bundle import pack
from dsage.connection import Connection, login
from dsage.home import Home, Login
from dsage.researcher import Researcher
from dsage.trust.ceremony import LAB
from dsage.trust.documents import Enrolment, ResultBatch, SignedResult, UnitDocument
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey
from dsage.trust.tls import pinned_context
from dsage_server.server import Running, serving
from dsage_server.settings import Settings
from dsage_server.store import views
from dsage_server.store.place import place_of
from dsage_server.store.testing import SQLITE, fresh, store_of

APP: Final = '''
from dsage import DistributedFunction


class Plain(DistributedFunction):
    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        pass


class Needy(Plain):
    needs = ("gmpy2",)


class Checked(Plain):
    """An answer near its argument agrees with others; 1000 proves itself, a negative one is a lie."""

    @staticmethod
    def verify(args, value):
        if value == "crash":
            raise RuntimeError("what is this?")
        return True if value == 1000 else False if value < 0 else None

    @staticmethod
    def agree(args, a, b):
        return abs(a - b) <= 1

    @staticmethod
    def partial(args, value, seed):
        return value / 10
'''


def local_settings(home: Home, *, port: int = 0) -> Settings:
    """Return settings that bind to localhost only; the checks may run in the weaker sandbox."""
    return Settings(
        folder=home.server,
        store=store_of(home.server),
        name="Test",
        listen="127.0.0.1",
        port=port,
        pages="127.0.0.1",
        pages_port=0,
        sandbox_own=True,
    )


@asynccontextmanager
async def running_server(folder: Path, *, port: int = 0) -> AsyncIterator[Running]:
    """Serve from a home in `folder`, logged in as the lab's researcher."""
    home = Home(folder)
    settings = local_settings(home, port=port)
    where = place_of(home.server)
    if not settings.store and isinstance(where, Path) and not where.exists():
        home.server.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh(home.server, SQLITE)  # a copy: all migrations one after the other take longer than the rest of the start
    async with serving(home, settings) as running:
        Login(link=str(running.link()), key=LAB).save(home)
        yield running


@dataclass
class Host:
    """A volunteer's host, moved by hand: it signs what it is told to, true or not."""

    running: Running
    conn: Connection
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    token: str = ""
    volunteer: int = 0

    @classmethod
    @asynccontextmanager
    async def joined(cls, running: Running, key: PrivateKey | None = None) -> AsyncIterator[Host]:
        """A new volunteer joins by an invite; with a `key`, one who has joined before comes back."""
        link = await running.invite()
        async with await Connection.open(link) as conn:
            host = cls(running, conn, key or PrivateKey.generate())
            challenge = await conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)
            enrolment = Enrolment(
                server_id=link.server_id,
                challenge=challenge.challenge,
                ca=link.ca,
                key=host.key.public,
                code=link.code,
                public=True,
            )
            known = await conn.call("POST", "/v1/enrol", seal(enrolment, host.key), wire.EnrolReply)
            host.volunteer = known.volunteer
            await host.sign_in()
            yield host

    async def sign_in(self) -> None:
        """Log in and introduce the host, which holds nothing."""
        self.token = (await login(self.conn, self.key, "host", self.running.hub.server_id)).token

    async def introduce(
        self,
        *holding: wire.Assignment,
        offers: Sequence[str] = (),
        features: Sequence[str] = (),
        platform: str = "test",
    ) -> wire.ExchangeReply:
        """Say what the host is and what it holds, as at the start of a client."""
        info = wire.HostInfo(
            client="test", platform=platform, cores=1, memory_bytes=1 << 34, disk_bytes=1 << 34, sandbox="none",
            offers=list(offers), features=list(features),
        )  # fmt: skip
        return await self.exchange(holding=[held(each) for each in holding], host=info)

    async def exchange(self, **said: Any) -> wire.ExchangeReply:
        """Make the one call of a client; what is in the tables by then is in the queue."""
        await listed(self.running)
        return await self.conn.call("POST", "/v1/exchange", wire.Exchange(**said), wire.ExchangeReply, token=self.token)

    async def raw(self, method: str, path: str, **said: Any) -> tuple[int, Any, dict[str, str]]:
        """Make a request by plain HTTP; return its status, its problem document if it has one, and its headers."""
        headers = {wire.PROTOCOL_HEADER: str(wire.PROTOCOL), "Authorization": f"Bearer {self.token}"}
        headers.update(said.pop("headers", {}))
        context = pinned_context(self.conn.ca_pem, self.conn.link.ca)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.request(method, self.running.url + path, headers=headers, **said) as response,
        ):
            data = await response.read()
            problem = json.loads(data) if response.content_type == "application/problem+json" else None
            return response.status, problem, dict(response.headers)

    async def fetch(self, want: int = 1, wait_s: float = 0.0) -> list[wire.Assignment]:
        """Fetch up to `want` copies."""
        return (await self.exchange(want=want, wait_s=wait_s)).units

    async def report(
        self, got: Sequence[wire.Assignment], values: Sequence[Any], *, status: str = "done", **forged: Any
    ) -> list[str]:
        """Report copies with values, signed with any field of the results `forged`; return the codes of the acks."""
        batch, reports = self.signed(got, [codec.encode(value) for value in values], status=status, **forged)
        proof = seal(batch, self.key)
        return [ack.code for ack in (await self.exchange(reports=reports, proof=proof)).acks]

    def signed(
        self, got: Sequence[wire.Assignment], values: Sequence[bytes], *, status: str = "done", **forged: Any
    ) -> tuple[ResultBatch, list[wire.Report]]:
        """Return a batch of results, to be signed, and the reports that it covers."""
        results = []
        for assignment, value in zip(got, values, strict=True):
            unit = document(assignment)
            entry = SignedResult(
                replica=assignment.replica, lease=assignment.lease, unit=unit.unit, app=unit.app,
                status=status, value=codec.digest(value),
            )  # fmt: skip
            results.append(msgspec.structs.replace(entry, **forged))
        reports = [wire.Report(replica=a.replica, value=v, cpu_s=1.0) for a, v in zip(got, values, strict=True)]
        batch = ResultBatch(server_id=self.running.hub.server_id, key=self.key.public, results=results)
        return batch, reports


@dataclass
class HandDriver:
    """A run that a test steps by hand."""

    researcher: Researcher
    run: int
    fence: int
    step: int = 0

    @classmethod
    async def submitted(cls, researcher: Researcher, target: str, **params: Any) -> HandDriver:
        """Submit a run of "file.py:Class" and take it over."""
        packed = pack(target)
        number = await researcher.submit(packed, packed.function(**params), params)
        return cls(researcher, number, (await researcher.drive(number)).fence)

    async def make(self, *args: Any, group: str = "", quorum: int = 1, **more: Any) -> None:
        """Commit a step that makes units with these arguments."""
        new = [
            wire.NewUnit(key=secrets.token_hex(6), args=codec.encode(arg), group=group, quorum=quorum, **more)
            for arg in args
        ]
        await self.commit(units=new)

    async def commit(self, **what: Any) -> wire.StepReply:
        """Commit one step."""
        reply = await self.researcher.step(self.run, wire.Step(fence=self.fence, step=self.step + 1, state=b"", **what))
        self.step += 1
        return reply

    async def answers(self, wait_s: float = 0.0, *, hungry: bool = False) -> wire.Answers:
        """Return what is not folded yet."""
        return await self.researcher.answers(self.run, fence=self.fence, wait_s=wait_s, hungry=hungry)


def document(assignment: wire.Assignment) -> UnitDocument:
    """Return the unit of an assignment, unchecked."""
    return msgspec.json.decode(assignment.document, type=UnitDocument)


def held(assignment: wire.Assignment, cpu_s: float = 0.0) -> wire.Holding:
    """Return how a client says that it holds a copy."""
    return wire.Holding(replica=assignment.replica, lease=assignment.lease, cpu_s=cpu_s)


class World:
    """What a test adds to a server: hosts, and runs of APP, which `close` cancels."""

    def __init__(self, running: Running, folder: Path, stack: AsyncExitStack) -> None:
        self.running = running
        self.folder = folder
        self.stack = stack
        self.runs: list[HandDriver] = []

    async def host(self, key: PrivateKey | None = None) -> Host:
        """A host joins, or comes back with its key."""
        return await self.stack.enter_async_context(Host.joined(self.running, key))

    async def run(self, kind: str = "Plain") -> HandDriver:
        """A run of one of APP's classes is submitted."""
        source = self.folder / "app.py"
        source.write_text(APP)
        researcher = await self.stack.enter_async_context(await Researcher.open(Home(self.folder)))
        self.runs.append(await HandDriver.submitted(researcher, f"{source}:{kind}"))
        return self.runs[-1]

    async def view(self, driver: HandDriver) -> wire.RunView:
        """Return a run as people see it."""
        return await self.running.hub.store.read(lambda c: views.run_view(c, driver.run, 0.0))

    async def close(self) -> None:
        """Cancel what still runs, so that nobody else gets its units."""
        for driver in self.runs:
            if (await self.view(driver)).state == "running":
                await driver.researcher.cancel(driver.run)


async def listed(running: Running) -> None:
    """Let the server's queue list what waits: of a shared database it claims units after they were made."""
    if running.hub.store.shared:
        running.hub.refill()
        await asyncio.gather(*running.hub._refills)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; raises TimeoutError after a minute."""
    async with asyncio.timeout(60.0):
        while not await condition():  # noqa: ASYNC110 - what it waits for is in another process or table
            await asyncio.sleep(0.01)
