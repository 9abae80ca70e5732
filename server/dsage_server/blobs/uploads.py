"""Uploads that may break off and go on: pieces come in order, are kept as objects, and become a blob at the end.

A piece is in the store before the table says so, and the table takes it only where the upload stands, so whatever
breaks, in whichever process, the next request learns where to go on. At the end the pieces are read once more, and
hashed, into the blob's own object: nobody can see it before its hash is right.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, Protocol

from dsage.blobs import PIECE_BYTES, UploadState
from dsage.errors import Busy, Conflict, NotFound, TooLarge, UsageError
from dsage_server.blobs.library import Blobs, checked_hash, once
from dsage_server.store import blobs as tables
from dsage_server.store.blobs import Upload

log = logging.getLogger(__name__)

MAX_STREAMS: Final = 32
"""Pieces taken at once, each in memory: 128 MiB."""
STREAMS_EACH: Final = 4
MAX_FINISHING: Final = 2
FINISH_WAIT_S: Final = 20.0
"""How long the last piece waits for the check of the whole: below the 30 s after which many proxies give up."""
SPARE_PIECES: Final = 64
SILENCE_S: Final = 30.0
PIECE_S: Final = 240.0
"""What came of a piece by then is kept, and the sender goes on from there."""
BUSY_S: Final = 2.0


class Allow(Protocol):
    """Whether an owner may send more."""

    async def __call__(self, owner: bytes, /, *, more: int) -> None:
        """Let an owner send `more` bytes. Raises QuotaExceeded."""


class Uploads:
    """The uploads of one server process; the rows are shared with the others. An owner is a researcher's key, which
    `allow` lets send so many more bytes, or raises QuotaExceeded."""

    def __init__(self, blobs: Blobs, allow: Allow | None = None) -> None:
        self._blobs = blobs
        self._allow = allow
        self._streams: Counter[bytes] = Counter()
        self._finishing: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(MAX_FINISHING)

    async def begin(self, sha256: str, owner: bytes, size: int) -> UploadState:
        """Open an upload, or say how far it has come. Raises TooLarge, QuotaExceeded, StorageFull, Conflict."""
        blobs = self._blobs
        if size > blobs.most:
            raise TooLarge(f"a blob of {size} bytes; at most {blobs.most} are taken")
        if await blobs.has(sha256):
            return UploadState(received=size, bytes=size, done=True)
        if self._allow and await blobs.store.read(lambda c: tables.upload(c, sha256, owner)) is None:
            await self._allow(owner, more=size)
        await blobs.objects.room(size)
        return _state(await blobs.store.write(lambda c: tables.begin(c, sha256, owner, size, blobs.clock())))

    async def state(self, sha256: str, owner: bytes) -> UploadState:
        """Say how far an open upload has come. Raises NotFound."""
        return _state(await self._find(sha256, owner))

    async def abandon(self, sha256: str, owner: bytes) -> None:
        """Forget an open upload. Raises NotFound."""
        upload = await self._find(sha256, owner)
        await self._blobs.discard(await self._blobs.store.write(lambda c: tables.drop(c, upload.id)))

    async def append(self, sha256: str, owner: bytes, start: int, chunks: AsyncIterator[bytes]) -> UploadState:
        """Take the bytes from `start` on, and make the blob when all are there.

        Raises Conflict if the upload does not stand at `start`, UsageError if all are there and have another hash
        (the upload ends), TooLarge for more bytes than were announced (what was announced stays), StorageFull, Busy.
        """
        try:
            upload = await self._find(sha256, owner)
        except NotFound:
            raise Conflict("no such upload is open", hint="Begin it (again).") from None
        if start != upload.received:
            raise Conflict(f"this upload goes on at byte {upload.received}, not {start}")
        received, tail = start, bytearray()
        with self._stream(owner):
            async with aclosing(_patient(chunks)) as patient:
                async for chunk in patient:
                    tail += chunk
                    if received + len(tail) > upload.size:
                        raise TooLarge(f"more than the {upload.size} bytes that were announced")
                    if len(tail) >= PIECE_BYTES and received + len(tail) < upload.size:
                        received = await self._piece(upload, received, bytes(tail))
                        tail.clear()
            if len(tail) == upload.size:
                await self._whole(upload, bytes(tail))
                return UploadState(received=upload.size, bytes=upload.size, done=True)
            if tail:
                received = await self._piece(upload, received, bytes(tail))
        done = received == upload.size and await self._finished(upload)
        return UploadState(received=received, bytes=upload.size, done=done)

    async def close(self) -> None:
        """Stop what is being checked; it begins again with the next request for it."""
        tasks = list(self._finishing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, sha256: str, owner: bytes) -> Upload:
        checked_hash(sha256)
        found = await self._blobs.store.read(lambda c: tables.upload(c, sha256, owner))
        if found is None:
            raise NotFound("no such upload is open", hint="It may be complete: begin it again to see.")
        return found

    @contextmanager
    def _stream(self, owner: bytes) -> Iterator[None]:
        if self._streams.total() >= MAX_STREAMS or self._streams[owner] >= STREAMS_EACH:
            raise Busy("too many uploads are being taken at this moment", retry_s=BUSY_S)
        self._streams[owner] += 1
        try:
            yield
        finally:
            self._streams[owner] -= 1
            if not self._streams[owner]:
                del self._streams[owner]

    async def _piece(self, upload: Upload, start: int, data: bytes) -> int:
        """Keep a piece and return where the next one begins."""
        blobs, name = self._blobs, f"pieces/{upload.id}.{start}.{secrets.token_hex(6)}"
        most = 2 * (upload.size // PIECE_BYTES) + SPARE_PIECES
        await blobs.objects.room(len(data))
        await blobs.objects.put(name, once(data))
        try:
            await blobs.store.write(lambda c: tables.append(c, upload.id, start, len(data), name, most, blobs.clock()))
        except (Conflict, TooLarge):
            await blobs.discard([name])
            raise
        return start + len(data)

    async def _whole(self, upload: Upload, data: bytes) -> None:
        """Make the blob of an upload that came in one piece."""
        try:
            await self._blobs.keep(upload.sha256, data)
        except UsageError:
            await self._blobs.store.write(lambda c: tables.drop(c, upload.id))
            raise
        await self._blobs.store.write(lambda c: tables.drop(c, upload.id))

    async def _finished(self, upload: Upload) -> bool:
        """Have the blob made of its pieces; False if that takes longer than a request may."""
        task = self._finishing.get(upload.id)
        if task is None:
            task = self._finishing[upload.id] = asyncio.create_task(self._finish(upload))
            task.add_done_callback(lambda done: self._forget(upload.id, done))
        done, _ = await asyncio.wait({task}, timeout=FINISH_WAIT_S)
        if done:
            task.result()
        return bool(done)

    def _forget(self, number: str, task: asyncio.Task[None]) -> None:
        del self._finishing[number]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("an upload did not become a blob: %s", error)

    async def _finish(self, upload: Upload) -> None:
        blobs = self._blobs
        async with self._turns:
            pieces = await blobs.store.read(lambda c: tables.pieces(c, upload.id))
            try:
                await blobs.write(upload.sha256, upload.size, self._joined(upload.sha256, pieces), upload.id)
            except (UsageError, NotFound) as error:
                if await blobs.has(upload.sha256):  # another process was quicker, and the pieces are gone
                    return
                await blobs.discard(await blobs.store.write(lambda c: tables.drop(c, upload.id)))
                if isinstance(error, NotFound):
                    raise Conflict("a part of this upload was lost", hint="Begin it again.") from None
                raise

    async def _joined(self, sha256: str, pieces: list[tuple[str, int]]) -> AsyncIterator[bytes]:
        """Yield the bytes of all pieces. Raises UsageError after the last one if their hash is wrong."""
        digest = hashlib.sha256()
        for name, size in pieces:
            async with aclosing(self._blobs.objects.open(name, 0, size)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(digest.update, chunk)
                    yield chunk
        if digest.hexdigest() != sha256:
            raise UsageError("the bytes that were sent do not have the hash that names them; they were removed")


async def _patient(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what comes; who is silent or slow for too long has ended for now."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PIECE_S
    while True:
        try:
            async with asyncio.timeout(min(SILENCE_S, ends - loop.time())):
                chunk = await anext(chunks, None)
        except TimeoutError:
            return
        if chunk is None:
            return
        yield chunk


def _state(upload: Upload) -> UploadState:
    return UploadState(received=upload.received, bytes=upload.size, done=False)
