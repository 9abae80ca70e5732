"""Input files on this disk, by their hash: fetched before their unit starts, kept for the next one that reads them.

All that units in hand read is set aside at once, so that two of them never wait for each other's room. What no unit
uses stays until room is needed; the longest unused goes first. A file that an earlier client left is hashed before it
is used again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dsage.errors import BadSignature, Busy, RequestError, StorageFull, TooLarge, UnitFailed
from dsage.files import keeping
from dsage.inputs import InputFile, is_hash
from dsage_client.session import Session

FREE_BYTES: Final = 512 << 20
"""What input files leave free on the disk, whatever their own limit."""
PART: Final = ".part"
MODE: Final = 0o444
"""Whoever a box runs as may read the file, so that it can lie there under a second name instead of as a copy."""


class InputLost(UnitFailed):
    """The server does not have an input file of the unit, or has another one in its place."""

    code = "input"
    default_hint = "Nothing to do: the unit was handed back; the server's operator can put the file in its place."


@dataclass(slots=True)
class _File:
    bytes: int
    users: int = 0
    sound: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Inputs:
    """The folder of input files, which together take `most` bytes. Sizes are what was signed."""

    def __init__(self, session: Session, folder: Path, most: int) -> None:
        self.most = most
        self._session = session
        self._folder = folder
        self._files = _left(folder)

    async def take(self, wanted: Mapping[str, InputFile]) -> dict[str, Path]:
        """Return where the files lie, by name; they stay there until `release`. Nothing is taken if this raises.

        Raises InputLost, TooLarge if they are more than may ever be kept, StorageFull while others take the room,
        ServerAway and Busy.
        """
        if not wanted:
            return {}
        self._set_aside({file.sha256: file.bytes for file in wanted.values()})
        try:
            for file in {file.sha256: file for file in wanted.values()}.values():
                await self._complete(file)
        except BaseException:
            self.release(wanted)
            raise
        return {name: self._folder / file.sha256 for name, file in wanted.items()}

    def release(self, wanted: Mapping[str, InputFile]) -> None:
        """A unit needs its files no more."""
        for sha256 in {file.sha256 for file in wanted.values()}:
            self._files[sha256].users -= 1
            if not self._files[sha256].users and not any(path.exists() for path in self._paths(sha256)):
                del self._files[sha256]

    def _set_aside(self, sizes: Mapping[str, int]) -> None:
        """Make room for files and mark them as used, all of them or none."""
        total = sum(sizes.values())
        if total > self.most:
            raise TooLarge(f"the inputs of one unit have {total} bytes; this computer keeps {self.most} at most")
        known = self._files
        need = sum(max(0, size - known[name].bytes) if name in known else size for name, size in sizes.items())
        room = min(self.most - sum(file.bytes for file in known.values()), self._free())
        idle = [name for name, file in known.items() if not file.users and name not in sizes]
        going: list[str] = []
        for name in idle:
            if room >= need:
                break
            going.append(name)
            room += known[name].bytes
        if room < need:
            raise StorageFull(f"there is no room for {need} bytes of input files beside those in use")
        self._drop(going)
        for name, size in sizes.items():
            file = known.pop(name, None) or _File(size)
            file.bytes = max(file.bytes, size)
            file.users += 1
            known[name] = file

    def _free(self) -> int:
        """Return how much may be added to the disk."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return shutil.disk_usage(self._folder).free - FREE_BYTES
        except OSError as error:
            raise StorageFull(f"{self._folder} cannot be used: {error.strerror or error}") from error

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self._files[name]
            for path in self._paths(name):
                with keeping(path):
                    path.unlink(missing_ok=True)

    def _paths(self, sha256: str) -> tuple[Path, Path]:
        return self._folder / sha256, self._folder / f".{sha256}{PART}"

    async def _complete(self, file: InputFile) -> None:
        """Fetch a file that is not here whole."""
        kept, path = self._files[file.sha256], self._folder / file.sha256
        async with kept.lock:
            if await asyncio.to_thread(_stands, path, file, hashed=kept.sound):
                kept.sound = True
                return
            kept.sound = False
            try:
                await self._session.blob(file.sha256, file.bytes, path)
            except Busy:
                raise
            except (RequestError, BadSignature) as error:
                raise InputLost(f"its input {file.sha256[:12]} cannot be had: {error.message}") from error
            await asyncio.to_thread(os.chmod, path, MODE)
            kept.sound = True


def _stands(path: Path, file: InputFile, *, hashed: bool) -> bool:
    """Whether a whole file is there, and note that it is in use; any other thing of its name is removed."""
    try:
        seen = path.lstat()
        good = stat.S_ISREG(seen.st_mode) and seen.st_size == file.bytes
        if good and not hashed:
            with path.open("rb") as content:
                good = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
        if good:
            os.chmod(path, MODE)
            os.utime(path)
            return True
        _remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageFull(f"{path} cannot be read: {error.strerror or error}") from error
    return False


def _left(folder: Path) -> dict[str, _File]:
    """Return what an earlier client left, the longest unused first; what is no input file is removed."""
    found: list[tuple[float, str, int]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        seen, name = path.lstat(), path.name.removeprefix(".").removesuffix(PART)
        if stat.S_ISREG(seen.st_mode) and is_hash(name) and path.name in (name, f".{name}{PART}"):
            found.append((seen.st_mtime, name, seen.st_size))
        else:
            _remove(path)
    files: dict[str, _File] = {}
    for _, name, size in sorted(found):
        known = files.pop(name, None)
        files[name] = _File(size + (known.bytes if known else 0))
    return files


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
