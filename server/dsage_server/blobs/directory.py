"""Objects as files of a directory, flushed to the disk before anybody hears of them."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from dsage.errors import Busy, NotFound, StorageFull
from dsage.threads import opened, step
from dsage_server.blobs.objects import CHUNK_BYTES, Stored

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LISTED: Final = 1000


class DirectoryStore:
    """A directory of objects; a name's slashes are folders."""

    def __init__(self, root: Path, *, min_free_bytes: int) -> None:
        self._root = root
        self._new = root / "new"
        self._min_free = min_free_bytes
        with _told():
            self._new.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file under a passing name, flush it, and give it its own name."""
        fresh = self._new / secrets.token_hex(8)
        try:
            async with opened(_create, fresh) as file:
                async for chunk in chunks:
                    await step(_write, file, chunk)
                await step(_flush, file)
            await step(_publish, fresh, self._root / name)
        finally:
            await asyncio.to_thread(_remove, fresh)

    async def open(self, name: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield a part of a file."""
        async with opened(_open, self._root / name, start) as file:
            left = end - start
            while left > 0:
                chunk = await step(_read, file, min(left, CHUNK_BYTES))
                if not chunk:
                    raise NotFound("this object ends before it should")
                left -= len(chunk)
                yield chunk

    async def size(self, name: str) -> int | None:
        """Ask the file system."""
        return await asyncio.to_thread(_size, self._root / name)

    async def delete(self, names: Iterable[str]) -> None:
        """Unlink files."""
        for name in names:
            await asyncio.to_thread(_remove, self._root / name)

    async def list(self) -> AsyncIterator[list[Stored]]:
        """Walk the directory; files that are still being written are listed too, under their passing names."""
        walk = self._walk()
        while found := await asyncio.to_thread(_some, walk):
            yield found

    async def room(self, size: int) -> None:
        """Compare with the free space of the disk."""
        free = (await asyncio.to_thread(shutil.disk_usage, self._root)).free
        if free - size < self._min_free:
            raise StorageFull(
                f"{size} more bytes do not fit: {free} are free, and {self._min_free} of them stay so",
                hint="Free some disk space on the server, or keep its blobs elsewhere (`dsage serve --blobs`).",
            )

    def _walk(self) -> Iterator[Stored]:
        for folder, _, files in os.walk(self._root):
            for file in files:
                path = Path(folder, file)
                try:
                    written = path.stat().st_mtime
                except FileNotFoundError:
                    continue
                yield Stored(name=path.relative_to(self._root).as_posix(), written=written)


@contextmanager
def _told() -> Iterator[None]:
    """Say in our words what the system refuses."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("there is no such object") from None
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"the server cannot keep this: {error.strerror}") from error
        raise Busy(f"the server's directory of blobs failed: {error.strerror or error}") from error


def _create(path: Path) -> BinaryIO:
    with _told():
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


def _size(path: Path) -> int | None:
    with _told():
        return path.stat().st_size if path.exists() else None


def _open(path: Path, start: int) -> BinaryIO:
    with _told():
        file = path.open("rb", buffering=0)
        file.seek(start)
        return file


def _read(file: BinaryIO, size: int) -> bytes:
    with _told():
        return file.read(size)


def _write(file: BinaryIO, data: bytes) -> None:
    with _told():
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def _flush(file: BinaryIO) -> None:
    with _told():
        os.fsync(file.fileno())


def _publish(fresh: Path, path: Path) -> None:
    with _told():
        made = not path.parent.is_dir()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(fresh, path)
        for folder in (path.parent, path.parent.parent) if made else (path.parent,):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    with _told():
        path.unlink(missing_ok=True)


def _some(walk: Iterator[Stored]) -> list[Stored]:
    with _told():
        return [stored for stored, _ in zip(walk, range(_LISTED), strict=False)]
