"""What several processes share: what one has to itself, and what one that was killed could not tell the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from dsage_server import looking_back
from dsage_server.store.checking import alone
from dsage_server.store.engine import Store
from dsage_server.store.schema import standing
from dsage_server.store.testing import shared_cluster
from dsage_server.testing import running_server, until

CHECKERS = 33
"""More than a store has connections."""


@pytest.fixture
def stores() -> Iterator[tuple[Store, Store]]:
    where = shared_cluster().migrated()
    with closing(Store(where)) as one, closing(Store(where)) as other:
        yield one, other


async def test_those_who_read_find_a_connection_however_many_units_a_process_has_to_itself(
    stores: tuple[Store, Store],
) -> None:
    one, other = stores
    async with AsyncExitStack() as stack:
        mine = [await stack.enter_async_context(alone(one, number)) for number in range(CHECKERS)]
        assert mine == [True] * CHECKERS
        async with asyncio.timeout(10.0):
            assert (
                await asyncio.gather(*[one.read(lambda c: c.scalar(text("SELECT 1"))) for _ in mine]) == [1] * CHECKERS
            )
        async with alone(other, 7) as theirs:
            assert not theirs
    async with alone(other, 7) as theirs:
        assert theirs


async def test_what_a_process_had_to_itself_is_free_when_its_connection_is_gone(stores: tuple[Store, Store]) -> None:
    one, other = stores
    end = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    block = alone(one, 7)
    assert await block.__aenter__()
    await other.read(lambda c: c.execute(end).all())
    with pytest.raises(DBAPIError):
        await block.__aexit__(None, None, None)
    async with alone(other, 7) as theirs, alone(one, 8) as mine:
        assert (theirs, mine) == (True, True)


async def test_a_liar_is_looked_at_though_nobody_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking_back, "LOOK_AGAIN_S", 0.05)
    async with running_server(tmp_path) as running:
        store = running.hub.store
        found = insert(standing).values(host_id=1, app="a", passed=0.0, lies=1, at=0.0, due=1.0)
        await store.write(lambda c: c.execute(found))

        async def looked_at() -> bool:
            return await store.read(lambda c: c.scalar(select(standing.c.due))) is None

        await until(looked_at)
