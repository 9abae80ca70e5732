"""Finished results, kept until the server has acknowledged them.

One file per replica, named by a running number, so that the order survives a restart. What does not fit on the
disk stays in memory until it does; it can be reported from there all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from dsage.codec import digest
from dsage.errors import StorageFull
from dsage.trust.documents import SignedResult
from dsage.wire import MAX_BATCH, Report
from dsage_client.checked import read_checked, set_aside, write_checked

SUFFIX: Final = ".result"
MAX_CALL_BYTES: Final = 16 << 20
"""Values sent in one call: half of what a server takes, so that proofs and framing fit beside them."""
MAX_WAITING: Final = 4 * MAX_BATCH
MAX_WAITING_BYTES: Final = 256 << 20
"""What may lie here before more work is fetched: a server that acknowledges nothing does not fill the disk."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One finished replica: what goes into its report, and what the client signs about it."""

    replica: int
    lease: bytes
    unit: int
    app: str
    status: str
    value: bytes | None = None
    reason: str = ""
    detail: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    output: bytes = b""
    project: str = ""

    def report(self) -> Report:
        """Return what the server is told."""
        return Report(
            replica=self.replica,
            value=self.value,
            cpu_s=self.cpu_s,
            wall_s=self.wall_s,
            detail=self.detail,
            output=self.output,
        )

    def signed(self) -> SignedResult:
        """Return what the client stands by."""
        return SignedResult(
            replica=self.replica,
            lease=self.lease,
            unit=self.unit,
            app=self.app,
            status=self.status,
            value="" if self.value is None else digest(self.value),
            reason=self.reason,
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Finished)


class Spool:
    """The folder of finished results. `full` is true while something could only be kept in memory."""

    def __init__(self, folder: Path, damaged: Path, tell_damage: Callable[[str], None]) -> None:
        self._folder = folder
        self._entries: dict[int, tuple[int, Finished]] = {}
        self._unsaved: set[int] = set()
        self._next = 1
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.name.startswith("."):
                path.unlink()
                continue
            number, entry = self._read(path)
            if entry is None:
                kept = set_aside(path, damaged)
                tell_damage(f"a finished result was damaged on disk and cannot be sent; it lies in {kept}")
                continue
            self._entries[entry.replica] = (number, entry)
            self._next = max(self._next, number + 1)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, replica: int) -> bool:
        return replica in self._entries

    @property
    def full(self) -> bool:
        """Whether the disk refused a result that is now only in memory."""
        return bool(self._unsaved)

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be acknowledged that no more work should be begun."""
        size = sum(len(entry.value or b"") for _, entry in self._entries.values())
        return len(self._entries) >= MAX_WAITING or size >= MAX_WAITING_BYTES

    def put(self, entry: Finished) -> None:
        """Keep a result. Raises StorageFull when it could only be kept in memory (it is kept all the same)."""
        number = self._entries[entry.replica][0] if entry.replica in self._entries else self._next
        self._next = max(self._next, number + 1)
        self._entries[entry.replica] = (number, entry)
        self._unsaved.add(entry.replica)
        self._save(entry.replica)

    def settle(self) -> None:
        """Write to disk what is only in memory. Raises StorageFull if there is still no room."""
        for replica in sorted(self._unsaved, key=lambda replica: self._entries[replica][0]):
            self._save(replica)

    def batch(self, most: int = 0) -> list[Finished]:
        """Return the oldest results that fit into one call, `most` at most unless 0, in the order of finishing."""
        chosen: list[Finished] = []
        size = 0
        for _, entry in sorted(self._entries.values(), key=lambda pair: pair[0])[: most or MAX_BATCH]:
            size += len(entry.value or b"")
            if chosen and size > MAX_CALL_BYTES:
                break
            chosen.append(entry)
        return chosen

    def waiting(self) -> list[Finished]:
        """Return every result that has not been acknowledged, oldest first."""
        return [entry for _, entry in sorted(self._entries.values(), key=lambda pair: pair[0])]

    def forget(self, replica: int) -> Finished | None:
        """Drop a result that the server has acknowledged; None if there is none of that number.

        What a disk keeps that may only be read is sent once more after the next start, and acknowledged again.
        """
        found = self._entries.pop(replica, None)
        if found is None:
            return None
        self._unsaved.discard(replica)
        with suppress(OSError):
            self._path(*found).unlink(missing_ok=True)
        return found[1]

    def _path(self, number: int, entry: Finished) -> Path:
        return self._folder / f"{number:012d}-{entry.replica}{SUFFIX}"

    def _save(self, replica: int) -> None:
        number, entry = self._entries[replica]
        try:
            write_checked(self._path(number, entry), _encoder.encode(entry), durable=True)
        except StorageFull as error:
            raise StorageFull(
                f"a finished result cannot be saved ({error.message}); it is kept in memory and no new work is "
                "fetched until there is room"
            ) from error
        self._unsaved.discard(replica)

    def _read(self, path: Path) -> tuple[int, Finished | None]:
        number, _, _ = path.name.partition("-")
        data = read_checked(path)
        if data is None or not number.isdecimal():
            return 0, None
        try:
            return int(number), _decoder.decode(data)
        except msgspec.DecodeError:
            return 0, None
