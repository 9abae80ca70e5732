"""The one call of a client, and its reply."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dsage.account import Count, Message, Seconds
from dsage.trust.envelope import Envelope
from dsage.wire.limits import MANY

MAX_BATCH: Final = 50
"""Replicas per call, either way."""
INPUTS: Final = "inputs"
"""The feature of hosts that can fetch input files: others get no units that have any."""
AGREEMENT: Final = "agreement"
"""The feature of hosts that can read in a manifest how answers are compared (its rule, `homogeneous`): others get no
units of such apps."""
PERTURBED: Final = "perturbed"
"""The feature of hosts that perturb each copy of a unit where its app can: others get no units of such apps."""
MAX_OUTPUT: Final = 16 << 10
"""What is kept of what a replica prints (bytes): its end."""


class Report(Message):
    """One finished replica. Its proof is the entry with the same number in the signed ResultBatch.

    `output` is the end of what it printed (at most MAX_OUTPUT bytes): for people to read, no part of the answer.
    """

    replica: Count
    value: bytes | None = None
    cpu_s: Seconds = 0.0
    wall_s: Seconds = 0.0
    detail: str = ""
    output: bytes = b""


class Holding(Message):
    """A replica that the client holds: `cpu_s` is how far its child process has come.

    `output` is the end of what it has printed, if that is more than when the server last heard of it.
    """

    replica: Count
    lease: bytes
    cpu_s: Seconds = 0.0
    suspended: bool = False
    output: bytes = b""


class HostInfo(Message):
    """What a host offers: `offers` names Python packages, `tags` are labels that its owner gave it.

    `features` names what its client can do that older ones cannot. `name` is what its owner calls it among their own
    computers: nobody else sees it, and it is empty unless they gave one. `refuses` are projects it does nothing for.
    """

    client: str
    platform: str
    cores: Count
    memory_bytes: Count
    sandbox: str
    offers: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    disk_bytes: Count = 0
    tags: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    features: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    refuses: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []


class Exchange(Message):
    """Report what is done, say what is held, ask for more: the one call of a client.

    `want` is how many further replicas to send (at most MAX_BATCH). With `wait_s` above zero and nothing to say,
    the server holds the call until there is work, something to abort, or the time is over. A newer call of the
    same host ends an older one that is being held.
    """

    reports: Annotated[list[Report], MANY] = []
    proof: Envelope | None = None
    holding: Annotated[list[Holding], MANY] = []
    want: Count = 0
    wait_s: Seconds = 0.0
    host: HostInfo | None = None


class Assignment(Message):
    """A leased replica and the proof of its unit; `batch` names an envelope in ExchangeReply.batches."""

    replica: Count
    lease: bytes
    deadline_s: Seconds
    document: bytes
    index: Count
    path: list[bytes]
    batch: str


class Ack(Message):
    """What became of one report: code "ok", or why it was not taken (the client forgets it either way)."""

    replica: int
    code: str = "ok"
    message: str = ""


class ExchangeReply(Message):
    """What the server says to an Exchange.

    Where there is nothing to do, `reason` says why in one sentence and `reasons` by project; `retry_s` is when to ask
    again. Should the server be away later, a client waits a time drawn from 0 to `spread_s` before its first try.
    """

    acks: list[Ack] = []
    units: list[Assignment] = []
    batches: dict[str, Envelope] = {}
    abort: list[int] = []
    retry_s: Seconds = 0.0
    reason: str = ""
    reasons: dict[str, str] = {}
    spread_s: Seconds = 0.0
    root_version: int = 0
