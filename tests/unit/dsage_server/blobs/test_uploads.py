"""Uploads break off and go on, in any process; nothing is visible before its hash is right; limits hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dsage.blobs import PIECE_BYTES, UploadState
from dsage.errors import Busy, Conflict, NotFound, StorageFull, TooLarge, UsageError
from dsage_server.blobs import uploads as module
from dsage_server.blobs.library import Blobs
from dsage_server.blobs.testing import made_up
from dsage_server.blobs.uploads import Uploads
from dsage_server.store import blobs as tables

ME, YOU = b"me", b"you"


@pytest.fixture
def uploads(blobs: Blobs) -> Uploads:
    return Uploads(blobs)


async def coming(data: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1 << 16):
        yield data[at : at + (1 << 16)]
    if error is not None:
        raise error


async def count(blobs: Blobs) -> int:
    return sum([len(found) async for found in blobs.objects.list()])


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
async def test_one_request_may_bring_all(uploads: Uploads, blobs: Blobs, size: int) -> None:
    data, sha256 = made_up(size)
    assert await uploads.begin(sha256, ME, size) == UploadState(received=0, bytes=size, done=False)
    assert (await uploads.append(sha256, ME, 0, coming(data))).done
    assert await blobs.read(sha256, size) == data
    assert await count(blobs) == 1
    assert (await uploads.begin(sha256, YOU, size)).done
    with pytest.raises(NotFound):
        await uploads.state(sha256, ME)


async def test_it_goes_on_in_another_process(uploads: Uploads, blobs: Blobs) -> None:
    data, sha256 = made_up(2 * PIECE_BYTES + 100)
    await uploads.begin(sha256, ME, len(data))
    assert (await uploads.append(sha256, ME, 0, coming(data[:1000]))).received == 1000
    other = Uploads(blobs)
    assert (await other.begin(sha256, ME, len(data))).received == 1000
    state = await other.append(sha256, ME, 1000, coming(data[1000:]))
    assert state.done
    assert await blobs.read(sha256, len(data)) == data
    assert await count(blobs) == 1


async def test_a_break_costs_no_more_than_a_piece(uploads: Uploads) -> None:
    data, sha256 = made_up(3 * PIECE_BYTES)
    await uploads.begin(sha256, ME, len(data))
    with pytest.raises(ConnectionError):
        await uploads.append(sha256, ME, 0, coming(data[: 2 * PIECE_BYTES + 5], ConnectionError()))
    received = (await uploads.state(sha256, ME)).received
    assert received == 2 * PIECE_BYTES
    assert (await uploads.append(sha256, ME, received, coming(data[received:]))).done


async def test_whoever_is_elsewhere_is_told_where_it_goes_on(uploads: Uploads) -> None:
    data, sha256 = made_up(100)
    await uploads.begin(sha256, ME, 100)
    await uploads.append(sha256, ME, 0, coming(data[:40]))
    for start in (0, 39, 41, 10**18):
        with pytest.raises(Conflict, match="byte 40"):
            await uploads.append(sha256, ME, start, coming(data[40:]))
    with pytest.raises(Conflict, match="100 bytes instead of 99"):
        await uploads.begin(sha256, ME, 99)
    assert (await uploads.append(sha256, ME, 40, coming(data[40:]))).done


async def test_of_two_that_send_the_same_part_one_counts(uploads: Uploads, blobs: Blobs) -> None:
    data, sha256 = made_up(100)
    await asyncio.gather(*(uploads.begin(sha256, ME, 100) for _ in range(4)))
    sent = [uploads.append(sha256, ME, 0, coming(data[:40])) for _ in range(4)]
    found = await asyncio.gather(*sent, return_exceptions=True)
    assert [isinstance(each, Conflict) for each in found].count(False) == 1
    assert await count(blobs) == 1
    assert (await uploads.append(sha256, ME, 40, coming(data[40:]))).done


async def test_two_processes_that_finish_at_once_make_one_blob(blobs: Blobs) -> None:
    data, sha256 = made_up(PIECE_BYTES + 100)
    first, second = Uploads(blobs), Uploads(blobs)
    await first.begin(sha256, ME, len(data))
    upload = await blobs.store.read(lambda c: tables.upload(c, sha256, ME))
    assert upload is not None
    middle = await first.append(sha256, ME, 0, coming(data[:-1]))
    await first._piece(upload, middle.received, data[-1:])
    ends = [each.append(sha256, ME, len(data), coming(b"")) for each in (first, second)]
    assert all(state.done for state in await asyncio.gather(*ends))
    assert await blobs.read(sha256, len(data)) == data
    assert await count(blobs) == 1


@pytest.mark.parametrize("size", [100, PIECE_BYTES + 100])
async def test_a_wrong_hash_removes_it_all(uploads: Uploads, blobs: Blobs, size: int) -> None:
    data, sha256 = made_up(size)
    await uploads.begin(sha256, ME, size)
    with pytest.raises(UsageError, match="hash"):
        await uploads.append(sha256, ME, 0, coming(bytes(size)))
    assert await count(blobs) == 0
    with pytest.raises(NotFound):
        await uploads.state(sha256, ME)
    with pytest.raises(Conflict, match="no such upload"):
        await uploads.append(sha256, ME, 0, coming(data))
    await uploads.begin(sha256, ME, size)
    assert (await uploads.append(sha256, ME, 0, coming(data))).done


async def test_nobody_can_spoil_anothers_upload(uploads: Uploads) -> None:
    data, sha256 = made_up(100)
    await uploads.begin(sha256, ME, 100)
    await uploads.append(sha256, ME, 0, coming(data[:40]))
    await uploads.begin(sha256, YOU, 100)
    with pytest.raises(UsageError):
        await uploads.append(sha256, YOU, 0, coming(bytes(100)))
    assert (await uploads.append(sha256, ME, 40, coming(data[40:]))).done


async def test_more_than_was_announced_is_refused(uploads: Uploads, blobs: Blobs) -> None:
    data, sha256 = made_up(100)
    await uploads.begin(sha256, ME, 100)
    with pytest.raises(TooLarge):
        await uploads.append(sha256, ME, 0, coming(bytes(PIECE_BYTES)))
    assert (await uploads.state(sha256, ME)).received == 0
    assert (await uploads.append(sha256, ME, 0, coming(data))).done
    with pytest.raises(TooLarge):
        await uploads.begin("0" * 64, ME, blobs.most + 1)


async def test_crumbs_are_refused(uploads: Uploads, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_PIECES", 3)
    _, sha256 = made_up(100)
    await uploads.begin(sha256, ME, 100)
    for at in range(3):
        await uploads.append(sha256, ME, at, coming(b"x"))
    with pytest.raises(TooLarge, match="pieces"):
        await uploads.append(sha256, ME, 3, coming(b"x"))
    assert (await uploads.state(sha256, ME)).received == await count(blobs) == 3


async def test_open_uploads_are_limited_for_each(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_OPEN", 2)
    hashes = [made_up(1, seed)[1] for seed in range(3)]
    for sha256 in hashes[:2]:
        await uploads.begin(sha256, ME, 1)
    with pytest.raises(Conflict, match="2 uploads open"):
        await uploads.begin(hashes[2], ME, 1)
    await uploads.begin(hashes[2], YOU, 1)
    await uploads.abandon(hashes[0], ME)
    await uploads.begin(hashes[2], ME, 1)


async def test_giving_up_leaves_nothing(uploads: Uploads, blobs: Blobs) -> None:
    _, sha256 = made_up(100)
    await uploads.begin(sha256, ME, 100)
    await uploads.append(sha256, ME, 0, coming(b"x"))
    await uploads.abandon(sha256, ME)
    assert await count(blobs) == 0
    with pytest.raises(NotFound):
        await uploads.abandon(sha256, ME)


async def test_streams_at_once_are_limited(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAMS_EACH", 1)
    data, sha256 = made_up(100)
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield data[:50]
        await go_on.wait()
        yield data[50:]

    await uploads.begin(sha256, ME, 100)
    slow = asyncio.create_task(uploads.append(sha256, ME, 0, slowly()))
    while not uploads._streams:
        await asyncio.sleep(0)
    with pytest.raises(Busy):
        await uploads.append(sha256, ME, 0, coming(data))
    go_on.set()
    assert (await slow).done
    assert not uploads._streams


async def test_what_came_of_a_silent_one_is_kept(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    data, sha256 = made_up(100)

    async def silent() -> AsyncIterator[bytes]:
        yield data[:50]
        await asyncio.Event().wait()

    await uploads.begin(sha256, ME, 100)
    assert (await uploads.append(sha256, ME, 0, silent())).received == 50
    assert (await uploads.append(sha256, ME, 50, coming(data[50:]))).done


async def test_a_long_check_lets_the_sender_ask_again(
    uploads: Uploads, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, sha256 = made_up(PIECE_BYTES + 100)
    await uploads.begin(sha256, ME, len(data))
    held = asyncio.Event()
    write = Blobs.write

    async def held_up(self: Blobs, *args: Any) -> None:
        await held.wait()
        await write(self, *args)

    monkeypatch.setattr(Blobs, "write", held_up)
    monkeypatch.setattr(module, "FINISH_WAIT_S", 0.01)
    state = await uploads.append(sha256, ME, 0, coming(data))
    assert state == UploadState(received=len(data), bytes=len(data), done=False)
    assert await uploads.begin(sha256, ME, len(data)) == state
    held.set()
    monkeypatch.setattr(module, "FINISH_WAIT_S", 10.0)
    assert (await uploads.append(sha256, ME, len(data), coming(b""))).done
    await uploads.close()


async def test_a_lost_piece_ends_the_upload(uploads: Uploads, blobs: Blobs) -> None:
    data, sha256 = made_up(PIECE_BYTES + 100)
    await uploads.begin(sha256, ME, len(data))
    await uploads.append(sha256, ME, 0, coming(data[:-1]))
    await blobs.objects.delete([each.name async for found in blobs.objects.list() for each in found])
    with pytest.raises(Conflict, match="lost"):
        await uploads.append(sha256, ME, len(data) - 1, coming(data[-1:]))
    assert (await uploads.begin(sha256, ME, len(data))).received == 0


async def test_a_full_disk_takes_no_upload_and_keeps_what_came(
    uploads: Uploads, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, sha256 = made_up(PIECE_BYTES + 100)

    async def full(self: object, size: int) -> None:
        raise StorageFull("full")

    await uploads.begin(sha256, ME, len(data))
    await uploads.append(sha256, ME, 0, coming(data[:100]))
    with monkeypatch.context() as patch:
        patch.setattr(type(blobs.objects), "room", full)
        with pytest.raises(StorageFull):
            await uploads.begin("0" * 64, ME, 1)
        with pytest.raises(StorageFull):
            await uploads.append(sha256, ME, 100, coming(data[100:]))
    assert (await uploads.append(sha256, ME, 100, coming(data[100:]))).done
