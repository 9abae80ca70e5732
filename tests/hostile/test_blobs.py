"""Senders and readers of blobs that mean harm, against a real server: each is refused, and honest ones are served."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dsage.blobs import PIECE_BYTES, UploadStart, UploadState, download
from dsage.errors import Conflict, LoggedOut, NotAllowed, NotFound, StorageFull, TooLarge, UsageError
from dsage.trust.tls import pinned_context
from dsage.wire import PROTOCOL, PROTOCOL_HEADER
from dsage_server.blobs import routes, uploads
from dsage_server.blobs.testing import Sender, blob_server, made_up
from dsage_server.server import Running
from dsage_server.store import blobs as tables
from dsage_server.testing import Host, until

MOST = 64 << 20


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with blob_server(tmp_path, max_blob_bytes=MOST) as running:
        yield running


@pytest.fixture
async def sender(running: Running, tmp_path: Path) -> AsyncIterator[Sender]:
    async with Sender.known(running, tmp_path) as sender:
        yield sender


async def objects(running: Running) -> int:
    return sum([len(found) async for found in running.hub.blobs.objects.list()])


async def opened(
    sender: Sender, method: str, path: str, headers: dict[str, str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection of one's own and send the head of a request."""
    parts = urlsplit(sender.running.url)
    context: ssl.SSLContext = pinned_context(sender.conn.ca_pem, sender.conn.link.ca)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port, ssl=context, server_hostname=parts.hostname, limit=1 << 16
    )
    said = {"Host": "x", PROTOCOL_HEADER: str(PROTOCOL), "Authorization": f"Bearer {sender.token}", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    await writer.drain()
    return reader, writer


async def test_strangers_and_hosts_send_nothing(sender: Sender, running: Running) -> None:
    data, sha256 = made_up(10)
    place = f"/v1/blobs/{sha256}/uploads"
    await sender.send(data, sha256)
    async with Host.joined(running) as host:
        with pytest.raises(NotAllowed):
            await host.conn.call("POST", place, UploadStart(bytes=10), UploadState, token=host.token)
        for method in ("PATCH", "DELETE"):
            with pytest.raises(NotAllowed):
                await host.conn.call(method, place, b"x", None, token=host.token)
        for token in (None, "", "x" * 43):
            with pytest.raises(LoggedOut):
                await host.conn.call("GET", f"/v1/blobs/{sha256}", None, bytes, token=token)
            with pytest.raises(LoggedOut):
                await host.conn.call("POST", place, UploadStart(bytes=10), UploadState, token=token)
        assert await host.conn.call("GET", f"/v1/blobs/{sha256}", None, bytes, token=host.token) == data


async def test_names_that_are_no_hash_name_nothing(sender: Sender, running: Running) -> None:
    for name in (
        "..%2f..%2funit.key", "%2e%2e", "0" * 63, "0" * 65, "A" * 64, "\u0663" * 64, "0" * 63 + "%00",
        "0" * 63 + "%0a", "0" * 62 + "/x", "*", "0" * 64,
    ):  # fmt: skip
        for method, path in (("GET", name), ("HEAD", name), ("HEAD", f"{name}/uploads"), ("DELETE", f"{name}/uploads")):
            assert (await sender.raw(method, f"/v1/blobs/{path}"))[0] == 404
        if name != "0" * 64:
            status, _, _ = await sender.raw("POST", f"/v1/blobs/{name}/uploads", data=b"\x81\xa5bytes\x01")
            assert status == 404
        status, _, _ = await sender.raw("PATCH", f"/v1/blobs/{name}/uploads", {"Upload-Offset": "0"}, b"x")
        assert status in (404, 409)
    assert await objects(running) == 0


async def test_lies_about_bytes_leave_nothing(sender: Sender, running: Running) -> None:
    data, sha256 = made_up(1000)
    await sender.begin(sha256, 1000)
    with pytest.raises(UsageError, match="hash"):
        await sender.append(sha256, 0, bytes(1000))
    with pytest.raises(Conflict, match="no such upload"):
        await sender.append(sha256, 0, data)
    await sender.begin(sha256, 1000)
    with pytest.raises(TooLarge):
        await sender.append(sha256, 0, data + b"x")
    with pytest.raises(NotFound):
        await running.hub.blobs.find(sha256)
    assert await objects(running) == 0
    assert (await sender.append(sha256, 0, data)).done


async def test_a_body_without_an_end_is_cut(sender: Sender, running: Running) -> None:
    _, sha256 = made_up(1000)
    await sender.begin(sha256, 1000)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 16)

    status, _, _ = await sender.raw("PATCH", f"/v1/blobs/{sha256}/uploads", {"Upload-Offset": "0"}, endless())
    assert status == 413
    assert await objects(running) == 0


async def test_offsets_that_are_none(sender: Sender) -> None:
    _, sha256 = made_up(1000)
    await sender.begin(sha256, 1000)
    path = f"/v1/blobs/{sha256}/uploads"
    for offset in ("-1", "", "1.5", "0x0", " ", "9" * 19, "1_0", "\u0661", "0,0"):
        assert (await sender.raw("PATCH", path, {"Upload-Offset": offset}, b"x"))[0] == 400
    assert (await sender.raw("PATCH", path, {}, b"x"))[0] == 400


async def test_gaps_and_overlaps_are_told(sender: Sender) -> None:
    data, sha256 = made_up(1000)
    await sender.begin(sha256, 1000)
    await sender.append(sha256, 0, data[:500])
    for start in (0, 499, 501, 1000, 10**17):
        with pytest.raises(Conflict, match="byte 500"):
            await sender.append(sha256, start, data[500:])
    path = f"/v1/blobs/{sha256}/uploads"
    status, _, _ = await sender.raw("PATCH", path, {"Upload-Offset": "500", "Content-Encoding": "gzip"}, b"x")
    assert status == 400


async def test_sizes_beyond_the_limit_are_refused_at_once(
    sender: Sender, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (MOST + 1, 2**63 - 1):
        with pytest.raises(TooLarge):
            await sender.begin("0" * 64, size)
    for bent in (b"", b"\x81\xa5bytes\xff", b"\x81\xa5bytes\xcf" + b"\xff" * 8, b"\x91" * 1000):
        assert (await sender.raw("POST", f"/v1/blobs/{'0' * 64}/uploads", data=bent))[0] == 400
    monkeypatch.setattr(running.hub.blobs.objects, "_min_free", 1 << 60)
    with pytest.raises(StorageFull):
        await sender.begin("0" * 64, 1)


async def test_ten_thousand_uploads_are_not_opened(sender: Sender) -> None:
    hashes = [f"{number:064x}" for number in range(1000)]
    refused = 0
    for at in range(0, len(hashes), 50):
        found = await asyncio.gather(
            *(sender.begin(sha256, 1000) for sha256 in hashes[at : at + 50]), return_exceptions=True
        )
        assert all(isinstance(each, UploadState | Conflict) for each in found)
        refused += sum(isinstance(each, Conflict) for each in found)
    assert refused == len(hashes) - tables.MAX_OPEN
    await sender.begin(hashes[0], 1000)


async def test_ranges_that_make_no_sense(sender: Sender) -> None:
    data, sha256 = made_up(1000)
    await sender.send(data, sha256)
    for asked, status in (
        ("bytes=-1-5", 200), ("bytes=5-1", 200), ("bytes=0-0,2-3", 200), ("bytes=" + "0-0," * 1000, 200),
        ("bytes=1000-", 416), ("bytes=-0", 416), ("bytes=" + "9" * 18 + "-", 416), ("lines=1-2", 200), ("bytes", 200),
    ):  # fmt: skip
        got, headers, body = await sender.raw("GET", f"/v1/blobs/{sha256}", {"Range": asked})
        assert got == status
        if status == 200:
            assert body == data
        else:
            assert (headers["Content-Range"], json.loads(body)["code"]) == ("bytes */1000", "range")


async def test_a_slow_sender_keeps_nobody_out_and_loses_nothing(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SILENCE_S", 0.2)
    data, sha256 = made_up(1000)
    await sender.begin(sha256, 1000)
    path, headers = f"/v1/blobs/{sha256}/uploads", {"Upload-Offset": "0", "Content-Length": "1000"}
    reader, writer = await opened(sender, "PATCH", path, headers)
    writer.write(data[:400])
    other, name = made_up(PIECE_BYTES + 1, 2)
    await sender.send(other, name)
    assert b"200 OK" in await reader.readline()
    writer.close()
    assert (await sender.begin(sha256, 1000)).received == 400
    assert (await sender.append(sha256, 400, data[400:])).done


async def test_a_sender_that_hangs_up_can_go_on(sender: Sender, running: Running) -> None:
    data, sha256 = made_up(PIECE_BYTES + 1000)
    await sender.begin(sha256, len(data))
    headers = {"Upload-Offset": "0", "Content-Length": str(len(data))}
    _, writer = await opened(sender, "PATCH", f"/v1/blobs/{sha256}/uploads", headers)
    writer.write(data[: PIECE_BYTES + 500])
    await writer.drain()

    async def a_piece_came() -> bool:
        return (await sender.begin(sha256, len(data))).received > 0

    await until(a_piece_came)
    writer.transport.abort()
    received = (await sender.begin(sha256, len(data))).received
    assert received >= PIECE_BYTES
    assert (await sender.append(sha256, received, data[received:])).done
    assert await running.hub.blobs.read(sha256, len(data)) == data


async def test_readers_that_do_not_read_are_let_go(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The blob is larger than what the system's buffers take, so the server has to wait for the reader."""
    monkeypatch.setattr(routes, "WRITE_S", 0.3)
    caplog.set_level(logging.INFO, routes.__name__)
    size = 32 << 20
    data, sha256 = made_up(size)
    await sender.begin(sha256, size)
    for start in range(0, size, PIECE_BYTES):
        await sender.append(sha256, start, data[start : start + PIECE_BYTES])
    lazy = [await opened(sender, "GET", f"/v1/blobs/{sha256}", {}) for _ in range(20)]
    await download(sender.conn, sender.token, sha256, size, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data

    async def all_let_go() -> bool:
        return [record.message for record in caplog.records].count("a blob broke off: nobody took it") == len(lazy)

    await until(all_let_go)
    for _, writer in lazy:
        writer.transport.abort()
