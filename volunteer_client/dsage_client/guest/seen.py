"""What a client sees of its computer before it decides: plain values, read by `readings` and by session helpers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

Quality: TypeAlias = Literal["event", "poll", "none"]
"""How a sensor knows: it is told at once, it has to ask again and again, or it does not know."""


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What one session of this computer knows of its user. A helper sends it, or the agent's own sensor has it.

    `idle_s` is how long nobody has touched anything (None: unknown). `film` names what asked that the computer not
    count as idle ("" if nothing did). `sensor` names who says so.
    """

    idle_s: float | None
    quality: Quality = "none"
    sensor: str = ""
    film: str = ""
    full_screen: bool = False
    locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A computer at one moment. Unknown is None, and never counts in favour of computing.

    `now` is Unix seconds and `up` seconds of a clock that goes on during sleep and is never set. `others` is the share
    (0..1 of all cores) that programs other than ours used of late; `memory` the share of physical memory that is
    available, `pressed` whether programs wait for memory. `apps` are those exclusive apps of the preferences that run.
    `disk_full` says that nothing can be kept, `read_only` that this is because the disk may only be read.
    `awake_s` is how long ago the computer last slept (None: not since the start). `boot` names this run of the system
    ("": unknown).
    """

    now: float
    up: float
    cores: int
    presence: tuple[Presence, ...] = ()
    on_battery: bool = False
    others: float | None = None
    memory: float | None = None
    pressed: bool = False
    celsius: float | None = None
    apps: frozenset[str] = frozenset()
    disk_full: bool = False
    read_only: bool = False
    awake_s: float | None = None
    boot: str = ""
