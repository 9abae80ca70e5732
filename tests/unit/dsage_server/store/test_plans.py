"""What must stay cheap however long the tables are: SQLite says which index it would use."""

from __future__ import annotations

from sqlalchemy import create_engine

from dsage_server.store import credit
from dsage_server.store.schema import metadata


def test_credit_that_is_not_folded_is_found_by_its_index() -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        query = credit._TAKE.compile(engine)
        bound = tuple(query.params[name] for name in query.positiontup or ())
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", bound).all()
    engine.dispose()
    steps = [row.detail for row in plan]
    assert any("ix_credit_entry_unfolded" in step for step in steps), steps
    assert "SCAN credit_entry" not in steps
