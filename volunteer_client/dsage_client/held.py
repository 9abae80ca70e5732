"""Leases that this client holds, with their checkpoints, so that a killed client goes on where it was.

Unlike a finished result, a lease may be lost: its unit then goes to somebody else. So these files are written
whole but not forced to the disk; a checksum finds what a power cut tore.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from dsage.trust.envelope import Envelope
from dsage_client.checked import read_checked, set_aside, write_checked

T = TypeVar("T")

LEASE: Final = ".lease"
CHECKPOINT: Final = ".checkpoint"


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A leased replica with all that proves its unit. `deadline_s` counts from when it was handed out."""

    replica: int
    lease: bytes
    deadline_s: float
    document: bytes
    index: int
    path: list[bytes]
    batch: Envelope


class Checkpoint(msgspec.Struct, frozen=True):
    """What an app last kept, after `cpu_s` seconds of its child's CPU time."""

    state: bytes
    cpu_s: float


_encoder = msgspec.msgpack.Encoder()
_leases = msgspec.msgpack.Decoder(Lease)
_checkpoints = msgspec.msgpack.Decoder(Checkpoint)


class Held:
    """The folder of leases: `N.lease`, and beside it `N.checkpoint` once there is one."""

    def __init__(self, folder: Path, damaged: Path, tell_damage: Callable[[str], None]) -> None:
        self._folder = folder
        self._damaged = damaged
        self._tell_damage = tell_damage

    def keep(self, lease: Lease) -> None:
        """Remember a lease. Raises StorageFull."""
        write_checked(self._file(lease.replica, LEASE), _encoder.encode(lease), durable=False)

    def checkpoint(self, replica: int, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a replica. Raises StorageFull; the one before it stays."""
        write_checked(self._file(replica, CHECKPOINT), _encoder.encode(checkpoint), durable=False)

    def drop(self, replica: int) -> None:
        """Forget a lease and its checkpoint. What a disk keeps that may only be read is put right with the server at
        the next start."""
        for suffix in (CHECKPOINT, LEASE):
            with suppress(OSError):
                self._file(replica, suffix).unlink(missing_ok=True)

    def load(self) -> list[tuple[Lease, Checkpoint | None]]:
        """Return what an earlier client left, by replica number; damaged files are moved aside and told."""
        found: list[tuple[Lease, Checkpoint | None]] = []
        for path in self._folder.glob("*" + LEASE):
            lease = self._read(path, _leases, "a lease was damaged on disk; its unit goes to another computer")
            if lease is None:
                continue
            file = path.with_suffix(CHECKPOINT)
            sentence = "a checkpoint was damaged on disk; its unit starts from the beginning"
            found.append((lease, self._read(file, _checkpoints, sentence) if file.exists() else None))
        leased = {lease.replica for lease, _ in found}
        for path in self._folder.glob("*"):
            if not path.stem.isdecimal() or int(path.stem) not in leased:
                path.unlink()
        return sorted(found, key=lambda pair: pair[0].replica)

    def _file(self, replica: int, suffix: str) -> Path:
        return self._folder / f"{replica}{suffix}"

    def _read(self, path: Path, decoder: msgspec.msgpack.Decoder[T], sentence: str) -> T | None:
        data = read_checked(path)
        if data is not None:
            try:
                return decoder.decode(data)
            except msgspec.DecodeError:
                pass
        self._tell_damage(f"{sentence} (kept in {set_aside(path, self._damaged)})")
        return None
