"""Blobs are kept once, read back, needed by runs, and let go only when nothing needs them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from dsage.errors import Busy, NotFound, TooLarge, UsageError
from dsage_server.blobs.library import GRACE_S, UPLOAD_S, Blobs, once
from dsage_server.blobs.testing import made_up
from dsage_server.store import blobs as tables
from dsage_server.store.schema import document, run

OLD = GRACE_S + 1.0


def make_run(connection: Connection, number: int) -> None:
    connection.execute(insert(document).values(hash=f"d{number}", kind="manifest", envelope=b"", created=0.0))
    connection.execute(
        insert(run).values(
            id=number, run_key=f"k{number}", project="p", title="t", app=f"d{number}", authorisation=f"d{number}",
            researcher=b"", params=b"", state="running", fence=0, step=0, driver_state=b"", progress=b"", created=0.0,
        )
    )  # fmt: skip


async def count(blobs: Blobs) -> int:
    return sum([len(found) async for found in blobs.objects.list()])


async def aged(blobs: Blobs, clock: Any) -> int:
    """Collect as it would be when all that is there now is too old to be spared for its age."""
    clock.now += OLD
    return await blobs.collect()


async def test_a_blob_is_kept_once_and_read_back(blobs: Blobs) -> None:
    data, sha256 = made_up(100_000)
    for _ in range(2):
        await blobs.keep(sha256, data)
    await asyncio.gather(*(blobs.keep(sha256, data) for _ in range(5)))
    assert await blobs.read(sha256, len(data)) == data
    assert await count(blobs) == 1
    with pytest.raises(TooLarge):
        await blobs.read(sha256, len(data) - 1)


async def test_writers_of_the_same_blob_leave_one_object(blobs: Blobs) -> None:
    data, sha256 = made_up(1000)
    await asyncio.gather(*(blobs.write(sha256, len(data), once(data)) for _ in range(4)))
    assert await count(blobs) == 1
    assert await blobs.read(sha256, 1000) == data


async def test_a_blob_that_was_lost_comes_again(blobs: Blobs) -> None:
    data, sha256 = made_up(1000)
    await blobs.keep(sha256, data)
    await blobs.objects.delete([(await blobs.find(sha256)).object])
    assert not await blobs.has(sha256)
    with pytest.raises(NotFound):
        await blobs.read(sha256, 1000)
    await asyncio.gather(*(blobs.keep(sha256, data) for _ in range(3)))
    assert await blobs.read(sha256, 1000) == data
    assert await count(blobs) == 1


async def test_bytes_of_another_hash_are_refused(blobs: Blobs) -> None:
    with pytest.raises(UsageError):
        await blobs.keep("0" * 64, b"x")
    with pytest.raises(NotFound):
        await blobs.find("0" * 64)
    for bent in ("", "../../unit.key", "0" * 63, "0" * 65, "A" * 64, "\u0663" * 64, "0" * 63 + "\n"):
        with pytest.raises(NotFound):
            await blobs.find(bent)
        with pytest.raises(NotFound):
            await blobs.keep(bent, b"x")
    assert await count(blobs) == 0


async def test_what_a_run_needs_stays(blobs: Blobs, clock: Any) -> None:
    hashes = []
    for seed in range(3):
        data, sha256 = made_up(10, seed)
        await blobs.keep(sha256, data)
        hashes.append(sha256)
    await blobs.store.write(lambda c: make_run(c, 1))
    await blobs.store.write(lambda c: tables.refer(c, 1, "input", [*hashes[:2], hashes[0]], clock()))
    await blobs.store.write(lambda c: tables.refer(c, 1, "bundle", hashes[:1], clock()))
    assert await blobs.collect() == 0
    assert await aged(blobs, clock) == 1
    assert [await blobs.has(sha256) for sha256 in hashes] == [True, True, False]
    await blobs.store.write(lambda c: tables.release(c, 1, ["input", "bundle"]))
    assert await blobs.collect() == 0, "they were asked for a moment ago"
    assert await aged(blobs, clock) == 2
    assert await count(blobs) == 0


async def test_a_run_cannot_need_what_is_not_there(blobs: Blobs, clock: Any) -> None:
    await blobs.store.write(lambda c: make_run(c, 1))
    with pytest.raises(NotFound):
        await blobs.store.write(lambda c: tables.refer(c, 1, "input", ["0" * 64], clock()))
    assert await blobs.store.read(lambda c: tables.runs_without(c, "input")) == [1]


async def test_a_blob_that_is_sent_again_while_it_is_collected_stays(blobs: Blobs, clock: Any) -> None:
    """The rows go before the objects: who sends the blob in between writes an object of its own."""
    data, sha256 = made_up(10)
    await blobs.keep(sha256, data)
    clock.now += OLD
    doomed = await blobs.store.write(lambda c: tables.collect(c, clock.now - GRACE_S))
    await blobs.keep(sha256, data)
    await blobs.objects.delete(doomed)
    assert await blobs.read(sha256, 10) == data
    assert len(doomed) == await count(blobs) == 1


async def test_what_was_asked_for_gets_a_new_day(blobs: Blobs, clock: Any) -> None:
    data, sha256 = made_up(10)
    await blobs.keep(sha256, data)
    clock.now += OLD
    assert await blobs.has(sha256)
    assert await blobs.collect() == 0
    assert await aged(blobs, clock) == 1


async def test_objects_that_nobody_knows_go_when_they_are_old(blobs: Blobs, clock: Any) -> None:
    for name in ("whole/aa/lost", "pieces/lost"):
        await blobs.objects.put(name, once(b"x"))
    (written,) = {each.written async for found in blobs.objects.list() for each in found if each.name == "pieces/lost"}
    clock.now = written + GRACE_S - 60.0
    assert await blobs.collect() == 0
    clock.now = written + GRACE_S + 60.0
    assert await blobs.collect() == 2
    assert await count(blobs) == 0


async def test_given_up_uploads_go(blobs: Blobs, clock: Any) -> None:
    upload = await blobs.store.write(lambda c: tables.begin(c, "0" * 64, b"me", 10, clock()))
    await blobs.objects.put("pieces/one", once(b"x"))
    await blobs.store.write(lambda c: tables.append(c, upload.id, 0, 1, "pieces/one", 9, clock()))
    clock.now += UPLOAD_S - 1.0
    assert await blobs.collect() == 0
    clock.now += 2.0
    assert await blobs.collect() == 1
    assert await count(blobs) == 0
    assert await blobs.store.read(lambda c: tables.upload(c, "0" * 64, b"me")) is None


async def test_a_collector_whose_store_is_away_loses_nothing_for_good(
    blobs: Blobs, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, sha256 = made_up(10)
    await blobs.keep(sha256, data)
    clock.now += OLD

    async def away(names: list[str]) -> None:
        raise Busy("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(blobs.objects), "delete", lambda self, names: away(names))
        with pytest.raises(Busy):
            await blobs.collect()
    (stored,) = [each async for found in blobs.objects.list() for each in found]
    clock.now = stored.written + OLD
    assert await blobs.collect() == 1
    assert await count(blobs) == 0


async def test_bundles_of_an_older_server_are_taken_over(blobs: Blobs, tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    folder.mkdir()
    data, sha256 = made_up(1000)
    (folder / sha256).write_bytes(data)
    (folder / ("0" * 64)).write_bytes(b"torn")
    (folder / ".passing").write_bytes(b"")
    await blobs.adopt(folder)
    assert await blobs.read(sha256, 1000) == data
    assert sorted(path.name for path in folder.iterdir()) == [".passing", "0" * 64]
    await blobs.adopt(tmp_path / "never")
