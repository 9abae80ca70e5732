from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from dsage.errors import Busy, Conflict, StorageFull
from dsage_server.store.engine import Store
from dsage_server.store.testing import fresh, kinds


@pytest.fixture(params=kinds())
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return fresh(tmp_path, request.param)


@pytest.fixture
def store(where: Path | str) -> Iterator[Store]:
    store = Store(where)
    store.write_now(lambda c: c.execute(text("CREATE TABLE t (x INTEGER UNIQUE)")))
    yield store
    store.close()


def adding(number: int) -> Callable[[Connection], int]:
    def change(connection: Connection) -> int:
        connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": number})
        return number

    return change


async def kept(store: Store) -> list[int]:
    return await store.read(lambda c: list(c.execute(text("SELECT x FROM t ORDER BY x")).scalars()))


async def test_changes_of_one_turn_share_a_commit_and_one_that_fails_goes_alone(store: Store) -> None:
    def refused(connection: Connection) -> None:
        adding(99)(connection)
        raise Conflict("not this one")

    changes = [store.write(adding(1)), store.write(refused), store.write(adding(1)), store.write(adding(2))]
    said = await asyncio.gather(*changes, return_exceptions=True)
    assert store.commits == 1
    assert [said[0], said[3]] == [1, 2]
    assert [type(said[1]).__name__, type(said[2]).__name__] == ["Conflict", "IntegrityError"]
    assert await kept(store) == [1, 2]


def test_sums_of_whole_numbers_are_whole_numbers(store: Store) -> None:
    def asked(connection: Connection, what: str, *numbers: int) -> str:
        rows = " UNION ALL ".join(f"SELECT CAST({number} AS BIGINT) AS n" for number in numbers)
        return repr(connection.execute(text(f"SELECT {what} FROM ({rows}) AS numbers")).scalar())

    assert store.read_now(lambda c: asked(c, "sum(n)", 2**53 + 1, 2)) == str(2**53 + 3)
    assert store.read_now(lambda c: asked(c, "sum(n)", -1, -2)) == "-3"
    assert store.read_now(lambda c: asked(c, "avg(n)", 1, 2)) == "1.5"
    assert store.read_now(lambda c: asked(c, "sum(NULLIF(n, n))", 1)) == "None"


async def test_a_commit_that_fails_fails_for_all_and_the_next_one_works(store: Store) -> None:
    def fails(_connection: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    event.listen(store._writer, "commit", fails)
    said = await asyncio.gather(store.write(adding(1)), store.write(adding(2)), return_exceptions=True)
    event.remove(store._writer, "commit", fails)
    assert [type(each) for each in said] == [StorageFull, StorageFull]
    assert await kept(store) == []
    assert await store.write(adding(3)) == 3
    assert await kept(store) == [3]


async def test_a_database_that_somebody_else_holds_is_busy(where: Path | str, store: Store) -> None:
    wait = "SET lock_timeout = 1" if store.shared else "PRAGMA busy_timeout=1"
    store.write_now(lambda c: c.exec_driver_sql(wait))
    other = Store(where)
    with other._writer.connect() as theirs, theirs.begin():
        if store.shared:
            theirs.exec_driver_sql("LOCK TABLE t")
        with pytest.raises(Busy, match="lock"):
            await store.write(adding(1))
    other.close()
    assert await store.write(adding(1)) == 1


async def test_a_caller_that_goes_before_the_commit_takes_its_change_along(store: Store) -> None:
    learned: list[int] = []
    first = asyncio.create_task(store.write(adding(1), then=learned.append))
    second = asyncio.create_task(store.write(adding(2), then=learned.append))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2
    assert (await kept(store), learned) == ([2], [2])


async def test_what_was_committed_is_learned_in_order_and_before_the_callers_go_on(store: Store) -> None:
    seen: list[str] = []

    async def write(number: int) -> None:
        await store.write(adding(number), then=lambda value: seen.append(f"learned {value}"))
        seen.append(f"answered {number}")

    await asyncio.gather(write(1), write(2))
    assert seen.index("learned 1") < seen.index("learned 2")
    assert all(seen.index(f"learned {n}") < seen.index(f"answered {n}") for n in (1, 2))


async def test_after_the_end_nobody_waits_for_ever(where: Path | str) -> None:
    store = Store(where)
    store.close()
    with pytest.raises((Busy, ProgrammingError)):
        await asyncio.wait_for(store.write(adding(1)), 30.0)
    store.close()
