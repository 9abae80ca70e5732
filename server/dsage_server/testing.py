"""A real server for tests: real TLS, real SQLite, real keys, on free ports; and people who speak to it by hand."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from dsage_server.server import Running, serving
from dsage_server.settings import Settings


def local_settings(home: Home, *, port: int = 0) -> Settings:
    """Return settings that bind to localhost only; the checks may run in the weaker sandbox."""
    return Settings(
        folder=home.server,
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
    async with serving(home, local_settings(home, port=port)) as running:
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

    async def introduce(self, *holding: wire.Assignment, offers: Sequence[str] = ()) -> wire.ExchangeReply:
        """Say what the host is and what it holds, as at the start of a client."""
        info = wire.HostInfo(
            client="test", platform="test", cores=1, memory_bytes=1, sandbox="none", offers=list(offers)
        )
        return await self.exchange(holding=[held(each) for each in holding], host=info)

    async def exchange(self, **said: Any) -> wire.ExchangeReply:
        """Make the one call of a client."""
        return await self.conn.call("POST", "/v1/exchange", wire.Exchange(**said), wire.ExchangeReply, token=self.token)

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
