"""Large answers lie among the blobs: accepted, compared, judged, folded and archived as any other."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dsage import codec, wire
from dsage.errors import Busy, StorageFull
from dsage.trust.envelope import seal
from dsage_server.blobs import answers
from dsage_server.blobs.answers import LARGE_BYTES, LargeAnswers
from dsage_server.retention import files, gather
from dsage_server.retention.archive import archive_run
from dsage_server.store.testing import rows as rows_of
from dsage_server.testing import HandDriver, Host, World, document, running_server, until

MIB = 1 << 20


def value(size: int = MIB, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def hash_of(answer: Any) -> str:
    return hashlib.sha256(codec.encode(answer)).hexdigest()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        yield world
        await world.close()


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    return rows_of(world.folder / "server", query)


async def blobs_of(world: World, driver: HandDriver) -> list[str]:
    query = f"SELECT sha256 FROM blob_ref WHERE kind = 'output' AND run_id = {driver.run} ORDER BY 1"
    return [sha256 for (sha256,) in rows(world, query)]


async def test_equal_large_answers_are_one_blob_and_reach_the_driver(world: World) -> None:
    driver = await world.run()
    one, two = await world.host(), await world.host()
    await driver.make(1, quorum=2)
    await driver.make(2, quorum=2)
    big = value()
    for host in (one, two):
        got = sorted(await host.fetch(2, 5.0), key=lambda each: document(each).args)
        assert await host.report(got, [big, "small"]) == ["ok", "ok"]
    found = (await driver.answers(5.0)).answers
    assert [codec.decode(each.value or b"") for each in found] == [big, "small"]
    assert await blobs_of(world, driver) == [hash_of(big)]
    kept = rows(world, "SELECT length(value), blob FROM answer ORDER BY 1")
    assert kept == [(0, hash_of(big)), (len(codec.encode("small")), None)]
    assert (await world.view(driver)).replicas == {"valid": 4}


async def test_a_large_lie_is_told_from_the_truth(world: World) -> None:
    driver = await world.run()
    await driver.make(1, quorum=2)
    for lie in (1, 0, 0):
        host = await world.host()
        assert await host.report(await host.fetch(1, 5.0), [value(seed=lie)]) == ["ok"]
    (answer,) = (await driver.answers(5.0)).answers
    assert codec.decode(answer.value or b"") == value()
    assert (await world.view(driver)).replicas == {"valid": 2, "invalid": 1}
    assert await blobs_of(world, driver) == sorted([hash_of(value()), hash_of(value(seed=1))])


async def test_an_app_judges_large_answers_itself(world: World) -> None:
    if not world.running.hub.can_check:
        pytest.skip("no sandbox for checks on this computer")
    source = world.folder / "near.py"
    source.write_text("""
from dsage import DistributedFunction


class Near(DistributedFunction):
    @staticmethod
    def compute(i):
        return i

    @staticmethod
    def agree(args, a, b):
        return a[:100] == b[:100] and len(a) == len(b)

    def process_result(self, unit, value):
        pass
""")
    plain = await world.run()
    driver = await HandDriver.submitted(plain.researcher, f"{source}:Near")
    await driver.make(1, quorum=2)
    near = value()[:-1] + b"!"
    for answer in (value(), near):
        host = await world.host()
        assert await host.report(await host.fetch(1, 5.0), [answer]) == ["ok"]
    (found,) = (await driver.answers(10.0)).answers
    assert codec.decode(found.value or b"") == value(), "the centre of the camp"
    assert await blobs_of(world, driver) == sorted([hash_of(value()), hash_of(near)])
    await driver.researcher.cancel(driver.run)


async def signed(host: Host, got: list[wire.Assignment], data: bytes) -> list[str]:
    batch, reports = host.signed(got, [data])
    return [ack.code for ack in (await host.exchange(reports=reports, proof=seal(batch, host.key))).acks]


async def test_only_what_may_be_reported_is_kept(world: World) -> None:
    """A host cannot fill the disk with answers to units that it does not hold, twice, too long, or that are none."""
    driver = await world.run()
    host, other = await world.host(), await world.host()
    for unit in range(4):
        await driver.make(unit, quorum=1, output_bytes=2 * MIB)
    got = await host.fetch(4, 5.0)
    count = "SELECT count(*) FROM blob"
    (before,) = rows(world, count)
    assert await other.report(got[:1], [value()]) == ["unknown"]
    assert await host.report(got[:1], [value()], lease=b"wrong") == ["refused"]
    assert await host.report(got[1:2], [value(3 * MIB)]) == ["ok"], "a failure: longer than its unit allows"
    assert await signed(host, got[2:3], b"\x91" * MIB) == ["ok"], "no value: a lie"
    assert rows(world, count) == [before]
    assert await host.report(got[3:], [value()]) == ["ok"]
    assert await host.report(got[3:], [value(seed=5)]) == ["refused"]
    assert rows(world, count) == [(before[0] + 1,)]
    view = await world.view(driver)
    assert (view.replicas["error"], view.replicas["invalid"], view.replicas["valid"]) == (1, 1, 1)


async def test_large_answers_of_many_hosts_are_written_a_few_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most = 0, 0
    objects = world.running.hub.blobs.objects
    put = objects.put

    async def counted(name: str, chunks: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await put(name, chunks)
        finally:
            running -= 1

    monkeypatch.setattr(objects, "put", counted)
    driver = await world.run()
    hosts = [await world.host() for _ in range(8)]
    await driver.make(*range(8), quorum=1)
    got = [await host.fetch(1, 5.0) for host in hosts]
    acks = await asyncio.gather(
        *(host.report(mine, [value(MIB // 2, seed)]) for seed, (host, mine) in enumerate(zip(hosts, got, strict=True)))
    )
    assert acks == [["ok"]] * 8
    assert 1 < most <= answers.AT_A_TIME
    assert len((await driver.answers(5.0)).answers) == 8


async def test_replies_to_drivers_stay_bounded(world: World) -> None:
    driver, host = await world.run(), await world.host()
    await driver.make(*range(4), quorum=1)
    got = await host.fetch(4, 5.0)
    for seed, each in enumerate(got):
        assert await host.report([each], [value(3 * MIB, seed)]) == ["ok"]
    found = await driver.answers(5.0)
    assert len(found.answers) == 2, "8 MiB a reply"
    await driver.commit(folded=[each.unit for each in found.answers])
    assert len((await driver.answers(5.0)).answers) == 2


async def test_an_archive_holds_large_answers_and_frees_their_blobs(world: World, tmp_path: Path) -> None:
    driver, host = await world.run(), await world.host()
    hub = world.running.hub
    await driver.make(1, quorum=1)
    assert await host.report(await host.fetch(1, 5.0), [value()]) == ["ok"]
    (answer,) = (await driver.answers(5.0)).answers
    url = f"{world.running.pages_url}/unit/{answer.unit}"
    async with aiohttp.ClientSession() as session, session.get(url) as page:
        assert f"{len(codec.encode(value())):,} bytes are too many for a page" in await page.text()
    await driver.commit(folded=[answer.unit], finished=True, result=codec.encode(None))

    async def folded() -> bool:
        return rows(world, "SELECT count(*) FROM credit_unfolded") == [(0,)]

    await until(folded)
    done = await archive_run(hub.blobs, tmp_path / "archive", driver.run, hub.clock)
    (kept,) = [row for table, row in files.read(done.file, gather.TABLES) if table == "answer"]
    assert (codec.decode(kept["value"]), kept["blob"]) == (value(), hash_of(value()))
    assert await blobs_of(world, driver) == []
    (left,) = rows(world, f"SELECT count(*) FROM blob_ref WHERE run_id = {driver.run}")
    assert left == (1,), "its source stays"


async def test_a_large_answer_that_was_lost_is_waited_for(world: World) -> None:
    driver, host = await world.run(), await world.host()
    blobs = world.running.hub.blobs
    await driver.make(1, quorum=1)
    assert await host.report(await host.fetch(1, 5.0), [value()]) == ["ok"]
    await blobs.objects.delete([(await blobs.find(hash_of(value()))).object])
    with pytest.raises(Busy, match="not among the server's blobs"):
        await driver.answers()
    await blobs.keep(hash_of(value()), codec.encode(value()))

    async def there() -> bool:
        return bool((await driver.answers()).answers)

    await until(there)


async def test_without_room_for_blobs_answers_go_into_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_size: int) -> None:
        raise StorageFull("no room for blobs")

    driver, host = await world.run(), await world.host()
    monkeypatch.setattr(world.running.hub.blobs.objects, "room", full)
    await driver.make(1, 2, quorum=1)
    assert await host.report(await host.fetch(2, 5.0), [value(), "small"]) == ["ok", "ok"]
    found = (await driver.answers(5.0)).answers
    assert [codec.decode(each.value or b"") for each in found] == [value(), "small"]
    assert await blobs_of(world, driver) == []


async def test_small_answers_touch_no_blob(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, host = await world.run(), await world.host()
    await driver.make(1, quorum=1)
    got = await host.fetch(1, 5.0)
    small = bytes(LARGE_BYTES - 5)
    assert len(codec.encode(small)) == LARGE_BYTES
    reads: list[object] = []
    read = type(world.running.hub.store).read
    monkeypatch.setattr(
        type(world.running.hub.store), "read", lambda store, query: (reads.append(query), read(store, query))[1]
    )
    keeper = LargeAnswers(world.running.hub.blobs)
    batch, reports = host.signed(got, [codec.encode(small)])
    assert await keeper.keep(1, list(zip(batch.results, reports, strict=True))) == {}
    assert reads == []
    assert await host.report(got, [small]) == ["ok"]
    assert await blobs_of(world, driver) == []
