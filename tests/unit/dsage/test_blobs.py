"""Sending and fetching against a server in memory that breaks off as told: what is tried again, and when it is not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsage import blobs
from dsage.blobs import PIECE_BYTES, TRIES, UploadState, download, upload
from dsage.errors import Busy, Conflict, DSageError, LoggedOut, RequestError, ServerAway, StorageFull, UsageError

DATA = bytes(range(256)) * 4
SHA256 = hashlib.sha256(DATA).hexdigest()


class Content:
    """A body, cut short where it breaks off."""

    def __init__(self, data: bytes, error: DSageError | None = None) -> None:
        self.data, self.error = data, error

    async def read(self, most: int) -> bytes:
        sent, self.data = self.data[: min(most, 10)], self.data[min(most, 10) :]
        return sent

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        yield self.data
        if self.error is not None:
            raise self.error


class Response:
    """What of a response the module looks at."""

    def __init__(self, content: Content, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.content, self.status, self.headers = content, status, headers or {}


class Server:
    """Keeps one upload, and serves DATA; `errors` come first, one for each request."""

    def __init__(self, *errors: DSageError | None) -> None:
        self.errors = list(errors)
        self.got = b""
        self.pauses: list[float] = []
        self.break_at = len(DATA)
        self.answer: Callable[[], bytes] | None = None

    def _fail(self) -> None:
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error

    def _state(self, size: int) -> UploadState:
        return UploadState(received=len(self.got), bytes=size, done=len(self.got) == size)

    async def call(self, _method: str, _path: str, body: Any, _reply: Any, **_more: Any) -> UploadState:
        self._fail()
        self.size = body.bytes
        return self._state(self.size)

    @asynccontextmanager
    async def stream(self, method: str, _path: str, **said: Any) -> AsyncIterator[Response]:
        self._fail()
        if method == "PATCH":
            assert said["headers"] == {"Upload-Offset": str(len(self.got))}
            self.got += said["data"]
            state = msgspec.msgpack.encode(self._state(self.size))
            yield Response(Content(self.answer() if self.answer else state))
            return
        start = int(said["headers"].get("Range", "bytes=0-")[6:-1])
        sent, error = DATA[start : self.break_at], None
        if self.break_at < len(DATA):
            self.break_at, error = self.break_at + 300, ServerAway("cut")
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        yield Response(Content(sent, error), 206 if start else 200, headers)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


async def test_a_busy_server_is_asked_again_when_it_says(file: Path) -> None:
    server = Server(Busy("full", retry_s=7.0), None, ServerAway("gone"), None, Conflict("elsewhere"))
    assert await upload(server, "t", file, pause=server.pause) == SHA256  # type: ignore[arg-type]
    assert server.got == DATA
    assert server.pauses == [7.0, blobs.PAUSE_S, blobs.PAUSE_S]


@pytest.mark.parametrize("error", [ServerAway("gone"), Busy("full", retry_s=0.0), Conflict("elsewhere")])
async def test_there_is_an_end_to_trying(file: Path, tmp_path: Path, error: DSageError) -> None:
    server = Server(*[error] * 100)
    with pytest.raises(type(error)):
        await upload(server, "t", file, pause=server.pause)  # type: ignore[arg-type]
    assert len(server.pauses) == TRIES - 1
    if not isinstance(error, Conflict):
        with pytest.raises(type(error)):
            await download(server, "t", SHA256, len(DATA), tmp_path / "copy", pause=server.pause)  # type: ignore[arg-type]
        assert len(server.pauses) == 2 * (TRIES - 1)


async def test_progress_is_worth_new_tries(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(3 * PIECE_BYTES))
    away: list[DSageError | None] = [ServerAway("gone")]
    server = Server(*(away * 4 + [None, None]) * 3)
    await upload(server, "t", path, pause=server.pause)  # type: ignore[arg-type]
    assert len(server.got) == 3 * PIECE_BYTES
    assert len(server.pauses) == 12
    server.break_at = 1
    await download(server, "t", SHA256, len(DATA), tmp_path / "copy", pause=server.pause)  # type: ignore[arg-type]
    assert (tmp_path / "copy").read_bytes() == DATA


@pytest.mark.parametrize("error", [LoggedOut("again"), StorageFull("full"), UsageError("hash")])
async def test_what_waiting_does_not_mend_is_raised(file: Path, error: DSageError) -> None:
    server = Server(None, error)
    with pytest.raises(type(error)):
        await upload(server, "t", file, pause=server.pause)  # type: ignore[arg-type]
    assert server.pauses == []


async def test_a_server_that_talks_nonsense(file: Path) -> None:
    server = Server()
    server.answer = lambda: b"\xff" * 10
    with pytest.raises(RequestError, match="sense"):
        await upload(server, "t", file, pause=server.pause)  # type: ignore[arg-type]


async def test_a_full_disk_here_is_no_broken_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(blobs, "_opened", lambda part, have: os.fdopen(full, "wb", buffering=0))
    with pytest.raises(StorageFull, match="No space"):
        await download(server, "t", SHA256, len(DATA), tmp_path / "copy", pause=server.pause)  # type: ignore[arg-type]
    assert server.pauses == []
    assert not (tmp_path / "copy").exists()
