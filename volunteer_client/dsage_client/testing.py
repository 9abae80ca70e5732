"""Stand-ins for tests: a transport that loses messages, a server in memory with real signatures, a runner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Any, Final, TypeVar

import msgspec

from dsage import codec
from dsage.connection import Transport
from dsage.errors import DSageError, LoggedOut, NotFound, ServerAway
from dsage.sandbox import Outcome
from dsage.trust.documents import Authorisation, CodeKey, Login, Manifest, ResultBatch, Root, UnitBatch, UnitDocument
from dsage.trust.envelope import Envelope, hash_of, open_as, seal
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey, key_hash
from dsage.trust.merkle import tree
from dsage.wire import Ack, Assignment, ChallengeReply, Exchange, ExchangeReply, LoginReply
from dsage_client.runner import Work

Reply = TypeVar("Reply")

SOURCE: Final = b"""from dsage import DistributedFunction


class Double(DistributedFunction):
    @staticmethod
    def compute(args):
        return 2 * args
"""
SERVER_ID: Final = "test-server"
YEAR_S: Final = 365 * 86400.0


class Fault(Enum):
    """What happens to a call."""

    REQUEST_LOST = "the server never hears of it"
    REPLY_LOST = "the server does it, and the answer is lost"


class FaultyTransport:
    """Passes calls on to another transport, except those for which `plan` names a fault."""

    def __init__(self, inner: Transport, plan: Callable[[str], Fault | None]) -> None:
        self._inner = inner
        self._plan = plan

    @property
    def link(self) -> Link:
        """The link of the transport inside."""
        return self._inner.link

    @property
    def ca_pem(self) -> bytes:
        """The CA of the transport inside."""
        return self._inner.ca_pem

    async def call(
        self,
        method: str,
        path: str,
        body: Any,
        reply: type[Reply],
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
    ) -> Reply:
        """Make the call, or raise ServerAway before or after it as planned for its path."""
        fault = self._plan(path)
        if fault is Fault.REQUEST_LOST:
            raise ServerAway(fault.value)
        answer = await self._inner.call(method, path, body, reply, token=token, timeout_s=timeout_s)
        if fault is Fault.REPLY_LOST:
            raise ServerAway(fault.value)
        return answer

    @asynccontextmanager
    async def stream(self, method: str, path: str, **said: Any) -> AsyncIterator[Any]:
        """Make the request, or raise ServerAway before or after it as planned for its path."""
        fault = self._plan(path)
        if fault is Fault.REQUEST_LOST:
            raise ServerAway(fault.value)
        async with self._inner.stream(method, path, **said) as response:
            if fault is Fault.REPLY_LOST:
                raise ServerAway(fault.value)
            yield response

    async def close(self) -> None:
        """Close the transport inside."""
        await self._inner.close()


class BlobResponse:
    """What `dsage.blobs` looks at of a response."""

    def __init__(self, data: bytes, start: int) -> None:
        self.status = 206 if start else 200
        self.headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self.content = self
        self._data = data[start:]

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield the body."""
        for start in range(0, len(self._data), size):
            yield self._data[start : start + size]


class MemoryServer:
    """A server in memory that gives out the units a test makes, and checks every signature it is sent.

    `blobs` are what it serves by name, true or not, and `fetched` the names it was asked for. `trouble` is raised by
    every call while it is set, and `refused` counts the calls that began under it. `ended` maps a replica to its report
    and the status that the client signed. Calls are held on a condition, never on a clock, unless the client asks for
    a time.
    """

    def __init__(self) -> None:
        self.root_key, self.code_key, self.unit_key = (PrivateKey.generate() for _ in range(3))
        self.link = Link("https://localhost:1", SERVER_ID, "0" * 64, key_hash(self.root_key.public))
        self.ca_pem = b""
        self.trouble: DSageError | None = None
        self.refused = 0
        self.hold_calls = True
        self.retry_s, self.reason = 0.0, ""
        self.exchanges: list[Exchange] = []
        self.ended: dict[int, tuple[str, str, bytes | None]] = {}
        self.order: list[int] = []
        self.logins = 0
        self.bundle = codec.encode({"files": {"double.py": SOURCE}})
        self.documents: dict[str, Envelope] = {}
        self.blobs: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self._token = ""
        self._ready: list[tuple[Assignment, Envelope]] = []
        self._abort: list[int] = []
        self._leases: dict[int, bytes] = {}
        self._changed = asyncio.Condition()
        self._newest = 0
        self.root = self._sign_root(1)
        self.manifest = seal(
            Manifest(
                project="lab",
                title="Double",
                entry="double:Double",
                bundle=codec.digest(self.bundle),
                bundle_bytes=len(self.bundle),
            ),
            self.code_key,
        )
        self.app = hash_of(self.manifest)
        self.authorisation = seal(
            Authorisation(
                server_id=SERVER_ID,
                project="lab",
                run_key="run",
                app=self.app,
                cpu_s=60.0,
                wall_s=60.0,
                memory_bytes=1 << 30,
                disk_bytes=1 << 28,
                output_bytes=1 << 20,
                issued=time.time(),
                expires=time.time() + YEAR_S,
            ),
            self.code_key,
        )
        self.documents = {hash_of(e): e for e in (self.manifest, self.authorisation)}

    # -- what tests do -----------------------------------------------------------------------------------------

    async def give(self, *args: Any, deadline_s: float = 3600.0, **changes: Any) -> list[int]:
        """Make one unit for each of `args`, signed as one batch, and return their replica numbers."""
        first = len(self._leases) + 1
        documents = [
            msgspec.json.encode(self._unit(first + position, value, changes)) for position, value in enumerate(args)
        ]
        top, paths = tree(documents)
        batch = seal(
            UnitBatch(
                server_id=SERVER_ID,
                root=top,
                count=len(documents),
                issued=time.time(),
                expires=time.time() + YEAR_S,
            ),
            self.unit_key,
        )
        for position, document in enumerate(documents):
            replica = first + position
            self._leases[replica] = b"lease-%d" % replica
            assignment = Assignment(
                replica=replica,
                lease=self._leases[replica],
                deadline_s=deadline_s,
                document=document,
                index=position,
                path=paths[position],
                batch="b",
            )
            self._ready.append((assignment, batch))
        await self._notify()
        return list(range(first, first + len(args)))

    async def strike(self, trouble: DSageError | None) -> None:
        """Make every call raise this, held ones too, until told otherwise."""
        self.trouble = trouble
        await self._notify()

    async def abort(self, *replicas: int) -> None:
        """Tell the client to give these up."""
        self._abort += replicas
        await self._notify()

    async def new_root(self, version: int, **changes: Any) -> None:
        """Put another root.json in force."""
        self.root = self._sign_root(version, **changes)
        await self._notify()

    def forget_tokens(self) -> None:
        """Make the client log in again."""
        self._token = ""

    def statuses(self) -> dict[int, str]:
        """Return the signed status of every replica that was reported."""
        return {replica: status for replica, (status, _, _) in self.ended.items()}

    # -- the transport -----------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: Any,
        reply: type[Reply],
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
    ) -> Reply:
        """Answer one call."""
        try:
            if self.trouble is not None:
                self.refused += 1
                raise self.trouble
            answer = await self._answer(path, body, token)
        finally:
            await self._notify()
        assert isinstance(answer, reply)
        return answer

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, token: str | None, headers: Mapping[str, str], **_said: Any
    ) -> AsyncIterator[Any]:
        """Serve a bundle, or a blob to who is logged in."""
        name = path.rpartition("/")[2]
        self.fetched.append(name)
        if self.trouble is not None:
            raise self.trouble
        if path.startswith("/v1/bundles/"):
            yield BlobResponse(self.bundle, int(headers.get("Range", "bytes=0-")[6:-1]))
            return
        if token != self._token:
            raise LoggedOut("the token has run out")
        if name not in self.blobs:
            raise NotFound("there is no such blob")
        yield BlobResponse(self.blobs[name], int(headers.get("Range", "bytes=0-")[6:-1]))

    async def close(self) -> None:
        """Nothing to close."""

    async def _answer(self, path: str, body: Any, token: str | None) -> object:
        match path.split("/")[2:]:
            case ["root"]:
                return self.root
            case ["challenge"]:
                return ChallengeReply(challenge=b"challenge", server_id=SERVER_ID, valid_s=60.0)
            case ["login"]:
                self.key = open_as(body, Login, [body.signatures[0].keyid]).key
                self.logins += 1
                self._token = f"token-{self.logins}"
                return LoginReply(token=self._token, valid_s=900.0, name="tester")
            case ["documents", name] if name in self.documents:
                return self.documents[name]
            case ["exchange"]:
                if token != self._token:
                    raise LoggedOut("the token has run out")
                return await self._exchange(body)
        raise NotFound(f"nothing at {path}")

    async def _exchange(self, message: Exchange) -> ExchangeReply:
        self.exchanges.append(message)
        self._newest = number = self._newest + 1
        acks = [self._take(message, position) for position in range(len(message.reports))]
        held = {holding.replica for holding in message.holding}
        version = self._version()

        def something_to_say() -> bool:
            news = bool(self._ready and message.want) or bool(held & set(self._abort))
            return news or self._newest > number or self._version() != version or self.trouble is not None

        if message.wait_s and not acks and self.hold_calls:
            with suppress(TimeoutError):
                async with asyncio.timeout(message.wait_s), self._changed:
                    await self._changed.wait_for(something_to_say)
        if self.trouble is not None:
            raise self.trouble
        given = self._ready[: message.want] if self._newest == number else []
        del self._ready[: len(given)]
        abort = [replica for replica in self._abort if replica in held]
        return ExchangeReply(
            acks=acks,
            units=[assignment for assignment, _ in given],
            batches={assignment.batch: batch for assignment, batch in given},
            abort=abort,
            retry_s=0.0 if given else self.retry_s,
            reason="" if given else self.reason,
            root_version=self._version(),
        )

    def _take(self, message: Exchange, position: int) -> Ack:
        assert message.proof is not None
        report = message.reports[position]
        signed = open_as(message.proof, ResultBatch, [self.key]).results[position]
        proven = "" if report.value is None else codec.digest(report.value)
        if (signed.replica, signed.value) != (report.replica, proven):
            return Ack(replica=report.replica, code="refused", message="the proof does not fit")
        if self._leases.get(report.replica) != signed.lease:
            return Ack(replica=report.replica, code="unknown")
        if report.replica in self.ended:
            return Ack(replica=report.replica, code="late")
        self.ended[report.replica] = (signed.status, signed.reason, report.value)
        self.order.append(report.replica)
        return Ack(replica=report.replica)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _version(self) -> int:
        return msgspec.json.decode(self.root.payload, type=Root).version

    def _unit(self, number: int, args: Any, changes: dict[str, Any]) -> UnitDocument:
        fields: dict[str, Any] = {
            "server_id": SERVER_ID,
            "unit": 100 + number,
            "run": hash_of(self.authorisation),
            "app": self.app,
            "args": codec.encode(args),
            "credit_milli": 1000,
            "cpu_s": 60.0,
            "wall_s": 60.0,
            "memory_bytes": 1 << 28,
            "disk_bytes": 1 << 24,
            "output_bytes": 1 << 16,
            "expires": time.time() + YEAR_S,
        }
        return UnitDocument(**(fields | changes))

    def _sign_root(self, version: int, **changes: Any) -> Envelope:
        now = time.time()
        code = CodeKey(key=self.code_key.public, name="lab", projects=["lab"], expires=now + YEAR_S)
        fields: dict[str, Any] = {
            "server_id": SERVER_ID,
            "version": version,
            "issued": now,
            "expires": now + YEAR_S,
            "root_key": self.root_key.public,
            "unit_keys": [self.unit_key.public],
            "code_keys": [code],
            "ca_keys": ["system"],
        }
        return seal(Root(**(fields | changes)), self.root_key)


class GatedRunner:
    """A runner that doubles its argument; while `gate` is closed, units wait in it and can be prodded."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.running: dict[int, Work] = {}
        self.cancelled: list[int] = []
        self.closed = False
        self.paused = False
        self.outcomes: Iterator[Outcome] = iter(())

    async def run(self, work: Work) -> Outcome:
        """Wait for the gate, then return the next of `outcomes`, or twice the argument."""
        replica = work.proven.lease.replica
        self.running[replica] = work
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(replica)
            raise
        finally:
            del self.running[replica]
        value = codec.encode(2 * codec.decode(work.proven.unit.args))
        return next(self.outcomes, Outcome("done", value, "", "", 0.5, 1.0))

    def pause(self) -> None:
        """Note that it stands still."""
        self.paused = True

    def resume(self) -> None:
        """Note that it goes on."""
        self.paused = False

    async def rest(self) -> None:
        """Nothing to give back."""

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True
