"""Many rows in one statement: all of them arrive, and what is written for every copy costs no more than it must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Index, func, select

from dsage_server.store.bulk import TOGETHER, insert_rows
from dsage_server.store.engine import Store
from dsage_server.store.schema import answer, metadata
from dsage_server.store.testing import fresh, kinds


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = Store(fresh(tmp_path, request.param))
    yield opened
    opened.close()


@pytest.mark.parametrize("count", [0, 1, 3, TOGETHER - 1, TOGETHER, TOGETHER + 1, 5 * TOGETHER + 7])
def test_however_many_rows_there_are_each_is_inserted_once(store: Store, count: int) -> None:
    rows = [(n, b"%d" % n) for n in range(count)]
    store.write_now(lambda connection: insert_rows(connection, answer, ("replica_id", "value"), rows))
    query = select(answer.c.replica_id, answer.c.value).order_by(answer.c.replica_id)
    assert store.read_now(lambda c: [(n, bytes(value)) for n, value in c.execute(query)]) == rows
    assert store.read_now(lambda c: c.execute(select(func.count()).select_from(answer)).scalar()) == count


def indexes() -> list[Index]:
    return sorted((index for table in metadata.tables.values() for index in table.indexes), key=lambda i: str(i.name))


@pytest.mark.parametrize("index", indexes(), ids=lambda index: str(index.name))
def test_no_index_has_a_list_in_its_condition_for_which_sqlite_makes_a_table_at_each_row(index: Index) -> None:
    assert " IN (" not in str(index.dialect_options["sqlite"]["where"])
