"""What a simulated host says, and what it understands of the replies: only what it needs of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from dsage import wire
from dsage.trust.documents import ResultBatch, SignedResult
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey

INFO: Final = wire.HostInfo(
    client="fleet", platform="simulated", cores=1, memory_bytes=1 << 33, sandbox="none", offers=["python"]
)


class Given(msgspec.Struct):
    """Of an Assignment."""

    replica: int
    lease: bytes
    document: bytes


class Acked(msgspec.Struct):
    """Of an Ack."""

    replica: int
    code: str = "ok"


class Reply(msgspec.Struct):
    """Of an ExchangeReply."""

    acks: list[Acked] = []
    units: list[Given] = []
    abort: list[int] = []
    retry_s: float = 0.0


class _Unit(msgspec.Struct):
    unit: int
    app: str
    args: bytes


@dataclass(slots=True)
class Task:
    """A copy that a host holds."""

    replica: int
    lease: bytes
    unit: int
    app: str
    args: bytes


@dataclass(slots=True)
class Answer:
    """A finished copy: what is reported of it, and what is signed."""

    unit: int
    report: wire.Report
    entry: SignedResult


def tasks(reply: Reply) -> list[Task]:
    """Return the copies that a reply brings."""
    found = []
    for given in reply.units:
        unit = _units.decode(given.document)
        found.append(Task(given.replica, given.lease, unit.unit, unit.app, unit.args))
    return found


def answer(task: Task, value: bytes | None, status: str, reason: str) -> Answer:
    """Return a finished copy with the canonical bytes of its value."""
    entry = SignedResult(
        replica=task.replica, lease=task.lease, unit=task.unit, app=task.app, status=status,
        value="" if value is None else hashlib.sha256(value).hexdigest(), reason=reason,
    )  # fmt: skip
    return Answer(task.unit, wire.Report(replica=task.replica, value=value, cpu_s=1.0, wall_s=1.0), entry)


def exchange(
    server_id: str, key: PrivateKey, answers: Sequence[Answer], held: Sequence[Task], want: int, wait_s: float,
    *, first: bool,
) -> bytes:  # fmt: skip
    """Return the body of a call that reports these answers, signed, and asks for `want` more copies."""
    call = wire.Exchange(want=want, wait_s=wait_s, host=INFO if first else None)
    if held:
        call.holding = [wire.Holding(replica=task.replica, lease=task.lease, cpu_s=1.0) for task in held]
    if answers:
        call.reports = [each.report for each in answers]
        results = [each.entry for each in answers]
        call.proof = seal(ResultBatch(server_id=server_id, key=key.public, results=results), key)
    return _encoder.encode(call)


def understood(body: bytes) -> Reply:
    """Return what a host needs of a reply. Raises msgspec.DecodeError for anything else."""
    return _replies.decode(body)


_encoder = msgspec.msgpack.Encoder()
_replies = msgspec.msgpack.Decoder(Reply)
_units = msgspec.json.Decoder(_Unit)
