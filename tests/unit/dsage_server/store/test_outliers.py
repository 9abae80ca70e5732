"""What is odd about hosts, in the tables of both databases: read from copies, begun, seen again, ended."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from dsage.errors import NotFound
from dsage_server.scheduling.faults import faults
from dsage_server.store import events, fleet, outliers, standings
from dsage_server.store.engine import Store
from dsage_server.store.schema import document, host, outlying, replica, run, standing, unit, volunteer
from dsage_server.store.testing import fresh, kinds
from dsage_validator.outliers import AUDIT, Kind, Sign
from dsage_validator.outliers import outliers as standing_out
from dsage_validator.reputation import Evidence
from dsage_validator.reputation import Kind as Says

NOW = 1_000_000.0
DAY = 86_400.0
HOSTS = range(1, 13)
EACH = 12
APP = "a" * 64


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = Store(fresh(tmp_path, request.param))
    yield opened
    opened.close()


class Fleet:
    """A run, hosts of as many volunteers, and copies as they ended."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.units: list[dict[str, Any]] = []
        self.copies: list[dict[str, Any]] = []
        for name in (APP, "auth"):
            connection.execute(insert(document).values(hash=name, kind="manifest", envelope=b"", created=0.0))
        connection.execute(
            insert(run).values(
                id=1, run_key="k", project="lab", title="Sums", app=APP, authorisation="auth", researcher=b"",
                params=b"", state="running", fence=1, step=0, driver_state=b"", progress=b"", created=0.0,
            )
        )  # fmt: skip
        for number in HOSTS:
            connection.execute(
                insert(volunteer).values(id=number, pseudonym=f"kind-otter-{100 + number}", public=False, created=0.0)
            )
            connection.execute(
                insert(host).values(
                    id=number, volunteer_id=number, key=bytes([number]), created=0.0, last_seen=NOW - number,
                    platform="linux-x86_64", client="9.9",
                )
            )  # fmt: skip

    def unit(self, *copies: tuple[int, str], camps: tuple[int, ...] = (), why: str = "", **more: Any) -> int:
        """One unit of a minute, with copies of hosts in these states; equal numbers of `camps` agree."""
        number = len(self.units) + 1
        state = "valid" if any(state == "valid" for _, state in copies) else "failed"
        row = {"id": number, "run_id": 1, "key": str(number), "grp": "", "state": state, "quorum": 2, "unsent": 0}
        self.units.append(row | {"credit_milli": 1000, "deadline_s": 60.0, "created": 0.0, "reason": why})
        first: dict[int, int] = {}
        for n, (owner, how) in enumerate(copies):
            copy = len(self.copies) + 1
            camp = first.setdefault(camps[n] if camps else (0 if how == "valid" else n), copy)
            said = {"cpu_s": 60.0 + copy % 7, "value_hash": f"v{number}-{camp}", "reason": "", **more}
            ends = {"deadline": 0.0, "hard_deadline": 0.0, "reported": copy + 500.0}
            row = {"id": copy, "unit_id": number, "host_id": owner, "volunteer_id": owner, "state": how, "lease": b""}
            self.copies.append(row | said | ends | {"leased": float(copy), "camp": None if how == "error" else camp})
        return number

    def write(self) -> None:
        """Put what was made into the tables."""
        self.connection.execute(insert(unit), self.units)
        self.connection.execute(insert(replica), self.copies)


def another(number: int, n: int) -> int:
    """One of the other hosts."""
    return 1 + (number + n % (len(HOSTS) - 1)) % len(HOSTS)


def honest(connection: Connection, extra: Callable[[Fleet], None] | None = None, *, each: int = EACH) -> Fleet:
    """Hosts that all do alike, and what is `extra`."""
    made = Fleet(connection)
    for n in range(each):
        for number in HOSTS:
            made.unit((number, "valid"), (another(number, n), "valid"))
    if extra is not None:
        extra(made)
    made.write()
    return made


def look(connection: Connection, now: float = NOW) -> list[Sign]:
    """What the server does in bites, at once."""
    chosen = outliers.active(connection, now - DAY, 1000, 0)
    seen = outliers.history(connection, chosen)
    signs = [*standing_out(seen.profiles), *faults(seen.rows, outliers.apart(connection))]
    return outliers.note(connection, chosen, {row.app for row in seen.rows} | {APP}, signs, now)


def quick(connection: Connection, number: int) -> None:
    connection.execute(
        update(replica).where(replica.c.host_id == number).values(cpu_s=0.02 + 0.001 * (replica.c.id % 7))
    )


def audits(connection: Connection) -> dict[int, float]:
    rows = connection.execute(select(standing.c.host_id, standing.c.audit).where(standing.c.audit > 0))
    return dict(rows.all())


def test_honest_hosts_are_found_normal(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c)
        assert look(c) == []
        seen = outliers.history(c, [1])
        assert [(p.host, p.volunteer, p.app, len(p.answers)) for p in seen.profiles] == [(1, 1, APP, 2 * EACH)]
        assert all(len(answer.partners) == 1 and answer.reference_s == 60.0 for answer in seen.profiles[0].answers[5:])
        assert (seen.rows[0].right, seen.rows[0].wrong, seen.rows[0].errors) == (2 * EACH, 0, 0)

    store.write_now(story)


def test_a_host_that_is_too_fast_is_checked_more_until_it_is_not(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c)
        quick(c, 3)
        (sign,) = look(c)
        assert (sign.host, sign.app, sign.kind) == (3, APP, Kind.FAST)
        assert audits(c) == {3: AUDIT}
        assert standings.of(c, [3])[3][APP].audit == AUDIT
        assert look(c, NOW + 600) == [], "it is known"
        (row,) = c.execute(select(outlying)).all()
        assert (row.began, row.seen, row.ended) == (NOW, NOW + 600, None)
        assert json.loads(row.figures)["of"] == 2 * EACH

        c.execute(update(replica).where(replica.c.host_id == 3).values(cpu_s=65.5 + replica.c.id % 7))
        assert look(c, NOW + 1200) == []
        assert audits(c) == {3: AUDIT}, "it stays for a day"
        c.execute(update(host).values(last_seen=NOW + 2 * DAY))
        look(c, NOW + 2 * DAY)
        assert audits(c) == {}
        (row,) = c.execute(select(outlying)).all()
        assert (row.began, row.ended) == (NOW, NOW + 2 * DAY), "it is remembered"

    store.write_now(story)


def test_more_evidence_leaves_the_share_that_is_checked_as_it_is(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c)
        quick(c, 3)
        look(c)
        standings.note(c, [(APP, Evidence(Says.PASSED, 1, 3))] * 3, NOW)
        found = standings.of(c, [3])[3][APP]
        assert (found.passed, found.audit) == (3.0, AUDIT)

    store.write_now(story)


def test_time_is_measured_by_the_servers_clock_if_the_client_says_more(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c)
        c.execute(
            update(replica)
            .where(replica.c.host_id == 3)
            .values(reported=replica.c.leased + 0.1 + 0.01 * (replica.c.id % 7))
        )
        assert [(sign.host, sign.kind) for sign in look(c)] == [(3, Kind.FAST)]

    store.write_now(story)


def differing(made: Fleet) -> None:
    for n in range(3):
        for number in HOSTS:
            others = [(another(number, n + i), "valid") for i in (0, 1)]
            made.unit((number, "invalid"), *others, camps=(1, 2, 2))


def test_where_honest_answers_differ_nobody_is_convicted_and_nobody_is_taken_alone(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c, differing)
        standings.note(c, [(APP, Evidence(Says.LIED, 1, 5))], NOW)
        assert standings.of(c, [5])[5][APP].lies == 1
        (sign,) = look(c)
        assert (sign.host, sign.app, sign.kind) == (0, APP, Kind.DIFFER)
        found = standings.of(c, [5])[5][APP]
        assert (found.lies, found.audit) == (0, 1.0), "what it was convicted of is taken back"
        assert standings.due(c) == []
        standings.note(c, [(APP, Evidence(Says.LIED, 1, 6)), ("other", Evidence(Says.LIED, 1, 6))], NOW)
        found = standings.of(c, [6])[6]
        assert (found[APP].lies, found["other"].lies) == (0, 1)
        told = [each.text for each in events.since(c, 0, run=1)]
        assert any("answers of honest computers differ" in text and "set agree = close(...)" in text for text in told)
        assert list(fleet.apps_odd(c)) == [APP]

    store.write_now(story)


def apart(made: Fleet) -> None:
    for _ in range(3):
        made.unit(*[(h, "redundant") for h in (1, 2, 3)], why="answers in 5 camps, none of them 2 strong")
    made.unit((1, "error"), why="it failed 4 times on 2 volunteers' computers")


def test_units_that_nobody_agrees_about_are_counted(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c, apart, each=2)
        assert outliers.apart(c) == {APP: 3}
        assert [sign.kind for sign in look(c)] == [Kind.DIFFER]

    store.write_now(story)


def faulty(made: Fleet, number: int = 7, *, wrong: int = 1, crashes: int = 2) -> None:
    for _ in range(wrong):
        made.unit((number, "invalid"), (1, "valid"), (2, "valid"), camps=(1, 2, 2))
    for _ in range(crashes):
        made.unit((number, "error"), (1, "valid"), reason="crash: killed by SIGSEGV")


def convicted(c: Connection, number: int, now: float = NOW) -> None:
    standings.note(c, [(APP, Evidence(Says.LIED, 1, number))], now)


def looked_at(c: Connection, number: int, now: float = NOW) -> bool:
    outliers.suspect(c, number, now)
    excused = outliers.excuse(c, number)
    standings.looked_at(c, number)
    return excused


def test_a_host_whose_memory_seems_faulty_rests_and_is_no_liar_once(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c, faulty)
        convicted(c, 7)
        assert looked_at(c, 7)
        found = standings.of(c, [7])[7][APP]
        assert (found.lies, found.passed) == (0, 0.0)
        assert outliers.resting(c, [6, 7], NOW) == {7}
        assert outliers.resting(c, [6, 7], NOW + outliers.REST_S) == set()
        (line,) = fleet.lines(c, NOW, flagged=True)
        assert (line.host, [each.kind for each in line.odd]) == (7, ["memory"])
        assert "its memory may be faulty" in line.odd[0].sentence

        convicted(c, 7, NOW + 5 * DAY)
        assert not looked_at(c, 7, NOW + 5 * DAY)
        assert standings.of(c, [7])[7][APP].lies == 1, "the second time is one too many"

    store.write_now(story)


@pytest.mark.parametrize("fault", [{"crashes": 0}, {"wrong": 20}], ids=["no crashes", "often wrong"])
def test_others_who_are_found_lying_are_not_excused(store: Store, fault: dict[str, int]) -> None:
    def story(c: Connection) -> None:
        honest(c, functools.partial(faulty, **fault))
        convicted(c, 7)
        assert not looked_at(c, 7)
        assert standings.of(c, [7])[7][APP].lies == 1
        assert outliers.resting(c, [7], NOW) == set()

    store.write_now(story)


def test_what_an_earlier_try_refused_says_nothing(store: Store) -> None:
    def story(c: Connection) -> None:
        made = honest(c, functools.partial(faulty, crashes=0))
        c.execute(update(unit).where(unit.c.id == len(made.units)).values(since_id=len(made.copies)))
        (row,) = outliers.history(c, [7]).rows
        assert row.wrong == 0

    store.write_now(story)


def test_a_large_fleet_takes_turns_and_everybody_has_one(store: Store) -> None:
    def story(c: Connection) -> None:
        Fleet(c)
        turns = [outliers.active(c, NOW - DAY, 5, turn) for turn in range(3)]
        assert sorted(number for turn in turns for number in turn) == list(HOSTS)
        assert all(len(turn) <= 5 for turn in turns)
        assert outliers.active(c, NOW - 3.5, 100, 7) == [1, 2, 3]

    store.write_now(story)


def failing(made: Fleet) -> None:
    made.unit((4, "error"), (5, "valid"), reason="exception: no")
    made.unit((4, "expired"), (4, "leased"))


def test_the_operator_sees_hosts_and_app_versions(store: Store) -> None:
    def story(c: Connection) -> None:
        honest(c, failing)
        quick(c, 3)
        look(c)
        convicted(c, 9)
        lines = fleet.lines(c, NOW)
        assert [each.host for each in lines] == [9, 3, *[h for h in HOSTS if h not in (3, 9)]]
        assert [each.host for each in fleet.lines(c, NOW, flagged=True)] == [9, 3]
        four = next(each for each in lines if each.host == 4)
        assert (four.volunteer, four.right, four.errors, four.lost) == ("kind-otter-104", 2 * EACH, 1, 1)
        one = fleet.one(c, 3, NOW)
        assert [(part.app, part.title, part.right) for part in one.parts] == [(APP, "Sums", 2 * EACH)]
        assert one.parts[0].audit == 1.0, "it is new: all it does is checked"
        (cell,) = fleet.cells(c, 10_000)
        assert (cell.title, cell.platform, cell.errors, cell.lost, cell.away) == ("Sums", "linux-x86_64", 1, 1, 1)
        assert (cell.right, cell.mostly) == (2 * EACH * len(HOSTS) + 1, "exception")
        (last,) = fleet.cells(c, 3)
        assert (last.right, last.errors, last.lost, last.away) == (1, 0, 1, 1)
        with pytest.raises(NotFound):
            fleet.one(c, 99, NOW)

    store.write_now(story)


@pytest.mark.parametrize(
    ("room", "query", "index"),
    [
        (outliers, "_RIGHT", "ix_replica_valid_host"),
        (outliers, "_FAILED", "ix_replica_failed_host"),
        (fleet, "_ENDED_RIGHT", "ix_replica_valid_host"),
        (fleet, "_ENDED_BAD", "ix_replica_failed_host"),
    ],
)
def test_the_latest_copies_of_a_host_are_found_by_an_index(tmp_path: Path, room: Any, query: str, index: str) -> None:
    opened = Store(fresh(tmp_path, "sqlite"))
    explain = functools.partial(plan, statement=getattr(room, query))
    found = opened.read_now(explain)
    opened.close()
    assert index in found
    assert "TEMP B-TREE" not in found


def plan(connection: Connection, statement: Any) -> str:
    """What SQLite says it will do."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    values = tuple(compiled.construct_params({"host": 1, "most": 64})[name] for name in compiled.positiontup or ())
    return "\n".join(str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values))
