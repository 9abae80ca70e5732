"""The blobs of a server: found, kept, read, collected. Each method is safe in several processes at once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsage.errors import Busy, DSageError, NotFound, StorageFull, TooLarge, UsageError
from dsage_server.blobs.objects import BlobStore
from dsage_server.store import blobs as tables
from dsage_server.store import runs
from dsage_server.store.blobs import Blob
from dsage_server.store.engine import Store

log = logging.getLogger(__name__)

MAX_BLOB_BYTES: Final = 1 << 30
GRACE_S: Final = 86400.0
"""What nothing refers to is kept this long after it was last sent or asked for: time to submit the run."""
UPLOAD_S: Final = 86400.0
"""An upload that gets nothing for so long is given up."""
COLLECT_S: Final = 3600.0
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def checked_hash(text: str) -> str:
    """Return a SHA-256 as we write it. Raises NotFound for anything else: nothing has such a name."""
    if not _HASH.fullmatch(text):
        raise NotFound("there is no such blob")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """Blobs by their SHA-256: the rows in `store`, the bytes in `objects`; none has more than `most` bytes."""

    store: Store
    objects: BlobStore
    clock: Callable[[], float]
    most: int = MAX_BLOB_BYTES

    async def find(self, sha256: str) -> Blob:
        """Return a blob's size and object; raises NotFound."""
        checked_hash(sha256)
        found = await self.store.read(lambda c: tables.find(c, sha256))
        if found is None:
            raise NotFound("there is no such blob")
        return found

    async def has(self, sha256: str) -> bool:
        """Whether a blob is there; it is kept for GRACE_S more, for who is going to refer to it.

        One whose object was lost is not there: whoever sends it again mends that.
        """
        checked_hash(sha256)
        if not await self.store.write(lambda c: tables.use(c, sha256, self.clock())):
            return False
        return await self._holds(await self.find(sha256))

    def open(self, blob: Blob, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob. Raises NotFound, Busy."""
        return self.objects.open(blob.object, start, end)

    async def read(self, sha256: str, most: int) -> bytes:
        """Return a small blob. Raises NotFound, TooLarge beyond `most` bytes, Busy."""
        blob = await self.find(sha256)
        if blob.size > most:
            raise TooLarge(f"blob {sha256[:12]} has {blob.size} bytes; at most {most} are read at once")
        async with aclosing(self.open(blob, 0, blob.size)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def keep(self, sha256: str, data: bytes) -> None:
        """Keep a small blob; keeping it again changes nothing. Raises UsageError, TooLarge, StorageFull, Busy."""
        checked_hash(sha256)
        if len(data) > self.most:
            raise TooLarge(f"a blob of {len(data)} bytes; at most {self.most} are taken")
        if (await asyncio.to_thread(hashlib.sha256, data)).hexdigest() != sha256:
            raise UsageError("these bytes do not have the hash that names them")
        if not await self.has(sha256):
            await self.objects.room(len(data))
            await self.write(sha256, len(data), once(data))

    async def write(self, sha256: str, size: int, chunks: AsyncIterator[bytes], upload: str = "") -> None:
        """Write a blob's object, enter it, and end the upload that it came by. `chunks` raises if they are wrong."""
        blob = Blob(sha256=sha256, size=size, object=f"whole/{sha256[:2]}/{sha256}.{secrets.token_hex(6)}")
        await self.objects.put(blob.object, chunks)
        added, pieces = await self.store.write(
            lambda c: (tables.add(c, blob, self.clock()), tables.drop(c, upload) if upload else [])
        )
        added = added or await self._mended(blob)
        await self.discard(pieces if added else [*pieces, blob.object])

    async def _holds(self, blob: Blob) -> bool:
        return await self.objects.size(blob.object) == blob.size

    async def _mended(self, new: Blob) -> bool:
        """Let a new object take the place of the one of before, if that was lost."""
        known = await self.find(new.sha256)
        if known.object == new.object or await self._holds(known):
            return known.object == new.object
        log.warning("blob %s was lost, and came again", new.sha256)
        return await self.store.write(lambda c: tables.replace(c, known, new))

    async def discard(self, names: Iterable[str]) -> None:
        """Delete objects that no table names any more; if that fails, `collect` finds them later."""
        try:
            await self.objects.delete(names)
        except (Busy, StorageFull) as error:
            log.warning("objects that nobody needs stay a while: %s", error.message)

    # -- what nobody needs, and what was here before -------------------------------------------------------------

    async def collect(self) -> int:
        """Delete what nobody needs: given-up uploads, blobs without references, objects that no table names.

        Each goes only after GRACE_S. Returns how many objects went.
        """
        now = self.clock()
        names = await self.store.write(lambda c: tables.expire(c, now - UPLOAD_S))
        await self.objects.delete(names)
        count = len(names)
        while names := await self.store.write(lambda c: tables.collect(c, now - GRACE_S)):
            await self.objects.delete(names)
            count += len(names)
        async for found in self.objects.list():
            old = [each.name for each in found if each.written < now - GRACE_S]
            lost = await self.store.read(lambda c, o=old: tables.unknown(c, o)) if old else set()  # type: ignore[misc]
            await self.objects.delete(lost)
            count += len(lost)
        return count

    async def keep_collecting(self) -> None:
        """Collect now and then, without end."""
        while True:
            await asyncio.sleep(COLLECT_S)
            if count := await self.collect():
                log.info("%s objects that nothing referred to were deleted", count)

    async def adopt(self, folder: Path) -> None:
        """At the start: enter the bundles that an older server kept as files of a folder, and what runs need."""
        for path in await asyncio.to_thread(_files, folder):
            try:
                await self.keep(path.name, await asyncio.to_thread(path.read_bytes))
            except UsageError as error:
                log.warning("%s stays where it is: %s", path, error.message)
                continue
            await asyncio.to_thread(path.unlink, missing_ok=True)
        for number in await self.store.read(lambda c: tables.runs_without(c, "bundle")):
            info = await self.store.read(lambda c, n=number: runs.info(c, n))  # type: ignore[misc]
            bundle = info.manifest.bundle
            try:
                await self.store.write(lambda c, n=number, b=bundle: tables.refer(c, n, "bundle", [b], self.clock()))  # type: ignore[misc]
            except DSageError as error:
                log.warning("run %s has lost its bundle: %s", number, error.message)


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield some bytes that are at hand."""
    yield data


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _HASH.fullmatch(path.name)] if folder.is_dir() else []
