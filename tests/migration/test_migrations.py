"""Migrations: they lead to the tables of today, may be repeated, are whole or not there, and keep what people have."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, MetaData, NullPool, Table, create_engine, insert, select, text
from sqlalchemy.exc import IntegrityError

from dsage_server.store.migrate import config, upgrade
from dsage_server.store.schema import metadata
from dsage_server.store.testing import SQLITE, kinds, shared_cluster

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

ROWS["0006"] = ROWS["0005"] | {
    "credit_sum": ["1, 1500, 1, 0.25, 1", "2, 0, 0, 0.0, 0"],
    "people_sum": ["1, 0, 1, 1500, 1, 0.25", "0, 0, 1, 0, 0, 0.0"],
    "run_credit": ["1, 1, 1500, 1, 1"],
}

ROWS["0007"] = ROWS["0006"] | {
    "run": [f"{row}, 0" for row in ROWS["0006"]["run"]],
    "unit": [f"{row}, 1, NULL, 0, ''" for row in ROWS["0006"]["unit"]],
    "replica": [f"{row}, 0.5" for row in ROWS["0006"]["replica"]],
    "printed": ["1, x'6869'"],
    "run_step": ["1, 1, x'80'"],
    "quota": ["x'cc', 3, NULL, 4"],
}

ROWS["0008"] = ROWS["0007"] | {
    "run": [f"{row}, NULL" for row in ROWS["0007"]["run"]],
    "unit": [f"{row}, 0" for row in ROWS["0007"]["unit"]],
}

ROWS["0009"] = ROWS["0008"] | {"aside": ["1, 1, 'dd'"]}

ROWS["0010"] = ROWS["0009"] | {
    "unit": [f"{row}, {retries}" for retries, row in zip(("NULL", 3), ROWS["0009"]["unit"], strict=True)]
}

ROWS["0011"] = ROWS["0010"] | {
    "volunteer": [f"{row}, {gone}" for gone, row in zip(("NULL", 20.0), ROWS["0010"]["volunteer"], strict=True)],
    "host": [f"{row}, 'attic', '[]', {gone}" for gone, row in zip(("NULL", 20.0), ROWS["0010"]["host"], strict=True)],
    "invite": [f"{row}, 1" for row in ROWS["0010"]["invite"]],
    "open_link": ["'open', 1, 60, 5, 2, 1.0, 99.0, NULL"],
    "open_use": ["1, 1, 'net', 2.0"],
}

ROWS["0012"] = ROWS["0011"] | {
    table: [f"{row}, {only}" for only, row in enumerate(ROWS["0011"][table])]
    for table in ("volunteer", "invite", "open_link")
}

ROWS["0013"] = ROWS["0012"] | {
    "credit_entry": [
        "1, 1, 1, 1, 1, 'lab', 'grant', 1500, 4.0, 1, 'app', 7, 0, NULL, '', ''",
        "2, 1, 1, 1, 1, 'lab', 'reversal', -1500, 5.0, 2, 'app', 7, 0, 1, 'a lie', 'dsage'",
    ],
    "credit_host": ["1, 1500, 1, 0.25"],
    "credit_team": ["7, 1500, 1, 0.25"],
    "credit_app": ["'app', 1500, 1, 0.25"],
    "credit_daily": ["1, 0, 'app', 1500, 1"],
    "credit_house": ["1, 'lab', 10, 1"],
    "house_account": ["x'cc', 1"],
    "ledger_day": ["1, 20000, 9.0, 1, 1500, 'ab'"],
}

ROWS["0014"] = ROWS["0013"] | {
    "unit": [f"{row}, 0" for row in ROWS["0013"]["unit"]],
    "replica": [f"{row}, 0" for row in ROWS["0013"]["replica"]],
    "standing": ["1, 'app', 2.5, 0, 4.0, NULL"],
}

ROWS["0015"] = ROWS["0014"] | {"kin": ["2, 'day-20000'", "2, 'net-ab'"]}

ROWS["0016"] = ROWS["0015"] | {
    "volunteer": [
        f"{row}, {team}"
        for row, team in zip(ROWS["0015"]["volunteer"], ("7, 3.0, 1, NULL", "NULL, NULL, 0, 9.0"), strict=True)
    ],
    "invite": [f"{row}, 7" for row in ROWS["0015"]["invite"]],
    "team": ["7, 'Otters', 'otters', 1, 3.0, NULL"],
}

ROWS["0017"] = ROWS["0016"] | {
    "discovery": [
        "1, 1, 1, 'a prime', '{\"n\":\"7\"}', 'is_prime(7)', 'published', 3, 4.0, 5.0, 6.0, 1, '[1,2]', '', ''",
        "2, 1, 2, 'another', '{}', '', 'candidate', NULL, 4.0, NULL, NULL, 0, '[]', 'it fell', ''",
    ],
}

ROWS["0018"] = ROWS["0017"] | {
    "standing": ["1, 'app', 2.5, 0, 4.0, NULL, 0.3"],
    "outlying": [
        "1, 1, 'app', 'fast', 4.0, 5.0, NULL, 'It is fast.', '{}'",
        "2, 0, 'app', 'differ', 4.0, 5.0, 6.0, 'Answers differ.', '{\"hosts\":7}'",
    ],
}

ROWS["0019"] = ROWS["0018"] | {
    "volunteer": [f"{row}, {told}" for row, told in zip(ROWS["0018"]["volunteer"], ("'NZ', 1", "'', 0"), strict=True)],
    "web_session": ["1, 'ab', 'volunteer', '1', 'link', 3.0, 4.0, 5.0"],
    "web_link": ["'cd', 'researcher', 'ff', 5.0"],
    "passkey": ["1, 1, x'01', x'02', 0, 'my laptop', 3.0, NULL"],
    "recovery": ["1, 'ee', 3.0"],
    "consent": ["1, 1, 'board', 1, 1, 3.0, ''", "2, 1, 'country', 1, 1, 3.0, 'NZ'"],
    "announcement": ["1, 'Back soon.', 1, 3.0, NULL, 2.0"],
    "deed": ["1, 3.0, 'operator', 'reversed credit', 'volunteer 1', ''"],
    "api_token": ["1, 'aa', x'03', 'nightly', 'read', 3.0, 9.0, NULL, NULL"],
}

ROWS["0020"] = ROWS["0019"] | {
    "credit_entry": [
        "1, 1, 1, 1, 1, 'lab', 'grant', 1500, 4.0, 'app', 7, 0, NULL, '', ''",
        "2, 1, 1, 1, 1, 'lab', 'reversal', -1500, 5.0, 'app', 7, 0, 1, 'a lie', 'dsage'",
        "3, 2, 1, 1, 1, 'lab', 'grant', 1500, 6.0, 'app', 7, 0, NULL, '', ''",
    ],
    "credit_app": ["1, 'app', 1500, 1, 0.25"],
    "credit_daily": ["1, 0, 1, 1500, 1"],
    "ledger_span": ["1, 1, 1", "2, 2, 2"],
}

ROWS["0021"] = ROWS["0020"] | {"known": ["9, 1, 1, 3.0, NULL, NULL", "10, 2, 1, 3.0, 4.0, 1"]}
ROWS["0022"] = ROWS["0021"] | {"last_word": ["1, 1, NULL", "2, 1, 1"]}
ROWS["0023"] = ROWS["0022"]
ROWS["0024"] = ROWS["0023"] | {
    "request": ["1, x'cc', 'curie', '[\"radium\"]', 'Half-lives.', 3.0, 'waiting', NULL, ''"]
}
ROWS["0025"] = ROWS["0024"]
ROWS["0026"] = ROWS["0025"] | {"painting": ["1, 4, 6, x'89'"], "painted_tile": ["1, 1, 1, 0, 0, 4, 2"]}
ROWS["0027"] = ROWS["0026"] | {
    "membership": ["1, 7, 1, 3.0, NULL, 1", "2, 7, 2, 3.5, 4.5, 0"], "credit_team_daily": ["7, 0, 1500, 1"],
}  # fmt: skip
ROWS["0028"] = ROWS["0027"] | {"blob_sum": ["x'cc', 0, 5"]}
ROWS["0029"] = ROWS["0028"]

MOVED: Final = {
    "replica": {"value"},
    "unit": {"document", "batch_id", "leaf_index", "path"},
    "credit_entry": {"folded"},
    "credit_daily": {"app"},
}
"""Columns that a later revision keeps elsewhere."""
ADDED: Final = {"meta", "tally", "credit_sum"}
"""Tables into which a later revision puts further rows."""


def schema_of(path: Path) -> dict[str, object]:
    """Return what SQLite knows of each table and index, whatever the order of columns in a statement."""
    connection = sqlite3.connect(path)
    found: dict[str, object] = {}
    query = (
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version' AND type <> 'trigger'"
    )
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


@contextmanager
def opened(where: Path | str) -> Iterator[tuple[Connection, list[Table]]]:
    """Open a database, with the tables that it has."""
    url = f"sqlite:///{where}" if isinstance(where, Path) else where.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            found = MetaData()
            found.reflect(connection)
            yield connection, list(found.tables.values())
    finally:
        engine.dispose()


def contents(where: Path | str) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table."""
    with opened(where) as (connection, tables):
        return {
            str(table.name): [tuple(row) for row in connection.execute(select(table).order_by(table.columns[0]))]
            for table in tables
        }


def columns_of(where: Path | str) -> dict[str, list[str]]:
    """Return the names of each table's columns."""
    with opened(where) as (_, tables):
        return {str(table.name): [str(column.name) for column in table.columns] for table in tables}


def fill(where: Path | str, revision: str) -> None:
    """Put the rows of a revision into a database of that revision."""
    reader = sqlite3.connect(":memory:")
    with opened(where) as (connection, tables):
        by_name = {str(table.name): table for table in tables}
        for name, rows in ROWS[revision].items():
            columns = list(by_name[name].columns)
            for row in rows:
                values = reader.execute(f"SELECT {row}").fetchone()
                made = {
                    column.name: bool(value) if isinstance(column.type, Boolean) and value is not None else value
                    for column, value in zip(columns, values, strict=True)
                }
                connection.execute(insert(by_name[name]), made)
    reader.close()


@pytest.fixture(params=kinds())
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty database."""
    return tmp_path / "db.sqlite" if request.param == SQLITE else shared_cluster().database()


def test_migrations_lead_to_exactly_the_tables_of_today(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.sqlite", tmp_path / "made.sqlite"
    upgrade(migrated)
    engine = create_engine(f"sqlite:///{made}")
    metadata.create_all(engine)
    engine.dispose()
    assert schema_of(migrated) == schema_of(made)
    assert "uq_replica_unit_volunteer" in schema_of(made)
    assert "unique unit ['run_id', 'key']" in schema_of(made)


def test_on_postgresql_they_lead_there_too_and_two_who_start_at_once_do_it_once() -> None:
    url = shared_cluster().database()
    with ThreadPoolExecutor(2) as both:
        list(both.map(upgrade, [url, url]))
    with opened(url) as (connection, tables):
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert {str(table.name) for table in tables} == metadata.tables.keys() | {"alembic_version"}


def test_an_upgrade_of_what_is_new_already_changes_nothing(path: Path | str) -> None:
    upgrade(path)
    fill(path, REVISIONS[-1])
    before = contents(path)
    upgrade(path)
    assert contents(path) == before


def test_every_revision_has_rows_for_every_table_of_it() -> None:
    assert list(ROWS) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_a_database_of_any_revision_holds_survives(path: Path | str, revision: str) -> None:
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
            moved = MOVED.get(table, set())
            expected = [{c: v for c, v in row.items() if c not in moved or c in now[0]} for row in was]
            found = [{c: v for c, v in row.items() if c in was[0]} for row in now]
            assert [row for row in found if table not in ADDED or row in expected] == expected, table


def test_answers_and_sums_of_an_old_database_are_where_they_belong_now(path: Path | str) -> None:
    upgrade(path, "0001")
    fill(path, "0001")
    upgrade(path)
    after = contents(path)
    assert after["answer"] == [(1, b"\x01", None)]
    assert set(after["tally"]) == {
        (1, 0, "unit.valid", 1), (1, 0, "unit.ready", 1), (1, 0, "replica.valid", 1), (1, 0, "replica.leased", 1),
        (1, 0, "credit", 1500), (1, 0, "volunteers", 1),
    }  # fmt: skip
    assert after["run_credit"] == [(1, 1, 1500, 1, 1)]
    assert after["credit_sum"] == [(1, 1500, 1, 0.25, 1), (2, 0, 0, 0.0, 0)]
    assert after["people_sum"] == [(0, 0, 1, 0, 0, 0.0), (1, 0, 1, 1500, 1, 0.25)]


@pytest.mark.parametrize("statement", [
    "DELETE FROM credit_entry",
    "UPDATE credit_entry SET amount_milli = 1",
    "UPDATE credit_entry SET house = NULL",
    "UPDATE credit_entry SET reason = 'x'",
    "UPDATE ledger_span SET number = 9",
    "DELETE FROM ledger_span",
])  # fmt: skip
def test_rows_of_an_old_ledger_are_in_the_new_sums_and_cannot_be_changed(path: Path | str, statement: str) -> None:
    upgrade(path, "0012")
    fill(path, "0012")
    upgrade(path)
    after = contents(path)
    assert after["credit_entry"] == [
        (1, 1, 1, 1, 1, "lab", "grant", 1500, 4.0, "app", None, False, None, "", "")
    ]  # fmt: skip
    assert after["credit_daily"] == [(1, 0, 1, 1500, 1)]
    assert (after["ledger_span"], after["credit_unfolded"]) == ([(1, 1, 1)], [])
    for table, key in (("credit_host", (1,)), ("credit_app", (1, "app"))):
        ((*found, amount, valid, score),) = after[table]
        assert (tuple(found), amount, valid) == (key, 1500, 1)
        assert score == pytest.approx(1.5 * 2**-900.0)
    with pytest.raises(IntegrityError, match="only grows"), opened(path) as (connection, _):
        connection.execute(text(statement))
    assert contents(path) == after


def test_an_upgrade_that_dies_half_way_leaves_nothing_behind(path: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_who_is_in_a_team_came_when_it_was_known_and_its_days_are_those_of_the_ledger(path: Path | str) -> None:
    upgrade(path, "0019")
    fill(path, "0019")
    upgrade(path)
    after = contents(path)
    assert after["membership"] == [(1, 7, 1, 3.0, None, True)]
    assert after["credit_team_daily"] == [(7, 0, 0, 0)]


def test_the_bytes_that_runs_needed_before_are_added_up(path: Path | str) -> None:
    upgrade(path, "0027")
    fill(path, "0027")
    upgrade(path)
    assert contents(path)["blob_sum"] == [(b"\xcc", 0, 5)]
