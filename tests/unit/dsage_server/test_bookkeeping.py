from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import Connection, select, text

from dsage.trust.keys import PrivateKey
from dsage.trust.testing import World as Trust
from dsage_server import bookkeeping
from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import open_store
from dsage_server.hub import Hub
from dsage_server.store import daybook
from dsage_server.store.engine import Store
from dsage_server.store.schema import event
from dsage_server.store.testing import fresh
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import World

DAY = 86400.0
MIDNIGHT = 20_000 * DAY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store on which somebody was paid."""
    opened = Store(fresh(tmp_path))
    world = World(opened, MIDNIGHT - 5.0)
    people = [world.join("quiet-otter"), world.join("shy-fox")]
    world.compute(world.step(world.submit("Sums"), args=[1])[0], 1, *people)
    yield opened
    opened.close()


async def test_days_are_closed_as_they_end_and_a_wrong_sum_is_news_after_three(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeping, "LOOK_S", 0.0)
    time = [MIDNIGHT - 1.0]
    blobs = Blobs(store=store, objects=open_store(str(tmp_path), "here", min_free_bytes=0), clock=lambda: time[0])
    hub = Hub(store=store, unit_key=PrivateKey.generate(), chain=Trust().chain(), blobs=blobs, clock=lambda: time[0])
    task = asyncio.create_task(bookkeeping.keep_books(hub))

    passes = []
    due = bookkeeping._is_due

    def counting(connection: Connection, now: float) -> bool:
        passes.append(now)
        return due(connection, now)

    monkeypatch.setattr(bookkeeping, "_is_due", counting)

    async def look() -> tuple[int, list[str]]:
        """Return what there is after the task has looked around twice more."""
        seen = len(passes)
        async with asyncio.timeout(30.0):
            while len(passes) < seen + 3:
                await store.read(lambda c: None)
        news = select(event.c.text).where(event.c.kind == "ledger-wrong")
        closed = await store.read(lambda c: daybook.days(c, 10))
        return len(closed), await store.read(lambda c: list(c.execute(news).scalars()))

    try:
        assert await look() == (1, [])
        time[0] = MIDNIGHT + 1.0
        assert await look() == (2, [])
        await store.write(lambda c: c.execute(text("UPDATE credit_app SET valid = valid + 1")))
        assert await look() == (2, [])
        time[0] = MIDNIGHT + 3 * 3600 + 1.0
        closed, news = await look()
        assert (closed, len(news)) == (2, 1)
        time[0] += 3600
        assert await look() == (2, news)
        time[0] += DAY
        assert await look() == (3, news * 2)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_programs_read_the_chain_of_days(store: Store) -> None:
    store.write_now(lambda c: daybook.close(c, MIDNIGHT + DAY))
    await bookkeeping.hash_days(store)
    async with TestClient(TestServer(make_pages(store, server_id="s", name="n"))) as client:
        said: dict[str, Any] = await (await client.get("/ledger.json")).json()
    assert said["schema"] == "dsage.ledger/1"
    ((day,)) = said["data"]["days"] if "data" in said else said["days"]
    assert (day["number"], day["day"], day["entries"], day["credit"]) == (1, "2024-10-04", 2, 2.0)
    assert len(day["hash"]) == 64
