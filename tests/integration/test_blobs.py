"""Blobs over real TLS, kept in a directory and in S3: sent, fetched, broken off, gone on with, needed and let go."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from dsage import blobs, bundle
from dsage.blobs import PIECE_BYTES, download, upload
from dsage.connection import Connection, login
from dsage.errors import BadSignature, Busy, NotFound, ServerAway, UsageError
from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage.trust.keys import PrivateKey
from dsage_server.blobs.library import GRACE_S
from dsage_server.blobs.testing import LocalS3, Sender, blob_server, local_s3, made_up
from dsage_server.server import Running
from dsage_server.store import blobs as tables
from dsage_server.store.schema import blob, blob_ref
from dsage_server.testing import Host, World

SIZE = 2 * PIECE_BYTES + 12_345


@pytest.fixture(scope="module")
def s3() -> Iterator[LocalS3]:
    with local_s3() as server:
        yield server


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "directory" else str(request.getfixturevalue("s3").address)


@pytest.fixture
async def running(tmp_path: Path, place: str) -> AsyncIterator[Running]:
    async with blob_server(tmp_path, place) as running:
        yield running


@pytest.fixture
async def sender(running: Running, tmp_path: Path) -> AsyncIterator[Sender]:
    async with Sender.known(running, tmp_path) as sender:
        yield sender


def written(folder: Path, size: int = SIZE, seed: int = 1) -> tuple[Path, bytes, str]:
    data, sha256 = made_up(size, seed)
    path = folder / f"file-{seed}"
    path.write_bytes(data)
    return path, data, sha256


async def no_pause(_seconds: float) -> None:
    return


def counting(monkeypatch: pytest.MonkeyPatch, conn: Connection) -> list[tuple[str, dict[str, str], int]]:
    """Note each streamed request: its method, its headers and the length of its body."""
    seen: list[tuple[str, dict[str, str], int]] = []
    stream = conn.stream

    def noted(method: str, path: str, **said: Any) -> Any:
        seen.append((method, dict(said["headers"]), len(said.get("data") or b"")))
        return stream(method, path, **said)

    monkeypatch.setattr(conn, "stream", noted)
    return seen


async def test_a_file_goes_there_and_back(sender: Sender, running: Running, tmp_path: Path) -> None:
    path, data, sha256 = written(tmp_path)
    assert await upload(sender.conn, sender.token, path) == sha256
    async with Host.joined(running) as host:
        for conn, token in ((sender.conn, sender.token), (host.conn, host.token)):
            copy = tmp_path / "copy"
            await download(conn, token, sha256, SIZE, copy)
            assert copy.read_bytes() == data
            copy.unlink()
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES])
async def test_small_ones_too(sender: Sender, tmp_path: Path, size: int) -> None:
    path, data, sha256 = written(tmp_path, size)
    await upload(sender.conn, sender.token, path)
    await download(sender.conn, sender.token, sha256, size, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


async def test_what_is_there_is_not_sent_again(sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = written(tmp_path)
    await upload(sender.conn, sender.token, path)
    seen = counting(monkeypatch, sender.conn)
    await upload(sender.conn, sender.token, path)
    assert seen == []


async def test_an_upload_goes_on_after_the_server_was_killed(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data, sha256 = written(tmp_path)
    async with blob_server(tmp_path, place) as running, Sender.known(running, tmp_path) as sender:
        await sender.begin(sha256, SIZE)
        assert (await sender.append(sha256, 0, data[:PIECE_BYTES])).received == PIECE_BYTES
        with pytest.raises(NotFound):
            await running.hub.blobs.find(sha256)
    async with blob_server(tmp_path, place) as running, Sender.known(running, tmp_path) as sender:
        seen = counting(monkeypatch, sender.conn)
        await upload(sender.conn, sender.token, path)
        assert sum(length for _, _, length in seen) == SIZE - PIECE_BYTES
        assert await running.hub.blobs.read(sha256, SIZE) == data


async def test_a_download_fetches_only_what_is_missing(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data, sha256 = written(tmp_path)
    await upload(sender.conn, sender.token, path)
    seen = counting(monkeypatch, sender.conn)
    copy, part = tmp_path / "copy", tmp_path / ".copy.part"
    part.write_bytes(data[:1000])
    await download(sender.conn, sender.token, sha256, SIZE, copy)
    assert copy.read_bytes() == data
    assert [headers["Range"] for _, headers, _ in seen] == ["bytes=1000-"]
    part.write_bytes(data + b"more")
    await download(sender.conn, sender.token, sha256, SIZE, copy)
    part.write_bytes(data)
    await download(sender.conn, sender.token, sha256, SIZE, copy)
    assert len(seen) == 2, "a part that is whole is only checked"
    part.write_bytes(b"x" * 1000)
    with pytest.raises(BadSignature):
        await download(sender.conn, sender.token, sha256, SIZE, copy)
    assert not part.exists()


async def test_a_download_that_breaks_off_goes_on(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data, sha256 = written(tmp_path)
    await upload(sender.conn, sender.token, path)
    take, breaks = blobs._take, iter([False] * 3 + [True] + [False] * 3 + [True] + [False] * 1000)

    def breaking(*args: Any) -> None:
        if next(breaks):
            raise ServerAway("cut")
        take(*args)

    monkeypatch.setattr(blobs, "_take", breaking)
    seen = counting(monkeypatch, sender.conn)
    await download(sender.conn, sender.token, sha256, SIZE, tmp_path / "copy", pause=no_pause)
    assert (tmp_path / "copy").read_bytes() == data
    starts = [int(headers.get("Range", "bytes=0-")[6:-1]) for _, headers, _ in seen]
    assert starts == sorted(set(starts))
    assert len(starts) == 3


async def test_other_bytes_than_promised_are_not_believed(sender: Sender, tmp_path: Path) -> None:
    data, sha256 = made_up(1000)
    await sender.send(data, sha256)
    for size in (999, 1001):
        with pytest.raises((BadSignature, ServerAway)):
            await download(sender.conn, sender.token, sha256, size, tmp_path / "copy", pause=no_pause)
    assert not (tmp_path / "copy").exists()


async def test_a_file_that_shrinks_while_it_is_sent(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data, _ = written(tmp_path)
    digest = blobs._digest

    def shrinking(which: Path) -> tuple[str, int]:
        found = digest(which)
        which.write_bytes(data[:10])
        return found

    monkeypatch.setattr(blobs, "_digest", shrinking)
    with pytest.raises(UsageError, match="shorter"):
        await upload(sender.conn, sender.token, path)


async def test_parts_as_http_has_them(sender: Sender) -> None:
    data, sha256 = made_up(1000)
    await sender.send(data, sha256)
    path, tag = f"/v1/blobs/{sha256}", f'"{sha256}"'
    status, headers, body = await sender.raw("GET", path)
    assert (status, body, headers["ETag"], headers["Accept-Ranges"]) == (200, data, tag, "bytes")
    status, headers, body = await sender.raw("HEAD", path)
    assert (status, body, headers["Content-Length"], headers["ETag"]) == (200, b"", "1000", tag)
    for asked, part, told in (
        ("bytes=0-0", data[:1], "bytes 0-0/1000"),
        ("bytes=990-2000", data[990:], "bytes 990-999/1000"),
        ("bytes=-5", data[-5:], "bytes 995-999/1000"),
        ("bytes=500-", data[500:], "bytes 500-999/1000"),
    ):
        for condition in ({}, {"If-Range": tag}):
            status, headers, body = await sender.raw("GET", path, {"Range": asked, **condition})
            assert (status, body, headers["Content-Range"]) == (206, part, told)
    status, headers, body = await sender.raw("GET", path, {"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (status, body) == (200, data)
    status, headers, body = await sender.raw("GET", path, {"Range": "bytes=1000-"})
    assert (status, headers["Content-Range"], json.loads(body)["status"]) == (416, "bytes */1000", 416)
    status, headers, body = await sender.raw("GET", path, {"If-None-Match": tag})
    assert (status, body) == (304, b"")
    status, headers, _ = await sender.raw("HEAD", path, {"Range": "bytes=0-9"})
    assert (status, headers["Content-Length"]) == (206, "10")


async def test_an_upload_tells_how_far_it_is(sender: Sender) -> None:
    data, sha256 = made_up(100)
    place = f"/v1/blobs/{sha256}/uploads"
    assert (await sender.raw("HEAD", place))[0] == 404
    await sender.begin(sha256, 100)
    await sender.append(sha256, 0, data[:40])
    status, headers, _ = await sender.raw("HEAD", place)
    assert (status, headers["Upload-Offset"], headers["Upload-Length"]) == (200, "40", "100")
    assert (await sender.raw("DELETE", place))[0] == 204
    assert (await sender.raw("HEAD", place))[0] == 404


async def test_a_store_that_goes_away_is_waited_for(tmp_path: Path, s3: LocalS3) -> None:
    path, data, sha256 = written(tmp_path)
    pauses: list[float] = []

    async def until_it_is_back(seconds: float) -> None:
        pauses.append(seconds)
        s3.back()

    async with blob_server(tmp_path, s3.address) as running, Sender.known(running, tmp_path) as sender:
        await sender.begin(sha256, SIZE)
        await sender.append(sha256, 0, data[:100])
        s3.away()
        status, headers, _ = await sender.raw("PATCH", f"/v1/blobs/{sha256}/uploads", {"Upload-Offset": "100"}, b"x")
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        await upload(sender.conn, sender.token, path, pause=until_it_is_back)
        s3.away()
        assert (await sender.raw("GET", f"/v1/blobs/{sha256}"))[0] == 503
        with pytest.raises(Busy):
            await running.hub.blobs.collect()
        await download(sender.conn, sender.token, sha256, SIZE, tmp_path / "copy", pause=until_it_is_back)
        assert (tmp_path / "copy").read_bytes() == data
        assert len(pauses) == 2


async def test_what_a_run_needs_is_kept_and_the_rest_goes(
    running: Running, sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, sha256 = made_up(1000)
    await sender.send(data, sha256)
    async with AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        run = await world.run()
        host = await world.host()
        packed = bundle.pack(f"{tmp_path / 'app.py'}:Plain")
        later = running.hub.blobs.clock() + GRACE_S + 60.0
        monkeypatch.setattr(type(running.hub.blobs), "clock", property(lambda self: lambda: later), raising=False)
        assert await running.hub.blobs.collect() == 1
        with pytest.raises(NotFound):
            await download(sender.conn, sender.token, sha256, 1000, tmp_path / "copy")
        assert await host.conn.call("GET", f"/v1/bundles/{packed.sha256}", None, bytes) == packed.data
        await run.researcher.cancel(run.run)
        assert await running.hub.blobs.collect() == 0, "whoever attaches to a run that ended still reads its source"
        await world.close()


async def test_a_run_without_its_bundle_is_refused(running: Running, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        first = await world.run()
        store = running.hub.store
        await store.write(lambda c: c.execute(delete(blob_ref)))
        await store.write(lambda c: c.execute(delete(blob)))
        authed = first.researcher._authed

        async def forgetful(method: str, path: str, *args: Any, **more: Any) -> Any:
            return None if method == "PUT" else await authed(method, path, *args, **more)

        first.researcher._authed = forgetful  # type: ignore[method-assign]
        packed = bundle.pack(f"{tmp_path / 'app.py'}:Needy")
        with pytest.raises(NotFound, match="blob"):
            await first.researcher.submit(packed, packed.function(), {})
        await world.close()


async def test_a_server_of_the_release_before_keeps_its_bundles(tmp_path: Path, place: str) -> None:
    async with blob_server(tmp_path, place) as running, AsyncExitStack() as stack:
        run = await World(running, tmp_path, stack).run()
        packed = bundle.pack(f"{tmp_path / 'app.py'}:Plain")
        store = running.hub.store
        await store.write(lambda c: c.execute(delete(blob_ref)))
        await store.write(lambda c: c.execute(delete(blob)))
    folder = tmp_path / "server" / "bundles"
    folder.mkdir(exist_ok=True)
    (folder / packed.sha256).write_bytes(packed.data)
    async with blob_server(tmp_path, place) as running:
        assert await running.hub.blobs.read(packed.sha256, len(packed.data)) == packed.data
        assert await running.hub.store.read(lambda c: tables.runs_without(c, "bundle")) == []
        assert list(folder.iterdir()) == []
        assert run.run


async def test_many_readers_and_writers_at_once(sender: Sender, running: Running, tmp_path: Path) -> None:
    files = [written(tmp_path, 300_000 + seed, seed) for seed in range(4)]
    await asyncio.gather(*(upload(sender.conn, sender.token, path) for path, _, _ in files for _ in range(2)))
    async with Host.joined(running) as host:
        copies = [tmp_path / f"copy-{n}" for n in range(20)]
        wanted = [files[n % 4] for n in range(20)]
        await asyncio.gather(
            *(download(host.conn, host.token, s, len(d), c) for (_, d, s), c in zip(wanted, copies, strict=True))
        )
    assert all(c.read_bytes() == d for (_, d, _), c in zip(wanted, copies, strict=True))


async def test_a_large_blob_takes_little_memory(tmp_path: Path) -> None:
    """A server in a process of its own, because that of the tests holds the blob itself."""
    size = 96 << 20
    path, copy = tmp_path / "large", tmp_path / "copy"
    with path.open("wb") as file:
        for seed in range(size >> 20):
            file.write(made_up(1 << 20, seed)[0])
    home = Home(tmp_path / "home")
    command = [
        sys.executable,
        "-m",
        "dsage",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--pages",
        "127.0.0.1:0",
        "--own-work",
    ]
    process = await asyncio.create_subprocess_exec(
        *command, "--blobs", str(tmp_path / "elsewhere"), "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "DSAGE_HOME": str(home.folder)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        while not home.login.exists():
            assert await process.stdout.readline()
        link = Login.load(home).server
        before = peak_kib(process.pid)
        async with await Connection.open(link) as conn:
            token = (await login(conn, PrivateKey.load(home.code_key(LAB)), "researcher", link.server_id)).token
            sha256 = await upload(conn, token, path)
            await download(conn, token, sha256, size, copy)
        assert peak_kib(process.pid) - before < 48 << 10
    finally:
        process.terminate()
        await process.communicate()
    assert any((tmp_path / "elsewhere").rglob(f"{sha256}.*"))


def peak_kib(process: int) -> int:
    """Return the most memory that a process has had, in KiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
