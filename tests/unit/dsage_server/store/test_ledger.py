"""The ledger: sums equal a recount whatever happens, what is taken back is taken once, closed days stay as they are."""

from __future__ import annotations

import functools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, text

from dsage.errors import Conflict, NotFound, UsageError
from dsage_server.store import credit, daybook, ledger, recount, tallies
from dsage_server.store.engine import Store
from dsage_server.store.schema import (
    credit_app,
    credit_daily,
    credit_entry,
    credit_host,
    credit_sum,
    credit_team,
    document,
    ledger_day,
    ledger_span,
    run,
    run_credit,
    volunteer,
)
from dsage_server.store.testing import POSTGRESQL, fresh, kinds

DAY = 86400.0
NOW = 20_000 * DAY + 100.0
PEOPLE, RUNS = 5, 2


@dataclass
class Books:
    """A ledger with some volunteers and runs, and what was entered, kept apart."""

    store: Store
    grants: dict[int, tuple[int, int, int, int | None, int, float]] = field(default_factory=dict)
    """By replica: volunteer, host, run, team, amount, time."""
    taken: set[int] = field(default_factory=set)
    given: list[tuple[int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def prepare(c: Connection) -> None:
            c.execute(insert(document).values(hash="app", kind="manifest", envelope=b"", created=0.0))
            for number in range(1, PEOPLE + 1):
                c.execute(insert(volunteer).values(id=number, pseudonym=f"v{number}", public=False, created=0.0))
                credit.enter(c, number, number % 2 == 0)
            for number in range(1, RUNS + 1):
                c.execute(
                    insert(run).values(
                        id=number, run_key=f"k{number}", project="p", title="", app="app", authorisation="app",
                        researcher=b"r", params=b"", state="running", fence=0, step=0, driver_state=b"", progress=b"",
                        created=0.0,
                    )
                )  # fmt: skip

        self.store.write_now(prepare)

    def grant(
        self, replica: int, amount: int = 1000, at: float = NOW, who: int = 1, run: int = 1, team: int = 0
    ) -> None:
        """Enter a grant as `units.Book` does."""
        row = (who, who * 10, run, team or None, amount, at)
        values = {
            "replica_id": replica, "volunteer_id": who, "host_id": who * 10, "run_id": run, "team_id": team or None,
            "app": f"app{run}", "project": "p", "kind": "grant", "amount_milli": amount, "granted": at,
        }  # fmt: skip

        def change(c: Connection) -> None:
            c.execute(insert(credit_entry).values(**values))
            tallies.add_up(c, Counter({(run, "credit"): amount}))

        self.store.write_now(change)
        self.grants[replica] = row

    def reverse(self, *replicas: int, now: float = NOW + 30 * DAY, reason: str = "a lie") -> list[int]:
        found = self.store.write_now(lambda c: ledger.reverse(c, replicas, reason, "test", now))
        self.taken.update(self.grants.keys() & set(replicas))
        return found

    def correct(self, who: int, amount: int, at: float = NOW) -> None:
        self.store.write_now(lambda c: ledger.correct(c, f"v{who}", amount, "an outage", "test", at))
        self.given.append((who, amount, at))

    def fold(self, most: int = 500) -> int:
        return self.store.write_now(lambda c: credit.fold(c, most))

    def close(self, now: float) -> int | None:
        return self.store.write_now(lambda c: daybook.close(c, now))

    def hash_days(self) -> None:
        while (day := self.store.read_now(daybook.unhashed)) is not None:
            self.store.write_now(functools.partial(daybook.keep, day=day))

    def wrong(self) -> list[recount.Difference]:
        return self.store.read_now(recount.differences)

    def rows(self, query: Any) -> list[Any]:
        return self.store.read_now(lambda c: list(c.execute(query).all()))

    def check(self) -> None:
        """Every sum is what was entered, by a count that knows neither the projector nor its SQL twin."""
        assert self.wrong() == []
        standing = [row for number, row in self.grants.items() if number not in self.taken]
        for table, part in ((credit_host, 1), (credit_team, 3), (credit_app, 2)):
            amounts: defaultdict[Any, list[float]] = defaultdict(lambda: [0, 0, 0.0])
            for row in standing:
                if row[part] is not None:
                    key = f"app{row[2]}" if part == 2 else row[part]
                    amounts[key] = [a + b for a, b in zip(amounts[key], self._worth(row[4], row[5]), strict=True)]
            for _, amount, at in self.given if part == 2 else ():
                worth = self._worth(amount, at, 0)
                amounts[""] = [a + b for a, b in zip(amounts[""], worth, strict=True)]
            sums = [table.c.amount_milli, table.c.valid, table.c.score]
            self._same(self.rows(select(table.c.app if part == 2 else table.c[0], *sums)), amounts)
        by_person: defaultdict[int, list[float]] = defaultdict(lambda: [0, 0, 0.0])
        by_day: defaultdict[tuple[int, int], int] = defaultdict(int)
        entries = [(row[0], row[4], row[5], 1) for row in standing] + [(*row, 0) for row in self.given]
        for who, amount, at, valid in entries:
            by_person[who] = [a + b for a, b in zip(by_person[who], self._worth(amount, at, valid), strict=True)]
            by_day[who, int(at // DAY)] += amount
        self._same([row[:4] for row in self.rows(select(credit_sum))], by_person)
        found: defaultdict[tuple[int, int], int] = defaultdict(int)
        for row in self.rows(select(credit_daily)):
            found[row.volunteer_id, row.day] += row.amount_milli
        assert {k: v for k, v in found.items() if v} == {k: v for k, v in by_day.items() if v}
        by_run = self.rows(select(run_credit))
        assert sum(row.amount_milli for row in by_run) == sum(row[4] for row in standing)
        for number in range(1, RUNS + 1):
            sums = self.store.read_now(functools.partial(tallies.of, number=number))
            assert sums.get("volunteers", 0) == len({row[0] for row in standing if row[2] == number})
            assert sums.get("credit", 0) == sum(row[4] for row in standing if row[2] == number)

    @staticmethod
    def _worth(amount: int, at: float, valid: int = 1) -> list[float]:
        return [amount, valid, amount / 1000 * 2 ** ((at - credit.EPOCH) / (7 * DAY))]

    @staticmethod
    def _same(rows: list[Any], expected: dict[Any, list[float]]) -> None:
        found = {row[0]: list(row[1:]) for row in rows if row[1] or row[2]}
        wanted = {key: worth for key, worth in expected.items() if worth[0] or worth[1]}
        assert {k: v[:2] for k, v in found.items()} == {k: v[:2] for k, v in wanted.items()}
        for key, worth in wanted.items():
            assert found[key][2] == pytest.approx(worth[2], rel=1e-9, abs=1e-6)


@pytest.fixture(params=kinds())
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """A ledger on each database."""
    store = Store(fresh(tmp_path, request.param))
    yield Books(store)
    store.close()


class Killed(Exception):
    """The process ends here."""


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), st.integers(1, PEOPLE), st.integers(1, RUNS), st.integers(0, 2), st.integers(0, 9)),
        st.tuples(st.just("reverse"), st.lists(st.integers(1, 40), max_size=6)),
        st.tuples(st.just("correct"), st.integers(1, PEOPLE), st.sampled_from([-700, 5, 10**9])),
        st.tuples(st.just("fold"), st.integers(1, 7)),
        st.tuples(st.just("die"), st.integers(1, 7)),
        st.tuples(st.just("show"), st.integers(1, PEOPLE), st.booleans()),
        st.tuples(st.just("close"), st.integers(-2, 4)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_sums_equal_a_recount_after_any_history(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    store = Store(fresh(tmp_path_factory.mktemp("books"), "sqlite"))
    books, number = Books(store), 0
    try:
        for what, *values in steps:
            if what == "grant":
                number += 1
                who, of, team, days = values
                books.grant(number, 100 * number, NOW - days * DAY, who, of, team)
            elif what == "reverse":
                books.reverse(*values[0])
            elif what == "correct":
                books.correct(*values)
            elif what == "fold":
                books.fold(*values)
            elif what == "die":
                with pytest.raises(Killed):
                    store.write_now(functools.partial(die_after_folding, most=values[0]))
            elif what == "show":
                store.write_now(functools.partial(credit.show, volunteer=values[0], public=values[1]))
            else:
                books.close(NOW + values[0] * DAY)
                books.hash_days()
            assert books.wrong() == []
        while books.fold(3):
            pass
        books.check()
        assert store.read_now(daybook.first_changed) is None
    finally:
        store.close()


def die_after_folding(c: Connection, most: int) -> None:
    credit.fold(c, most)
    raise Killed


def test_two_who_fold_and_reverse_at_once_count_each_row_once(tmp_path: Path) -> None:
    where = fresh(tmp_path, POSTGRESQL)
    stores = [Store(where, slot=slot) for slot in (1, 2)]
    books = [Books(stores[0])]
    books.append(object.__new__(Books))
    books[1].__dict__ |= {"store": stores[1], "grants": {}, "taken": set(), "given": []}
    try:

        def work(place: int) -> int:
            lot, taken = random.Random(place), 0
            for n in range(150):
                number = 2 * n + place
                books[place].grant(
                    number, 100 + n, NOW - lot.randrange(9) * DAY, lot.randint(1, PEOPLE), lot.randint(1, 2)
                )
                if n % 5 == 0:
                    taken += len(books[place].reverse(*range(max(0, number - 20), number, 3)))
                if n % 3 == 0:
                    books[place].fold(lot.randint(1, 30))
                if n % 40 == 0:
                    books[place].close(NOW + n * DAY)
            return taken

        with ThreadPoolExecutor(2) as both:
            taken = sum(both.map(work, (0, 1)))
        while books[0].fold():
            pass
        books[0].grants |= books[1].grants
        reversals = books[0].rows(select(credit_entry.c.replica_id).where(credit_entry.c.kind == "reversal"))
        books[0].taken = {row.replica_id for row in reversals}
        assert len(reversals) == len(books[0].taken) == taken
        books[0].check()
        books[0].close(NOW + 1000 * DAY)
        books[0].hash_days()
        assert stores[0].read_now(daybook.first_changed) is None
    finally:
        for store in stores:
            store.close()


def test_a_grant_is_taken_back_once_whatever_is_called_how_often(books: Books) -> None:
    for number in (1, 2, 3):
        books.grant(number, 1000 * number)
    books.fold()
    assert books.reverse(1, 2, 2, 99) == [1, 2]
    assert books.reverse(2, 1) == []
    books.fold()
    assert books.reverse(2, 3) == [3]
    books.fold()
    assert books.rows(select(credit_sum.c.amount_milli, credit_sum.c.valid).where(credit_sum.c.volunteer_id == 1)) == [
        (0, 0)
    ]
    books.check()
    rows = books.store.read_now(lambda c: ledger.corrections(c, 1, 10))
    assert [(row.kind, row.amount_milli, row.reason) for row in rows] == [
        ("reversal", amount, "a lie") for amount in (-3000, -2000, -1000)
    ]
    assert books.store.read_now(lambda c: ledger.standing(c, 1)) == (6000, 0)


def test_a_reversal_takes_from_the_score_what_its_grant_added_however_much_later(books: Books) -> None:
    books.grant(1, 5000, NOW, who=1)
    books.grant(2, 7000, NOW - 40 * DAY, who=2)
    books.fold()
    kept = books.rows(select(credit_sum.c.score).where(credit_sum.c.volunteer_id == 1))
    books.grant(3, 7000, NOW - 40 * DAY, who=1)
    books.fold()
    books.reverse(3, 2, now=NOW + 365 * DAY)
    books.fold()
    after = books.rows(select(credit_sum.c.score).where(credit_sum.c.volunteer_id == 1))
    assert after[0][0] == pytest.approx(kept[0][0], rel=1e-12)
    assert books.rows(select(credit_sum.c.score).where(credit_sum.c.volunteer_id == 2)) == [
        (pytest.approx(0, abs=1e-9),)
    ]
    assert books.rows(select(credit_daily.c.amount_milli).where(credit_daily.c.volunteer_id == 2)) == [(0,)]
    books.check()


def test_what_cannot_be_entered_is_said(books: Books) -> None:
    with pytest.raises(UsageError, match="why"):
        books.reverse(1, reason="  ")
    for amount in (0, 10**12 + 1, -(10**12) - 1):
        with pytest.raises(UsageError, match="a correction gives or takes"):
            books.correct(1, amount)
    with pytest.raises(NotFound):
        books.store.write_now(lambda c: ledger.correct(c, "nobody", 5, "why not", "test", NOW))
    assert books.rows(select(credit_entry)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_sum SET amount_milli = amount_milli + 1 WHERE volunteer_id = 1",
        "UPDATE credit_sum SET score = score * 1.0001 WHERE volunteer_id = 1",
        "UPDATE credit_host SET valid = valid - 1",
        "UPDATE credit_app SET amount_milli = 0",
        "DELETE FROM credit_team",
        "DELETE FROM credit_daily",
        "UPDATE run_credit SET amount_milli = 7",
        "UPDATE people_sum SET people = people + 1",
        "UPDATE tally SET n = n + 1 WHERE what = 'volunteers'",
        "INSERT INTO credit_house VALUES (1, 'p', 5, 1)",
    ],
)
def test_a_sum_that_is_wrong_is_found_and_repaired_when_asked(books: Books, statement: str) -> None:
    books.grant(1, team=4)
    books.grant(2, who=2)
    books.fold()
    books.grant(3)
    assert books.wrong() == []
    books.store.write_now(lambda c: c.execute(text(statement)))
    found = books.wrong()
    assert found
    known = books.store.read_now(recount.repairs)
    books.store.write_now(lambda c: recount.repair(c, found, known))
    with pytest.raises(Conflict):
        books.store.write_now(lambda c: recount.repair(c, found, known))
    while found := books.wrong():
        known = books.store.read_now(recount.repairs)
        books.store.write_now(functools.partial(recount.repair, found=found, known=known))
    books.fold()
    books.check()


def test_each_closed_day_is_chained_and_the_first_that_was_changed_is_named(books: Books) -> None:
    for day in range(4):
        books.grant(day + 1, at=NOW + day * DAY)
        books.fold()
        assert books.close(NOW + day * DAY) == day + 1
        assert books.close(NOW + day * DAY + 60) is None
        books.hash_days()
    books.grant(9, at=NOW + 4 * DAY)
    books.fold()
    days = books.store.read_now(lambda c: daybook.days(c, 10))
    assert [(day.number, day.entries, day.amount_milli) for day in days] == [(n, 1, 1000) for n in (4, 3, 2, 1)]
    assert len({day.hash for day in days}) == 4
    assert books.store.read_now(daybook.first_changed) is None
    unguard(books.store)
    books.store.write_now(
        lambda c: c.execute(text("UPDATE credit_entry SET reason = 'x' WHERE replica_id IN (2, 4, 9)"))
    )
    kept, now = books.store.read_now(daybook.first_changed)  # type: ignore[misc]
    assert (kept.number, now.number, now.hash == kept.hash) == (2, 2, False)


def test_an_emptied_hash_or_a_row_more_in_a_closed_day_is_found(books: Books) -> None:
    books.grant(1)
    books.fold()
    books.close(NOW)
    books.hash_days()
    assert books.store.read_now(daybook.first_changed) is None
    books.grant(77)
    books.store.write_now(lambda c: c.execute(insert(ledger_span).values(number=1, first_id=2, last_id=2)))
    assert books.store.read_now(daybook.first_changed) is not None


def test_a_row_that_is_folded_late_is_in_the_next_day(books: Books) -> None:
    books.grant(1)
    books.grant(2)
    books.fold(1)
    books.close(NOW + DAY)
    books.fold()
    books.close(NOW + 2 * DAY)
    books.hash_days()
    assert [(d.number, d.entries) for d in books.store.read_now(lambda c: daybook.days(c, 9))] == [(2, 1), (1, 1)]
    assert books.rows(select(ledger_span)) == [(1, 1, 1), (2, 2, 2)]


def test_a_clock_that_was_wrong_costs_no_day(books: Books) -> None:
    books.grant(1)
    books.fold()
    assert [books.close(NOW + days * DAY) for days in (0, 20_000, 0, 0, 1)] == [1, 2, 3, None, 4]
    books.hash_days()
    assert books.rows(select(ledger_day.c.day).order_by(ledger_day.c.number)) == [
        (19_999,), (39_999,), (19_999,), (20_000,),
    ]  # fmt: skip
    assert books.store.read_now(daybook.first_changed) is None


def test_who_closes_a_day_waits_for_who_adds_up_in_it(tmp_path: Path) -> None:
    where = fresh(tmp_path, POSTGRESQL)
    first, second = Store(where, slot=1), Store(where, slot=2)
    books = Books(first)
    books.grant(1)
    books.grant(2)
    try:
        with ThreadPoolExecutor(1) as other:

            def change(c: Connection) -> Any:
                credit.fold(c, 1)
                closing = other.submit(lambda: second.write_now(lambda inner: daybook.close(inner, NOW)))
                waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while not second.read_now(lambda inner: inner.execute(text(waits)).scalar_one()):
                    assert not closing.done()
                return closing

            assert first.write_now(change).result() == 1
        books.fold()
        assert books.rows(select(ledger_span)) == [(1, 1, 1), (2, 2, 2)]
    finally:
        first.close()
        second.close()


def unguard(store: Store) -> None:
    """Let rows of the ledger be changed, as somebody could who has the database."""
    on = " ON credit_entry" if store.shared else ""
    store.write_now(lambda c: c.exec_driver_sql(f"DROP TRIGGER credit_entry_fixed{on}"))
