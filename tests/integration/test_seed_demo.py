"""A made-up world in a real database: nothing in it contradicts itself, and the same seed makes it again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Table, insert, select, text

from dsage.errors import Conflict, NotFound
from dsage.states import HOLDS_PLACE, MOVES, ReplicaState, RunState
from dsage.trust.documents import Manifest, ResultBatch
from dsage.trust.envelope import Envelope, open_as
from dsage_server.admin import admin
from dsage_server.seeding.filling import fill, made_signers
from dsage_server.seeding.people import Size, crowd
from dsage_server.store import census, daybook, recount
from dsage_server.store.engine import Store
from dsage_server.store.place import remember
from dsage_server.store.schema import (
    credit_entry,
    credit_unfolded,
    discovery,
    document,
    host,
    metadata,
    proof,
    replica,
    run,
    unit,
)
from dsage_server.store.testing import fresh, on_postgresql, shared_cluster

NOW = 1_795_400_000.0
SIZE = Size(volunteers=60, days=20, ledger=3000)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(fresh(tmp_path_factory.mktemp("seeded")))
    fill(store, SIZE, 3, NOW)
    yield store
    store.close()


def contents(store: Store) -> dict[str, str]:
    """Return a hash of every table's rows; but for the census, in which PostgreSQL adds doubles in whatever order."""

    def look(c: Connection, table: Table) -> list[str]:
        return sorted(repr(row) for row in c.execute(select(table)) if not store.shared or row[0] != census.KEPT)

    return {
        table.name: hashlib.sha256(repr(store.read_now(partial(look, table=table))).encode()).hexdigest()
        for table in metadata.sorted_tables
    }


def test_every_sum_is_that_of_the_ledger_and_every_day_is_as_its_hash_says(filled: Store) -> None:
    assert filled.read_now(recount.differences) == []
    assert filled.read_now(daybook.first_changed) is None
    assert len(filled.read_now(lambda c: daybook.days(c, 100))) == SIZE.days
    assert not filled.read_now(lambda c: c.exec_driver_sql("SELECT * FROM credit_unfolded").all())


def test_the_ledger_goes_on_as_on_any_server(filled: Store) -> None:
    given = {"volunteer_id": 1, "project": "", "kind": "manual", "amount_milli": 1, "granted": NOW, "id": 10**9}

    def add(connection: Connection) -> list[int]:
        savepoint = connection.begin_nested()
        connection.execute(insert(credit_entry).values(given))
        noted = list(connection.execute(select(credit_unfolded.c.entry_id)).scalars())
        savepoint.rollback()
        return noted

    assert filled.write_now(add) == [10**9]


def test_no_row_points_to_one_that_is_not_there(filled: Store) -> None:
    if not filled.shared:
        assert filled.read_now(lambda c: c.exec_driver_sql("PRAGMA foreign_key_check").all()) == []
    lost = (
        "SELECT r.id FROM replica r LEFT JOIN unit u ON u.id = r.unit_id LEFT JOIN host h ON h.id = r.host_id "
        "WHERE u.id IS NULL OR h.id IS NULL OR h.volunteer_id <> r.volunteer_id",
        "SELECT u.id FROM unit u LEFT JOIN signed_unit s ON s.unit_id = u.id LEFT JOIN batch b ON b.id = s.batch_id "
        "WHERE b.id IS NULL",
        "SELECT r.id FROM replica r LEFT JOIN proof p ON p.id = r.proof_id WHERE r.value_hash IS NOT NULL AND "
        "(p.id IS NULL OR p.host_id <> r.host_id)",
        "SELECT u.id FROM unit u LEFT JOIN replica r ON r.id = u.canonical_id "
        "LEFT JOIN answer a ON a.replica_id = r.id "
        "WHERE u.state = 'valid' AND (r.state <> 'valid' OR a.replica_id IS NULL)",
        "SELECT r.id FROM replica r LEFT JOIN credit_entry c ON c.replica_id = r.id AND c.kind = 'grant' "
        "WHERE (r.state = 'valid') <> (c.id IS NOT NULL)",
        "SELECT v.id FROM volunteer v JOIN team t ON t.id = v.team_id WHERE t.gone IS NOT NULL",
        "SELECT v.id FROM volunteer v LEFT JOIN membership m ON m.volunteer_id = v.id AND m.until IS NULL "
        "WHERE coalesce(v.team_id, 0) <> coalesce(m.team_id, 0) OR v.team_since <> m.since",
        "SELECT t.id FROM team t WHERE (SELECT count(*) FROM membership m WHERE m.team_id = t.id AND m.founded) <> 1",
    )
    for query in lost:
        assert filled.read_now(lambda c, q=query: c.exec_driver_sql(q).all()) == [], query


def test_copies_are_as_the_table_of_moves_allows(filled: Store) -> None:
    reachable = {ReplicaState.LEASED} | {to for moves in MOVES[ReplicaState].values() for to in moves}
    copies = filled.read_now(lambda c: c.execute(select(replica)).all())
    states = {copy.state for copy in copies}
    assert states <= {state.value for state in reachable}
    assert {"valid", "invalid", "expired", "error", "returned", "aborted"} <= states
    for copy in copies:
        assert copy.leased < copy.deadline < copy.hard_deadline
        assert copy.leased <= NOW
        assert copy.state != "leased" or copy.deadline > NOW
        assert (copy.reported is None) == (copy.state in ("leased", "aborted", "expired"))
    held = [(copy.unit_id, copy.volunteer_id) for copy in copies if copy.state in HOLDS_PLACE]
    assert len(held) == len(set(held))


def test_tallies_are_those_of_the_rows(filled: Store) -> None:
    for what, query in (
        ("unit", "SELECT run_id, 'unit.' || state, count(*) FROM unit GROUP BY 1, 2"),
        ("replica", "SELECT run_id, 'replica.' || r.state, count(*) FROM replica r JOIN unit u ON u.id = r.unit_id "
                    "GROUP BY 1, 2"),
    ):  # fmt: skip
        told = (
            f"SELECT run_id, what, sum(n) FROM tally WHERE what LIKE '{what}.%' "
            "AND run_id NOT IN (SELECT run_id FROM archive) GROUP BY 1, 2"
        )
        both = [filled.read_now(lambda c, q=q: set(map(tuple, c.execute(text(q))))) for q in (told, query)]
        assert both[0] == both[1]


def test_signatures_are_real(filled: Store) -> None:
    key = made_signers(3).code.public
    packed = filled.read_now(
        lambda c: c.execute(select(document.c.envelope).where(document.c.kind == "manifest")).all()
    )
    for (envelope,) in packed:
        assert open_as(msgspec.msgpack.decode(envelope, type=Envelope), Manifest, [key]).bundle_bytes > 0
    query = select(proof.c.envelope, host.c.key).join(host, host.c.id == proof.c.host_id).limit(20)
    for envelope, public in filled.read_now(lambda c: c.execute(query).all()):
        assert open_as(msgspec.msgpack.decode(envelope, type=Envelope), ResultBatch, [public]).results


def test_there_is_something_of_everything(filled: Store) -> None:
    runs = {row.state for row in filled.read_now(lambda c: c.execute(select(run.c.state)).all())}
    assert runs == {state.value for state in RunState}
    units = {row.state for row in filled.read_now(lambda c: c.execute(select(unit.c.state)).all())}
    assert {"ready", "valid", "failed", "cancelled"} <= units
    found = filled.read_now(lambda c: c.execute(select(discovery)).all())
    assert {row.state for row in found} == {"candidate", "confirmed", "published"}
    assert any(row.correction for row in found)
    kinds = filled.read_now(lambda c: set(c.exec_driver_sql("SELECT kind FROM credit_entry").scalars()))
    assert kinds == {"grant", "reversal", "manual"}


def test_a_database_that_has_somebody_in_it_is_refused(filled: Store) -> None:
    with pytest.raises(Conflict, match="was filled before"):
        fill(filled, SIZE, 4, NOW)


def test_the_same_seed_makes_the_same_world(filled: Store, tmp_path: Path) -> None:
    again = Store(fresh(tmp_path))
    try:
        fill(again, SIZE, 3, NOW)
        ours = contents(filled)
        assert {name: rows for name, rows in contents(again).items() if ours[name] != rows} == {}
    finally:
        again.close()
    assert crowd(SIZE, 4, NOW).people[0].pseudonym != crowd(SIZE, 3, NOW).people[0].pseudonym


def test_the_command_fills_an_empty_server_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path))
    words = ["seed-demo", "--volunteers", "25", "--days", "8", "--ledger", "1500", "--seed", "5"]
    assert isinstance(CliRunner().invoke(admin, words).exception, NotFound)
    if on_postgresql():
        (tmp_path / "server").mkdir()
        remember(tmp_path / "server", shared_cluster().migrated())
    done = CliRunner().invoke(admin, [*words, "--empty-ok", "--json"])
    assert done.exit_code == 0, done.output
    assert '"volunteers": 25' in done.output
    assert isinstance(CliRunner().invoke(admin, words).exception, Conflict)
