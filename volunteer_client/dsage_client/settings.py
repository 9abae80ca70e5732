"""Everything about a client that a person or a test may want to change, in one place, read once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dsage.wire import MAX_WAIT_S

SHUTDOWN_CALL_S: Final = 2.0
"""How long the last call may take when the client is told to stop: people wait for their prompt."""


def cores() -> int:
    """Return how many cores this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A client's settings. Durations are in seconds, sizes in bytes.

    `folder` is private to one client's part for one server and holds all that must survive it. `station` is the folder
    that the parts of a client share, with what belongs to the whole of it; it is `folder` itself for a part alone.
    `own_work` accepts a weaker sandbox, because the server is the owner's own. `checkpoint_every_s` is how often the
    latest checkpoint of a running unit goes to disk. `input_bytes` is how much disk the input files of units may
    take. `tags` are labels of this computer: researchers may ask for computers that have one.
    """

    folder: Path
    station: Path | None = None
    slots: int = field(default_factory=cores)
    own_work: bool = False
    wait_s: float = MAX_WAIT_S
    backoff_low_s: float = 0.5
    backoff_high_s: float = 60.0
    checkpoint_every_s: float = 5.0
    units_per_box: int = 200
    input_bytes: int = 4 << 30
    niceness: int = 19
    tags: tuple[str, ...] = ()

    @property
    def key_file(self) -> Path:
        """The client's private key."""
        return self.folder / "client.key"

    @property
    def membership_file(self) -> Path:
        """Which server this client belongs to, and what it pinned."""
        return self.folder / "membership.json"

    @property
    def root_file(self) -> Path:
        """The newest root.json that was believed."""
        return self.folder / "root.json"

    def of(self, server_id: str) -> Settings:
        """Return the settings of the part that works for one server."""
        return replace(self, folder=self.servers / server_id, station=self.shared)

    @property
    def shared(self) -> Path:
        """The folder of the whole client."""
        return self.folder if self.station is None else self.station

    @property
    def servers(self) -> Path:
        """The folder with a part for each server."""
        return self.shared / "servers"

    @property
    def lock_file(self) -> Path:
        """Held by the running client."""
        return self.shared / "lock"

    @property
    def preferences_file(self) -> Path:
        """What the owner wants."""
        return self.shared / "preferences.json"

    @property
    def choices_file(self) -> Path:
        """What the owner chose for now."""
        return self.shared / "choices.json"

    @property
    def status_file(self) -> Path:
        """What the client does, for the session helper and the screensaver."""
        return self.shared / "status.json"

    @property
    def log_file(self) -> Path:
        """What happened, line by line."""
        return self.shared / "log"

    @property
    def done_file(self) -> Path:
        """The units that ended here last."""
        return self.shared / "done.jsonl"

    @property
    def spool(self) -> Path:
        """Finished results that the server has not acknowledged."""
        return self.folder / "spool"

    @property
    def held(self) -> Path:
        """Leases with their checkpoints."""
        return self.folder / "held"

    @property
    def damaged(self) -> Path:
        """Where files that fail their checksum are moved, for people to look at."""
        return self.folder / "damaged"

    @property
    def cache(self) -> Path:
        """Documents and bundles by their hash."""
        return self.folder / "cache"

    @property
    def inputs(self) -> Path:
        """Input files of units, by their hash."""
        return self.folder / "inputs"

    @property
    def lacking_file(self) -> Path:
        """App versions that this computer's processor cannot run."""
        return self.folder / "lacking.json"

    @property
    def work(self) -> Path:
        """The sandbox's working space, or a link to it; gone when no client runs."""
        return self.shared / "work"
