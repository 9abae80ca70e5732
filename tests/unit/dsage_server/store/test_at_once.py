"""Two server processes' worth of work on one PostgreSQL at the same time: what holds for one alone holds then."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text

from dsage import codec, wire
from dsage.errors import InviteRefused
from dsage.states import FINAL_UNITS, HOLDS_PLACE, RunState
from dsage.trust.documents import SignedResult
from dsage_server.store import claims, credit, deadlines, hosts, leases, processes, runs, tallies, units
from dsage_server.store.engine import Store
from dsage_server.store.ids import reserve
from dsage_server.store.schema import answer, credit_entry, credit_sum, replica, run, unit
from dsage_server.store.testing import POSTGRESQL, fresh
from dsage_server.web.testing import World
from dsage_validator import life

NOW = 1_800_000_000.0
HOUR_S = 3600.0
ROUNDS = 80
VALUES = [codec.encode(word) for word in ("right", "right", "right", "wrong")]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    where = fresh(tmp_path, POSTGRESQL)
    opened = [Store(where, slot=slot) for slot in (1, 2)]
    yield opened
    for store in opened:
        store.close()


@dataclass
class Process:
    """One process: hosts call it, and its tasks run, in an order drawn by lot."""

    store: Store
    callers: list[leases.Caller]
    runs: list[int]
    lot: random.Random
    acknowledged: dict[int, str] = field(default_factory=dict)
    out: list[tuple[leases.Caller, wire.Assignment, int]] = field(default_factory=list)
    now: float = NOW

    def work(self) -> None:
        """Do one thing after the other."""
        kinds = [self.exchange] * 6 + [self.expire, self.fold, self.extend]
        for _ in range(ROUNDS):
            self.lot.choice(kinds)()

    def exchange(self) -> None:
        """Some hosts of a commit report what they hold and fetch more; the same units may be in the other process."""
        self.now += 1.0
        calls = []
        for caller in self.lot.sample(self.callers, 3):
            mine = [entry for entry in self.out if entry[0] is caller]
            done = self.lot.sample(mine, min(len(mine), 4))
            self.out = [entry for entry in self.out if entry not in done]
            wish = self.ready()
            call = leases.Call(caller=caller, envelope=b"x", chosen=dict.fromkeys(wish, self.lot.choice([5.0, 60.0])))
            call.results = [self.result(assignment, number) for _, assignment, number in done]
            calls.append(call)
        served = self.store.write_now(lambda c: leases.serve(c, calls, self.now, lambda run: False))
        for call, part in zip(calls, served.calls, strict=True):
            assert isinstance(part, leases.Applied), part
            values = {signed.replica: signed.value for signed, _ in call.results}
            self.acknowledged |= {ack.replica: values[ack.replica] for ack in part.acks if ack.code == "ok"}
            assert {ack.code for ack in part.acks} <= {"ok", "late"}
            self.out += [(call.caller, a, n) for a, n in zip(part.leased, part.units, strict=True)]

    def ready(self) -> list[int]:
        query = select(unit.c.id).where(unit.c.state == "ready").limit(40)
        found = self.store.read_now(lambda c: list(c.execute(query).scalars()))
        return self.lot.sample(found, min(len(found), 5))

    def result(self, assignment: wire.Assignment, number: int) -> tuple[SignedResult, wire.Report]:
        value = self.lot.choice(VALUES)
        signed = SignedResult(
            replica=assignment.replica, lease=assignment.lease, unit=number, app=self.app(number), status="done",
            value=codec.digest(value),
        )  # fmt: skip
        return signed, wire.Report(replica=assignment.replica, value=value, cpu_s=1.0)

    def app(self, number: int) -> str:
        query = select(run.c.app).join(unit, unit.c.run_id == run.c.id).where(unit.c.id == number)
        return self.store.read_now(lambda c: str(c.execute(query).scalar_one()))

    def expire(self) -> None:
        def change(c: Connection) -> None:
            book = units.Book.of(c, deadlines.expired(c, self.now))
            book.now = {n: life.expire(u, self.now) for n, u in book.now.items()}
            book.write(self.now)

        self.store.write_now(change)

    def fold(self) -> None:
        self.store.write_now(credit.fold)

    def extend(self) -> None:
        self.store.write_now(lambda c: deadlines.extend_leases(c, 0.5))


def test_hosts_at_both_processes_and_the_tasks_of_both(stores: list[Store]) -> None:
    first, second = (World(store, NOW) for store in stores)
    callers = [first.join(f"host {n}") for n in range(8)]
    numbers = [first.submit("One"), first.submit("Two")]
    made = [n for number in numbers for n in first.step(number, args=range(60))]
    both = [Process(store, callers, numbers, random.Random(n)) for n, store in enumerate(stores)]
    second._authorisations = first._authorisations

    def cancel() -> None:
        both[1].store.write_now(lambda c: runs.end(c, numbers[1], RunState.CANCELLED, "", NOW, None))

    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(process.work) for process in both]
        cancelling = threads.submit(cancel)
        for task in (*working, cancelling):
            task.result()
    while stores[0].write_now(credit.fold):
        pass
    acknowledged = both[0].acknowledged | both[1].acknowledged
    assert len(acknowledged) > ROUNDS
    stores[0].read_now(lambda c: check(c, made, acknowledged, numbers))


def check(c: Connection, made: list[int], acknowledged: dict[int, str], numbers: list[int]) -> None:
    """Raise unless the tables are what one process alone could have left."""
    copies = {row.id: row for row in c.execute(select(replica))}
    assert {n: copies[n].value_hash for n in acknowledged} == acknowledged, "an acknowledged answer is lost"
    rows = {row.id: row for row in c.execute(select(unit))}
    assert set(rows) == set(made)
    of: dict[int, list[str]] = defaultdict(list)
    for copy in copies.values():
        of[copy.unit_id].append(copy.state)
    kept = set(c.execute(select(answer.c.replica_id)).scalars())
    for row in rows.values():
        if row.canonical_id is not None:
            assert (row.state, copies[row.canonical_id].state) == ("valid", "valid")
            assert row.canonical_id in kept
        assert (row.finished is not None) == (row.state in FINAL_UNITS)
        assert row.canonical_id or "valid" not in of[row.id] or row.state == "cancelled"
    places = Counter((copy.unit_id, copy.volunteer_id) for copy in copies.values() if copy.state in HOLDS_PLACE)
    assert all(count == 1 for count in places.values()), "somebody has two places in a unit"
    paid = {row.replica_id: row for row in c.execute(select(credit_entry))}
    assert set(paid) == {n for n, copy in copies.items() if copy.state == "valid"}
    assert c.execute(select(func.count()).select_from(credit_entry)).scalar_one() == len(paid)
    earned: Counter[int] = Counter()
    for entry in paid.values():
        earned[entry.volunteer_id] += entry.amount_milli
    stored = {row.volunteer_id: row.amount_milli for row in c.execute(select(credit_sum)) if row.amount_milli}
    assert stored == dict(earned)
    for number in numbers:
        counted = Counter("unit." + row.state for row in rows.values() if row.run_id == number)
        counted.update("replica." + x.state for x in copies.values() if rows[x.unit_id].run_id == number)
        sums = {k: v for k, v in tallies.of(c, number).items() if k.startswith(("unit.", "replica."))}
        assert sums == dict(counted)


def test_ids_invites_and_numbers_are_given_once(stores: list[Store]) -> None:
    World(stores[0], NOW)
    code = stores[0].write_now(lambda c: hosts.make_invite(c, 5, 60.0, NOW))

    def join(n: int) -> str:
        try:
            stores[n % 2].write_now(lambda c: hosts.enrol(c, b"key %d" % n, code, wire.Privacy(leaderboard=True), NOW))
        except InviteRefused:
            return "refused"
        return "joined"

    def take(n: int) -> list[int]:
        return list(stores[n % 2].write_now(lambda c: c.info["ids"].take(c, "replica", 3000)))

    with ThreadPoolExecutor(4) as threads:
        assert Counter(threads.map(join, range(12))) == {"joined": 5, "refused": 7}
        given = [number for block in threads.map(take, range(8)) for number in block]
        assert len(set(given)) == 24_000
        runs_ = list(threads.map(lambda n: stores[n % 2].write_now(lambda c: reserve(c, "run", 1)), range(8)))
        assert len(set(runs_)) == 8
        places = list(threads.map(lambda n: stores[n % 2].write_now(lambda c: processes.join(c, "all", NOW)), range(8)))
        assert sorted(place.slot for place in places) == list(range(1, 9))


def test_a_number_goes_on_when_its_process_is_gone(stores: list[Store]) -> None:
    store = stores[0]
    one, two = [store.write_now(lambda c: processes.join(c, "all", NOW)) for _ in range(2)]
    later = NOW + processes.GONE_S + 1.0
    assert store.write_now(lambda c: processes.refresh(c, two, later))
    assert store.read_now(lambda c: processes.gone(c, later - processes.GONE_S)) == [one.slot]
    three = store.write_now(lambda c: processes.join(c, "all", later))
    assert three.slot == one.slot
    assert not store.write_now(lambda c: processes.refresh(c, one, later))
    store.write_now(lambda c: processes.leave(c, one))
    assert store.write_now(lambda c: processes.refresh(c, three, later))
    store.write_now(lambda c: processes.leave(c, three))
    assert store.write_now(lambda c: processes.join(c, "all", later)).slot == one.slot


def test_each_ready_unit_is_claimed_by_one_process(stores: list[Store]) -> None:
    world = World(stores[0], NOW)
    number = world.submit("One")
    made = set(world.step(number, args=range(100)))
    terms = stores[0].read_now(lambda c: runs.info(c, number)).terms

    def take(n: int) -> list[int]:
        found, _ = stores[n % 2].write_now(lambda c: claims.claim(c, terms, 15, NOW))
        return [each.unit for each in found]

    with ThreadPoolExecutor(2) as threads:
        taken = [n for part in threads.map(take, range(10)) for n in part]
    assert len(taken) == len(set(taken)) == 100
    assert set(taken) == made


def test_two_that_wait_for_each_other_are_both_done_in_the_end(stores: list[Store]) -> None:
    for store in stores:
        store.write_now(lambda c: c.execute(text("SET deadlock_timeout = '10ms'")))
    stores[0].write_now(lambda c: c.execute(text("CREATE TABLE t AS SELECT x, 0 AS n FROM generate_series(1, 2) x")))

    def add(which: int) -> None:
        def change(c: Connection) -> None:
            for x in (1, 2) if which else (2, 1):
                c.execute(text("UPDATE t SET n = n + 1 WHERE x = :x"), {"x": x})

        for _ in range(50):
            stores[which].write_now(change)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(add, range(2)))
    assert stores[0].read_now(lambda c: c.execute(text("SELECT n FROM t")).scalars().all()) == [100, 100]
