"""A run in a file: its source, its state and what is left of it, to go on at another place.

The file is data but for the source, which is what `dsage submit` would have sent: restore only what you would run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from dsage import codec, shipping
from dsage.bundle import Bundle
from dsage.errors import BundleError, NotFound, UsageError
from dsage.files import write_whole
from dsage.function import DistributedFunction, Limits, Unit
from dsage.stepping import OUR_KEYS
from dsage.wire import NewUnit

FORMAT: Final = "dsage.saved/1"


class Saved(msgspec.Struct, kw_only=True):
    """What the file holds, as MessagePack."""

    format: str = FORMAT
    title: str
    entry: str
    bundle: bytes
    params: bytes
    state: bytes
    units: list[NewUnit]

    def packed(self) -> Bundle:
        """Return the source as a bundle, its class imported apart from everything else. Raises BundleError."""
        kind = shipping.load(self.bundle, self.entry)
        return Bundle(self.bundle, codec.digest(self.bundle), self.entry, kind)

    def function(self, kind: type[DistributedFunction]) -> DistributedFunction:
        """Return the object that drives on: it makes the units that are left before any others."""
        made: type[DistributedFunction] = type(kind.__name__, (Rest, kind), {"title": self.title})
        function = made.__new__(made)
        DistributedFunction.__init__(function)
        function.load_state(self.state)
        function._left = [_again(unit) for unit in reversed(self.units)]  # type: ignore[attr-defined]
        return function


class Rest(DistributedFunction):
    """Makes what is left of a saved run first. The server makes a unit of the same key once only."""

    _left: list[Unit[Any]]

    def next_job(self) -> Any:
        """Return a unit that is left, then what the author's own `next_job` returns."""
        return self._left.pop() if self._left else super().next_job()


def write(path: Path, saved: Saved) -> Path:
    """Write the file, whole or not at all. Raises UsageError."""
    try:
        write_whole(path, msgspec.msgpack.encode(saved))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return path


def read(path: Path) -> tuple[Saved, str]:
    """Return what a file holds, and its SHA-256. Raises NotFound or BundleError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", hint="Give a file that save() wrote.") from error
    try:
        saved = msgspec.msgpack.decode(data, type=Saved)
    except msgspec.DecodeError as error:
        raise BundleError(f"{path} is not a saved run: {error}", hint="Give a file that save() wrote.") from None
    if saved.format != FORMAT:
        raise BundleError(f"{path} is a saved run of another kind: {saved.format[:40]!r}", hint="Update DSage.")
    return saved, codec.digest(data)


def _again(new: NewUnit) -> Unit[Any]:
    limits = Limits(
        cpu_s=new.cpu_s, wall_s=new.wall_s, memory_bytes=new.memory_bytes, disk_bytes=new.disk_bytes,
        output_bytes=new.output_bytes,
    )  # fmt: skip
    return Unit(
        codec.decode(new.args), key=f"saved.{new.key}" if OUR_KEYS.fullmatch(new.key) else new.key, group=new.group,
        credit=new.credit_milli / 1000, quorum=new.quorum, deadline_s=new.deadline_s, limits=limits, inputs=new.inputs,
        retries=new.retries, adaptive=new.adaptive,
    )  # fmt: skip
