"""Why a client computes or does not: one word each, and what a decision looks like."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """The reason for what a client does now. `sentences.sentence` says each in words, in the owner's language."""

    WORKING = "working"
    FINISHING = "finishing"  # what is begun goes on to its end, nothing new is begun
    NO_WORK = "no-work"  # the servers have nothing for this computer
    CONNECTING = "connecting"
    SERVER_AWAY = "server-away"
    NOT_JOINED = "not-joined"
    IN_USE = "in-use"  # somebody is at the computer
    UNKNOWN_USE = "unknown-use"  # nothing here can tell whether somebody is
    FILM = "film"  # a program asked that the computer not count as idle
    FULL_SCREEN = "full-screen"
    EXCLUSIVE_APP = "exclusive-app"
    WAKING = "waking"  # the computer has just come back from sleep
    BATTERY = "battery"
    BUSY = "busy"  # other programs need the processor
    MEMORY = "memory"
    HOT = "hot"
    DISK = "disk"
    SCHEDULE = "schedule"
    NETWORK_HOURS = "network-hours"  # nothing may be fetched at this hour
    PAUSED = "paused"  # by the owner
    NEVER = "never"
    FINISHED = "finished"  # the owner asked to stop when the last unit was done
    FAILING = "failing"  # five units in a row failed: that project rests
    NO_SANDBOX = "no-sandbox"
    TOO_OLD = "too-old"
    TROUBLE = "trouble"
    STOPPED = "stopped"  # no agent runs


class Work(StrEnum):
    """What may be done with units now."""

    RUN = "run"
    FINISH = "finish"  # begin nothing new
    HOLD = "hold"  # stopped where they are, in memory
    LEAVE = "leave"  # ended; they go on later from their last checkpoint


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A decision: what may be done, why, and with how much of the computer.

    `until` (Unix seconds) is when the reason ends by itself, or while units run when they may have another part; None
    if only something that happens can change it. `said` holds what the sentence names: a program, a temperature.
    `fetch` says whether the network may be used for new work, `send` whether for finished answers. `cores` is how many
    units may run at a time and `percent` how much of each core they may take.
    """

    work: Work
    reason: Reason
    said: dict[str, str | float] = {}
    until: float | None = None
    fetch: bool = True
    send: bool = True
    cores: int = 0
    percent: int = 100
