"""What a box protects, how sure we are of it, and how one call in it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias


class Level(StrEnum):
    """How strangers' code is held, strongest first."""

    BUBBLEWRAP = "bubblewrap"
    """Own namespaces: no network, no file of the host but the runtime, a system call filter, limits."""
    LANDLOCK = "landlock"
    """Landlock, the filter and limits inside the host's namespaces: weaker, for reviewed code only."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a self-test; `sentence` says it to people, with what to do if it failed."""

    level: Level | None
    passed: bool
    failures: tuple[str, ...]
    sentence: str


Status: TypeAlias = Literal["done", "failed", "limit", "stopped", "broken"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    `status` is "done" (then `value` holds codec bytes), "failed" (the app's own doing), "limit" (it used more than
    it may), "stopped" (the box was closed) or "broken" (the box could not do its work). `reason` is a code:
    "exception", "crash", "codec", "instruction" (this computer's processor lacks one that the app uses), "cpu",
    "wall", "memory", "disk", "output", "processes", "closed" or "sandbox"; empty when done. `detail` ends a traceback
    or log, at most 4 kB. `cpu_s` counts everything the call started; `wall_s` leaves out the time it was paused.
    `output` is the end of what it printed.
    """

    status: Status
    value: bytes | None
    reason: str
    detail: str
    cpu_s: float
    wall_s: float
    output: bytes = b""
