"""Both stores keep the same promises: whole or not there, ranges, deletion, listing; and say why they cannot."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dsage.errors import Busy, NotFound, StorageFull, UsageError
from dsage_server.blobs.directory import DirectoryStore
from dsage_server.blobs.objects import BlobStore, open_store
from dsage_server.blobs.s3 import PART_BYTES
from dsage_server.blobs.testing import LocalS3, made_up


async def chunked(data: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1 << 20):
        yield data[at : at + (1 << 20)]
    if error is not None:
        raise error


async def read(objects: BlobStore, name: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in objects.open(name, start, end)])


async def names(objects: BlobStore) -> set[str]:
    return {stored.name async for found in objects.list() for stored in found}


@pytest.mark.parametrize("size", [0, 1, 300_000, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5])
async def test_what_was_put_comes_back_in_any_part(objects: BlobStore, size: int) -> None:
    data, _ = made_up(size)
    await objects.put("whole/aa/one", chunked(data))
    assert await read(objects, "whole/aa/one", 0, size) == data
    assert await read(objects, "whole/aa/one", size // 3, size // 2) == data[size // 3 : size // 2]
    assert await names(objects) == {"whole/aa/one"}
    assert (await objects.size("whole/aa/one"), await objects.size("never")) == (size, None)


@pytest.mark.parametrize("size", [10, 3 * PART_BYTES])
async def test_what_breaks_off_is_not_there(objects: BlobStore, size: int) -> None:
    with pytest.raises(UsageError, match="wrong"):
        await objects.put("whole/one", chunked(bytes(size), UsageError("wrong")))
    assert await names(objects) == set()
    with pytest.raises(NotFound):
        await read(objects, "whole/one", 0, 1)


async def test_deleting_may_be_repeated(objects: BlobStore) -> None:
    for name in ("a", "b/c", "b/d"):
        await objects.put(name, chunked(b"x"))
    await objects.delete(["a", "b/c", "never"])
    await objects.delete(["a"])
    await objects.delete([])
    assert await names(objects) == {"b/d"}


async def test_a_listing_says_when(objects: BlobStore) -> None:
    await objects.put("a", chunked(b"x"))
    (found,) = [stored async for some in objects.list() for stored in some]
    assert abs(found.written - time.time()) < 60


async def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path) -> None:
    await open_store(str(tmp_path), "here", min_free_bytes=0).room(1)
    with pytest.raises(StorageFull, match="do not fit"):
        await open_store(str(tmp_path), "here", min_free_bytes=1 << 60).room(1)


async def test_a_device_without_room_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = DirectoryStore(tmp_path, min_free_bytes=0)
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr("dsage_server.blobs.directory._create", lambda path: os.fdopen(full, "wb", buffering=0))
    with pytest.raises(StorageFull, match="No space"):
        await objects.put("a", chunked(b"x"))


async def test_a_directory_that_fails_is_busy(tmp_path: Path) -> None:
    objects = DirectoryStore(tmp_path, min_free_bytes=0)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Busy):
        await objects.put("folder", chunked(b"x"))
    assert await names(objects) == set()


async def test_a_store_that_is_away_is_busy_and_comes_back(s3: LocalS3) -> None:
    objects = open_store(s3.address, "here", min_free_bytes=0)
    await objects.put("a", chunked(b"x"))
    s3.away()
    try:
        with pytest.raises(Busy, match="the blob store s3://"):
            await objects.put("b", chunked(b"x"))
        with pytest.raises(Busy):
            await objects.put("b", chunked(bytes(2 * PART_BYTES)))
        with pytest.raises(Busy):
            await read(objects, "a", 0, 1)
        with pytest.raises(Busy):
            await objects.delete(["a"])
        with pytest.raises(Busy):
            await names(objects)
    finally:
        s3.back()
    assert await read(objects, "a", 0, 1) == b"x"
    await objects.delete(["a"])


async def test_a_store_that_dies_in_an_upload_shows_nothing_of_it(s3: LocalS3) -> None:
    objects = open_store(s3.address, "here", min_free_bytes=0)

    async def interrupted() -> AsyncIterator[bytes]:
        for number in range(6):
            if number == 4:
                s3.away()
            yield bytes(PART_BYTES)

    try:
        with pytest.raises(Busy):
            await objects.put("a", interrupted())
    finally:
        s3.back()
    assert await names(objects) == set()


async def test_servers_that_share_a_place_see_their_own_objects(tmp_path: Path, s3: LocalS3) -> None:
    for place in (str(tmp_path), s3.address):
        mine, yours = (open_store(place, name, min_free_bytes=0) for name in ("mine", "yours"))
        await mine.put("a", chunked(b"x"))
        assert (await names(mine), await names(yours)) == ({"a"}, set())


@pytest.mark.parametrize(
    "address",
    ["s3://", "http://bucket", "s3://key:secret@bucket", "s3://bucket?secret=x", "s3://bucket#x", "file:///srv"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        open_store(address, "here", min_free_bytes=0)
