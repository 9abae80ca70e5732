"""What the owner chose for now: a pause, finishing. Kept in a file, so that it survives a restart."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dsage.files import write_whole


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A pause. It ends when `up` seconds of the computer's own clock since the boot `boot` have passed; after another
    boot, or if there is no `up`, at the wall clock's `until` (Unix seconds); without either only by the owner."""

    boot: str = ""
    up: float | None = None
    until: float | None = None


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's choices: a pause; `finish` begins nothing new and stops when the last unit is done; until
    `always_until` it computes beside the owner (Unix seconds)."""

    pause: Pause | None = None
    finish: bool = False
    always_until: float | None = None

    def save(self, path: Path) -> None:
        """Write them, whole. Raises OSError."""
        write_whole(path, msgspec.json.encode(self), private=True)


def load(path: Path) -> Choices:
    """Return what is kept in a file. What cannot be read is a pause until the owner says otherwise: the safe side."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Choices)
    except FileNotFoundError:
        return Choices()
    except (OSError, msgspec.DecodeError):
        return Choices(pause=Pause())
