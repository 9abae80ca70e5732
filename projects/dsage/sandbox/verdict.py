"""How one call in a box ended: from what it answered, what the warm parent says, and what the host saw."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from dataclasses import dataclass
from typing import Any, Final

from dsage import codec
from dsage.errors import CodecError, TooLarge
from dsage.function import Limits
from dsage.sandbox import frames
from dsage.sandbox.level import Status
from dsage.sandbox.printed import Printed

NO_INSTRUCTION: Final = (
    "it was built for processors with instructions that this computer's lacks; other computers may well have them"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a call was ended, or what it answered."""

    status: Status
    reason: str = ""
    detail: str = ""
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The warm parent's word on its child: wait status, processor time (s)."""

    status: int
    cpu_s: float

    @classmethod
    def read(cls, value: dict[str, Any]) -> Report | None:
        """Return what a message says, None if it is nonsense."""
        match value:
            case {"status": int(status), "cpu_s": float(cpu_s)} if math.isfinite(cpu_s) and cpu_s >= 0:
                return cls(status, cpu_s)
        return None


def judged(talk: asyncio.Task[Verdict | None], report: Report | None, printed: Printed) -> Verdict:
    """Return how a call ended whose channel has closed or brought an answer."""
    try:
        verdict = talk.result()
    except TooLarge as error:
        return Verdict("limit", "output", error.message)
    except CodecError as error:
        return Verdict("failed", "codec", error.message)
    if verdict is not None:
        return verdict
    if report is None:
        return Verdict("failed", "crash", "the processes of the box ended")
    words = printed.tail(frames.MAX_DETAIL).decode("utf-8", "replace")
    if os.WIFSIGNALED(report.status):
        number = os.WTERMSIG(report.status)
        if number == signal.SIGXCPU:
            return Verdict("limit", "cpu", words)
        if number == signal.SIGILL:
            return Verdict("failed", "instruction", f"{words}\n{NO_INSTRUCTION}".strip())
        return Verdict("failed", "crash", f"{words}\nkilled by {_signal_name(number)}".strip())
    status = os.WEXITSTATUS(report.status)
    return Verdict("failed", "crash", f"{words}\nended without an answer (exit status {status})".strip())


def beyond(limits: Limits, *, wall_s: float, cpu_s: float, memory_bytes: int) -> Verdict | None:
    """Return the verdict on a call that has used so much, None if it may go on."""
    if wall_s > limits.wall_s:
        return Verdict("limit", "wall", f"more than {limits.wall_s:g} s")
    if cpu_s > limits.cpu_s:
        return Verdict("limit", "cpu", f"more than {limits.cpu_s:g} s of processor time")
    if memory_bytes > limits.memory_bytes:
        return Verdict("limit", "memory", f"more than {limits.memory_bytes} bytes of memory")
    return None


def failed(reason: str, detail: str) -> Verdict:
    """Return the verdict on a call that says why it failed."""
    if reason in ("memory", "disk", "output"):
        return Verdict("limit", reason, detail)
    return Verdict("failed", reason if reason in ("codec", "instruction") else "exception", detail)


def canonical(body: bytes) -> bytes:
    """Return `body` if it is a value in canonical form, the only one that agreement compares."""
    if codec.encode(codec.decode(body)) != body:
        raise CodecError("a value that is not in its canonical form")
    return body


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
