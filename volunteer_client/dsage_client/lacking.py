"""App versions that this computer's processor cannot run: remembered, so that each is tried once and never again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from dsage.codec import digest
from dsage.errors import StorageFull
from dsage.files import write_whole
from dsage.sandbox.offers import instructions

MOST: Final = 1000
"""The oldest are forgotten then: a server does not fill the disk with them."""


class _Kept(msgspec.Struct):
    processor: str
    apps: list[str]


class Lacking:
    """The list, kept in a file for the processor that it was made on: on another one it begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._processor = digest("\n".join(sorted(instructions())).encode())
        self._apps: dict[str, None] = {}
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return
        if kept.processor == self._processor:
            self._apps = dict.fromkeys(kept.apps)

    def __contains__(self, app: str) -> bool:
        return app in self._apps

    def add(self, app: str) -> None:
        """Remember an app version by its hash. Raises StorageFull if that lasts only until this client ends."""
        self._apps[app] = None
        while len(self._apps) > MOST:
            del self._apps[next(iter(self._apps))]
        try:
            kept = _Kept(self._processor, list(self._apps))
            write_whole(self._path, msgspec.json.encode(kept), private=True, durable=False)
        except OSError as error:
            raise StorageFull(f"{self._path} cannot be written: {error.strerror}") from error
