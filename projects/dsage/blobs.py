"""Blobs to and from a server: sent in pieces and fetched as a stream, and either goes on where it broke off.

Neither side believes the other: the server checks the hash before anybody sees a blob, and so does who fetches one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from dsage.connection import Connection, Transport
from dsage.errors import BadSignature, Busy, Conflict, RequestError, ServerAway, UsageError
from dsage.files import keeping
from dsage.threads import opened, step
from dsage.wire import Count, Message

PIECE_BYTES: Final = 4 << 20
"""What is sent with one request, and what a break costs at most."""
OFFSET_HEADER: Final = "Upload-Offset"
TRIES: Final = 5
"""Failures in a row, without a byte of progress in between, before giving up."""
PAUSE_S: Final = 1.0
PIECE_S: Final = 300.0
SILENCE_S: Final = 60.0
CHUNK_BYTES: Final = 256 << 10
MAX_STATE_BYTES: Final = 1 << 10

Pause = Callable[[float], Awaitable[None]]
Passed = Callable[[int], Awaitable[None]]


class UploadStart(Message):
    """What is going to be sent."""

    bytes: Count


class UploadState(Message):
    """How far an upload has come. `done`: the blob is there; `received` = `bytes` without it: it is being checked."""

    received: Count
    bytes: Count
    done: bool


async def upload(conn: Connection, token: str, path: Path, *, pause: Pause = asyncio.sleep) -> str:
    """Send a file and return its SHA-256; what the server has already, whole or in part, is not sent again.

    Raises LoggedOut when the token runs out (log in and call again: it goes on), ServerAway or Busy after TRIES
    failures, TooLarge, StorageFull, and UsageError if the file changed meanwhile.
    """
    sha256, size = await asyncio.to_thread(_digest, path)
    place = f"/v1/blobs/{sha256}/uploads"
    failures, furthest = 0, 0
    while True:
        try:
            state = await conn.call("POST", place, UploadStart(bytes=size), UploadState, token=token)
            while not state.done:
                if state.received > furthest:
                    failures, furthest = 0, state.received
                piece = await asyncio.to_thread(_piece, path, state.received, size)
                state = await _send(conn, token, place, state.received, piece)
            return sha256
        except (ServerAway, Busy, Conflict) as error:
            failures += 1
            if failures >= TRIES:
                raise
            await pause(error.retry_s if isinstance(error, Busy) else PAUSE_S)


async def download(
    conn: Transport,
    token: str | None,
    sha256: str,
    size: int,
    path: Path,
    *,
    place: str = "/v1/blobs",
    passed: Passed | None = None,
    pause: Pause = asyncio.sleep,
) -> None:
    """Fetch a blob of `size` bytes into a file, which appears only when its hash is right.

    What came before a break, also in an earlier call, is kept beside it as `.NAME.part`. `passed` is awaited with the
    size of each piece that came, before more is asked for: it sets the pace. Raises BadSignature if the
    server sends other bytes, NotFound, LoggedOut, StorageFull, and ServerAway or Busy after TRIES failures.
    """
    part = path.with_name(f".{path.name}.part")
    failures, furthest = 0, 0
    while True:
        try:
            found = await _fetch(conn, token, sha256, size, part, f"{place}/{sha256}", passed)
            break
        except (ServerAway, Busy) as error:
            have = part.stat().st_size if part.exists() else 0
            failures, furthest = (0 if have > furthest else failures + 1), max(have, furthest)
            if failures >= TRIES:
                raise
            await pause(error.retry_s if isinstance(error, Busy) else PAUSE_S)
    with keeping(path):
        if found == sha256:
            os.replace(part, path)
            return
        part.unlink()
    raise BadSignature(f"the server sent other bytes than blob {sha256[:12]}")


async def _send(conn: Connection, token: str, place: str, start: int, piece: bytes) -> UploadState:
    headers = {OFFSET_HEADER: str(start)}
    async with conn.stream("PATCH", place, token=token, data=piece, headers=headers, silence_s=PIECE_S) as response:
        data = b""
        while len(data) <= MAX_STATE_BYTES and (more := await response.content.read(MAX_STATE_BYTES)):
            data += more
        try:
            return msgspec.msgpack.decode(data, type=UploadState)
        except msgspec.MsgspecError as error:
            raise RequestError(f"the server's reply about an upload makes no sense: {error}") from None


async def _fetch(
    conn: Transport, token: str | None, sha256: str, size: int, part: Path, place: str, passed: Passed | None
) -> str:
    """Complete the part of a blob that is there and return the hash of what it holds then."""
    digest, have = await asyncio.to_thread(_resumed, part, size)
    if have < size or not size:
        headers = {"Range": f"bytes={have}-", "If-Range": f'"{sha256}"'} if have else {}
        async with conn.stream("GET", place, token=token, headers=headers, silence_s=SILENCE_S) as response:
            told = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get(
                "Content-Length"
            )
            if told and told != str(size):
                raise BadSignature(f"the server has {told[:20]} bytes as blob {sha256[:12]} instead of {size}")
            if response.status != 206:
                digest, have = hashlib.sha256(), 0
            async with opened(_opened, part, have) as file:
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    have += len(chunk)
                    if have > size:
                        break
                    await step(_take, file, digest, chunk)
                    if passed is not None:
                        await passed(len(chunk))
                await step(_flush, file)
    if have < size:
        raise ServerAway(f"blob {sha256[:12]} broke off after {have} of {size} bytes")
    return digest.hexdigest() if have == size else ""


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        piece = file.read(min(PIECE_BYTES, size - start))
    if not piece and start < size:
        raise UsageError(f"{path} became shorter while it was sent", hint="Leave the file alone, then send it again.")
    return piece


def _resumed(part: Path, size: int) -> tuple[Any, int]:
    """Return the running hash of what came before, and how much that is; what is longer than a blob is not of it."""
    digest, have = hashlib.sha256(), part.stat().st_size if part.exists() else 0
    if not 0 < have <= size:
        return digest, 0
    with part.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest, have


def _opened(part: Path, have: int) -> BinaryIO:
    with keeping(part):
        return part.open("ab" if have else "wb", buffering=0)


def _take(file: BinaryIO, digest: Any, chunk: bytes) -> None:
    digest.update(chunk)
    with keeping(str(file.name)):
        rest = memoryview(chunk)
        while rest:
            rest = rest[file.write(rest) :]


def _flush(file: BinaryIO) -> None:
    with keeping(str(file.name)):
        os.fsync(file.fileno())
