"""Migrations: they lead to the tables of today, may be repeated, are whole or not there, and keep what people have."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Final

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from dsage_server.store.migrate import config, upgrade
from dsage_server.store.schema import metadata

REVISIONS: Final = [
    script.revision for script in reversed(list(ScriptDirectory.from_config(config()).walk_revisions()))
]

ROWS: Final[dict[str, dict[str, list[str]]]] = {
    "0001": {
        "meta": ["'next_unit', '4097'"],
        "volunteer": ["1, 'quiet-otter', 1, 10.0", "2, 'shy-fox', 0, 11.0"],
        "host": ["1, 1, x'aa', 'c', 'linux', 4, 8, 'box', 12.0, 10.0", "2, 2, x'bb', '', '', 0, 0, '', NULL, 11.0"],
        "invite": ["'hash', 3, 1.0, 2.0"],
        "document": ["'app', 'manifest', x'01', 1.0", "'auth', 'authorisation', x'02', 1.0"],
        "run": ["1, 'k', 'p', 'T', 'app', 'auth', x'cc', x'80', 'running', 2, 5, x'81', 3.0, x'', NULL, '', 1.0, NULL"],
        "batch": ["1, x'03', 99.0"],
        "unit": [
            "1, 1, '1.0', 'g', 'valid', 2, 0, 1500, 60.0, x'7b7d', 1, 0, x'90', 1, 4, '', 1.0, 5.0",
            "2, 1, '1.1', 'g', 'ready', 2, 1, 1500, 60.0, x'7b7d', 1, 1, x'90', NULL, NULL, '', 1.0, NULL",
        ],
        "proof": ["1, 1, x'04', 4.0"],
        "replica": [
            "1, 1, 1, 1, 'valid', x'0a', 1.0, 61.0, 3601.0, 2.5, 4.0, x'01', 'h', 1, 1, NULL, 0, 1.0, ''",
            "2, 2, 2, 2, 'leased', x'0b', 1.0, 61.0, 3601.0, 0.0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 1.0, ''",
        ],
        "credit_entry": ["1, 1, 1, 1, 1, 'lab', 'grant', 1500, 4.0, 1"],
        "credit_sum": ["1, 1500, 1, 0.25"],
        "event": ["1, 1, NULL, 1.0, 'submitted', 'run 1 was submitted'"],
    },
    "0002": {
        "meta": ["'next_unit', '4097'"],
        "volunteer": ["1, 'quiet-otter', 1, 10.0", "2, 'shy-fox', 0, 11.0"],
        "host": [
            "1, 1, x'aa', 'c', 'linux', 4, 8, 'box', 12.0, 10.0, 7, '[\"gmpy2\"]', '[]', '{}'",
            "2, 2, x'bb', '', '', 0, 0, '', NULL, 11.0, 0, '[]', '[]', ''",
        ],
        "invite": ["'hash', 3, 1.0, 2.0"],
        "document": ["'app', 'manifest', x'01', 1.0", "'auth', 'authorisation', x'02', 1.0"],
        "run": [
            "1, 'k', 'p', 'T', 'app', 'auth', x'cc', x'80', 'running', 2, 5, x'81', 3.0, x'', NULL, '', 1.0, NULL, "
            "3, '[]', '[]'"
        ],
        "batch": ["1, x'03', 99.0"],
        "unit": [
            "1, 1, '1.0', 'g', 'valid', 2, 0, 1500, 60.0, 1, 4, '', 1.0, 5.0, NULL, NULL, 1, 2, 3, 4.0",
            "2, 1, '1.1', 'g', 'ready', 2, 1, 1500, 60.0, NULL, NULL, '', 1.0, NULL, 1, 9.0, 1, 2, 3, 4.0",
        ],
        "signed_unit": ["1, x'7b7d', 1, 0, x'90'", "2, x'7b7d', 1, 1, x'90'"],
        "proof": ["1, 1, x'04', 4.0"],
        "replica": [
            "1, 1, 1, 1, 'valid', x'0a', 1.0, 61.0, 3601.0, 2.5, 4.0, 'h', 1, 1, NULL, 0, 1.0, '', 60.0",
            "2, 2, 2, 2, 'leased', x'0b', 1.0, 61.0, 3601.0, 0.0, NULL, NULL, NULL, NULL, NULL, 0, 1.0, '', 60.0",
        ],
        "answer": ["1, x'01'"],
        "tally": ["1, 0, 'unit.valid', 1"],
        "credit_entry": ["1, 1, 1, 1, 1, 'lab', 'grant', 1500, 4.0, 1"],
        "credit_sum": ["1, 1500, 1, 0.25"],
        "run_credit": ["1, 1, 1500, 1"],
        "used_challenge": ["x'05', 70.0"],
        "process": ["1, 'api', 1.0, 2.0"],
        "event": ["1, 1, NULL, 1.0, 'submitted', 'run 1 was submitted'"],
    },
}  # fmt: skip
"""What a database of each revision may hold, table by table, in the order of its columns at that revision."""

ROWS["0003"] = ROWS["0002"] | {
    "blob": ["'aa', 5, 'whole/aa/aa.0', 1.0, 2.0"],
    "blob_ref": ["'aa', 1, 'bundle'"],
    "blob_upload": ["'u', 'bb', x'cc', 9, 4, 1, 3.0"],
    "blob_piece": ["'u', 0, 4, 'pieces/u.0.0'"],
}
ROWS["0004"] = ROWS["0003"] | {"archive": ["1, 'run-00000001.parquet', 'cc', 2, 2, 1, 8.0, NULL"]}
ROWS["0005"] = ROWS["0004"] | {
    "host": [f"{row}, '[\"inputs\"]'" for row in ROWS["0004"]["host"]],
    "unit": [f"{row}, {inputs}" for inputs, row in enumerate(ROWS["0004"]["unit"])],
    "answer": ["1, x'', 'aa'"],
}

MOVED: Final = {"replica": {"value"}, "unit": {"document", "batch_id", "leaf_index", "path"}}
"""Columns that a later revision keeps elsewhere."""


def schema_of(path: Path) -> dict[str, object]:
    """Return what SQLite knows of each table and index, whatever the order of columns in a statement."""
    connection = sqlite3.connect(path)
    found: dict[str, object] = {}
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'"
    for kind, name, table, sql in connection.execute(query).fetchall():
        if kind == "index":
            columns = [row[2] for row in connection.execute(f"PRAGMA index_info({name})")]
            if sql is None:
                found[f"unique {table} {columns}"] = True
            else:
                found[name] = (columns, re.sub(r"\s+", " ", sql.replace('"', "")))
        else:
            columns = sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({name})"))
            keys = sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({name})"))
            found[name] = (columns, keys)
    connection.close()
    return found


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
    connection.close()
    return found


def columns_of(path: Path) -> dict[str, list[str]]:
    """Return the names of each table's columns."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables}
    connection.close()
    return found


def fill(path: Path, revision: str) -> None:
    """Put the rows of a revision into a database of that revision."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = ON")
    for table, rows in ROWS[revision].items():
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({row})")
    connection.commit()
    connection.close()


def test_migrations_lead_to_exactly_the_tables_of_today(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.sqlite", tmp_path / "made.sqlite"
    upgrade(migrated)
    engine = create_engine(f"sqlite:///{made}")
    metadata.create_all(engine)
    engine.dispose()
    assert schema_of(migrated) == schema_of(made)
    assert "uq_replica_unit_volunteer" in schema_of(made)
    assert "unique unit ['run_id', 'key']" in schema_of(made)


def test_an_upgrade_of_what_is_new_already_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    upgrade(path)
    fill(path, REVISIONS[-1])
    before = contents(path)
    upgrade(path)
    assert contents(path) == before


def test_every_revision_has_rows_for_every_table_of_it() -> None:
    assert list(ROWS) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_a_database_of_any_revision_holds_survives(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "db.sqlite"
    upgrade(path, revision)
    fill(path, revision)
    before = contents(path)
    assert all(rows for table, rows in before.items()), "a table without rows proves nothing"
    columns = columns_of(path)
    upgrade(path)
    after = contents(path)
    kept = columns_of(path)
    for table, rows in before.items():
        if table != "alembic_version":
            was = [dict(zip(columns[table], row, strict=True)) for row in rows]
            now = [dict(zip(kept[table], row, strict=True)) for row in after[table]]
            if table == "meta":
                now = [row for row in now if row in was]
            moved = MOVED.get(table, set())
            assert [{c: v for c, v in row.items() if c in was[0]} for row in now] == [
                {c: v for c, v in row.items() if c not in moved or c in now[0]} for row in was
            ], table


def test_answers_and_sums_of_an_old_database_are_where_they_belong_now(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    upgrade(path, "0001")
    fill(path, "0001")
    upgrade(path)
    after = contents(path)
    assert after["answer"] == [(1, b"\x01", None)]
    assert set(after["tally"]) == {
        (1, 0, "unit.valid", 1), (1, 0, "unit.ready", 1), (1, 0, "replica.valid", 1), (1, 0, "replica.leased", 1),
        (1, 0, "credit", 1500),
    }  # fmt: skip
    assert after["run_credit"] == [(1, 1, 1500, 1)]


def test_an_upgrade_that_dies_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "db.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.batch_alter_table", die)
        with pytest.raises(Died):
            upgrade(path)
    assert contents(path) == {}
    upgrade(path)
    assert contents(path).keys() >= metadata.tables.keys()


class Died(Exception):
    """The process ends here."""


def die(*_args: object, **_options: object) -> None:
    raise Died
