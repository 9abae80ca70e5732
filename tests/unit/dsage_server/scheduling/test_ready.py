"""The ready queue against a plain model of it, its room, and its refills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.errors import NotFound
from dsage_server.scheduling import line, ready
from dsage_server.scheduling.policy import (
    Choice,
    FairShare,
    HostOffer,
    HostView,
    Needs,
    ReadyQueue,
    ReadyUnit,
    RunTerms,
    choose,
)  # fmt: skip
from dsage_server.scheduling.record import HostRecord

KINDS = (Needs(), Needs(packages=frozenset({"flint"})), Needs(tags=frozenset({"big"})))
VOLUNTEERS = 5


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Lines are swept, and places forgotten, after a few entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line, "SPARE", 2)
        patch.setattr(line, "MAX_PLACES", 4)
        yield


def host(volunteer: int, *, offers: bool = True, number: int = 0) -> HostView:
    offer = HostOffer(packages=frozenset({"flint"} if offers else ()), tags=frozenset({"big"} if offers else ()))
    record = HostRecord(most=1e9, left=1e9)
    return HostView(host=number or volunteer, volunteer=volunteer, offer=offer, record=record)


class Plain:
    """What the queue should do, without any index: units in a list, each look from the start."""

    def __init__(self) -> None:
        self.units: dict[int, ReadyUnit] = {}
        self.held: dict[int, list[int]] = {}
        self.place: dict[int, tuple[bool, int]] = {}
        self.count = 0
        self.highest = 0

    def unsent(self, number: int) -> int:
        return self.units[number].unsent - len(self.held.get(number, []))

    def bars(self, number: int, volunteer: int) -> bool:
        return volunteer in self.units[number].barred or volunteer in self.held.get(number, [])

    def line_up(self, number: int, first: bool) -> None:
        self.count += 1
        self.place[number] = (not first, self.count)

    def put(self, unit: ReadyUnit) -> None:
        number, old = unit.unit, self.units.get(unit.unit)
        waited = old is not None and self.unsent(number) > 0
        self.held[number] = [v for v in self.held.get(number, []) if v not in unit.barred]
        self.units[number] = unit
        if self.unsent(number) > 0:
            late = number <= self.highest
            self.highest = max(self.highest, number)
            if not waited or old is None:
                self.line_up(number, unit.freed or late)
            elif not old.barred <= unit.barred or (unit.freed and self.place[number][0]) or old.needs != unit.needs:
                self.line_up(number, True)

    def choose(self, volunteer: int, want: int, kinds: set[Needs]) -> list[int]:
        order = sorted((n for n in self.units if self.unsent(n) > 0), key=lambda n: self.place[n])
        fit = [n for n in order if self.units[n].needs in kinds and not self.bars(n, volunteer)]
        for number in fit[:want]:
            self.held.setdefault(number, []).append(volunteer)
        return fit[:want]

    def give_back(self, number: int, volunteer: int) -> None:
        if volunteer in self.held.get(number, []):
            self.held[number].remove(volunteer)
            self.line_up(number, True)


class Twin:
    """The queue and its model, told the same; `truth` is what the tables would say."""

    def __init__(self, runs: int, kinds: int = 1) -> None:
        self.ready = ReadyQueue()
        self.shares = FairShare()
        self.plain = [Plain() for _ in range(runs)]
        self.kinds = kinds
        self.truth: dict[int, ReadyUnit] = {}
        self.open: list[Choice] = []
        self.now = 1000.0
        for number in range(runs):
            terms = RunTerms(run=number, project=f"p{number}", researcher=bytes([number % 2]), priority=number % 3)
            self.ready.open_run(terms)

    def put(self, unit: ReadyUnit) -> None:
        self.truth[unit.unit] = unit
        self.ready.put(unit)
        self.plain[unit.run].put(unit)

    def make(self, pick: int, unsent: int) -> None:
        number = len(self.truth) + 1
        self.put(ReadyUnit(unit=number, run=pick % len(self.plain), unsent=unsent, needs=KINDS[pick % self.kinds]))

    def commit(self, pick: int, leased: int) -> None:
        """End an open choice: its first `leased` units were leased."""
        if not self.open:
            return
        choice = self.open.pop(pick % len(self.open))
        units = choice.units[:leased]
        self.ready.give_back(choice, leased=units)
        for number in choice.units:
            if number not in units:
                self.plain[self.truth[number].run].give_back(number, choice.volunteer)
        for number in units:
            known = self.truth[number]
            if known.unsent:
                barred = known.barred | {choice.volunteer}
                self.put(msgspec.structs.replace(known, unsent=known.unsent - 1, barred=barred))

    def lose(self, pick: int, again: bool) -> None:
        """A copy ended without an answer; `again`: its volunteer may have the unit once more."""
        out = [unit for unit in self.truth.values() if unit.barred]
        if out:
            unit = out[pick % len(out)]
            barred = frozenset(sorted(unit.barred)[1:]) if again else unit.barred
            self.put(msgspec.structs.replace(unit, unsent=unit.unsent + 1, barred=barred, freed=True))

    def cancel(self, pick: int) -> None:
        if self.truth:
            unit = msgspec.structs.replace(self.truth[pick % len(self.truth) + 1], unsent=0)
            self.truth[unit.unit] = unit
            self.ready.drop(unit.unit)
            plain = self.plain[unit.run]
            plain.held[unit.unit] = []
            plain.put(unit)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(0, 50), st.integers(1, 3)),
        st.tuples(st.just("choose"), st.integers(1, VOLUNTEERS), st.integers(1, 4)),
        st.tuples(st.just("choose"), st.integers(1, VOLUNTEERS), st.integers(1, 4)),
        st.tuples(st.just("commit"), st.integers(0, 50), st.sampled_from([0, 1, 99, 99])),
        st.tuples(st.just("lose"), st.integers(0, 50), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 50), st.none()),
    ),
    max_size=60,
)


def play(twin: Twin, step: tuple[str, int, int]) -> None:
    """Do one step that is not a choice."""
    name, first, second = step
    if name == "cancel":
        twin.cancel(first)
    elif name != "choose":
        getattr(twin, name)(first, second)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_one_run_goes_out_as_in_the_plain_model(steps: list[tuple[str, int, int]]) -> None:
    twin = Twin(runs=1)
    hosts = {v: host(v) for v in range(1, VOLUNTEERS + 1)}
    for step in steps:
        play(twin, step)
        if step[0] == "choose":
            choice = choose(twin.ready, twin.shares, hosts[step[1]], step[2], twin.now)
            assert list(choice.units) == twin.plain[0].choose(step[1], step[2], set(KINDS))
            twin.open.append(choice)
        assert twin.ready.unsent == sum(max(0, twin.plain[0].unsent(n)) for n in twin.plain[0].units)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(2, 4), st.sampled_from([1, ready.CROWD]))
def test_many_runs_and_needs_give_what_fits_and_all_that_fits(
    steps: list[tuple[str, int, int]], runs: int, crowd: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ready, "CROWD", crowd)
        _gives_all_that_fits(Twin(runs=runs, kinds=3), steps)


def _gives_all_that_fits(twin: Twin, steps: list[tuple[str, int, int]]) -> None:
    hosts = {v: host(v, offers=v % 2 == 0) for v in range(1, VOLUNTEERS + 1)}
    for step in steps:
        play(twin, step)
        if step[0] != "choose":
            continue
        caller = hosts[step[1]]
        able = set(KINDS) if caller.offer.tags else {KINDS[0]}
        fit = {
            n for plain in twin.plain for n in plain.units
            if plain.unsent(n) > 0 and plain.units[n].needs in able and not plain.bars(n, caller.volunteer)
        }  # fmt: skip
        choice = choose(twin.ready, twin.shares, caller, step[2], twin.now)
        assert set(choice.units) <= fit
        assert len(set(choice.units)) == len(choice.units) == min(step[2], len(fit))
        assert bool(choice.reason) is not bool(choice.units)
        for number in choice.units:
            twin.plain[twin.truth[number].run].held.setdefault(number, []).append(caller.volunteer)
        twin.open.append(choice)
        assert twin.ready.unsent == sum(max(0, p.unsent(n)) for p in twin.plain for n in p.units)


def crowded(unsent: int) -> tuple[ReadyQueue, FairShare]:
    """Return a queue in which 300 units wait for their first copy."""
    queue = ReadyQueue(Random(1))
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    for number in range(1, 301):
        queue.put(ReadyUnit(unit=number, run=1, unsent=unsent, needs=KINDS[0]))
    return queue, FairShare()


def test_who_calls_next_does_not_get_the_copies_that_confirm_the_last_caller() -> None:
    queue, shares = crowded(unsent=1)
    first = choose(queue, shares, host(1), 10, 1000.0).copies
    for unit in first:
        queue.put(msgspec.structs.replace(unit, barred=frozenset({1})))
    taken = [choose(queue, shares, host(number), 10, 1000.0).units for number in range(2, 32)]
    met = [len(set(units) & {unit.unit for unit in first}) for units in taken]
    assert met[0] <= 3
    assert max(met) <= 5
    assert sum(met) == 10


def test_nor_does_who_calls_in_the_same_turn() -> None:
    queue, shares = crowded(unsent=2)
    first, second = [choose(queue, shares, host(number), 10, 1000.0).units for number in (1, 2)]
    assert len(set(first) & set(second)) <= 3
    rest = [unit for number in range(3, 70) for unit in choose(queue, shares, host(number), 10, 1000.0).units]
    assert Counter([*first, *second, *rest]) == dict.fromkeys(range(1, 301), 2)


def test_nor_does_who_calls_when_two_answers_differ_decide_between_them() -> None:
    queue, shares = crowded(unsent=1)
    apart = choose(queue, shares, host(1), 10, 1000.0).copies
    for unit in apart:
        queue.put(msgspec.structs.replace(unit, barred=frozenset({1, 2}), freed=True))
    assert len({unit.unit for unit in apart} & set(choose(queue, shares, host(3), 10, 1000.0).units)) <= 3


def test_where_no_crowd_waits_the_second_copy_is_next() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    for number in range(1, ready.CROWD + 1):
        queue.put(ReadyUnit(unit=number, run=1, unsent=1, needs=KINDS[0]))
    unit = choose(queue, shares, host(1), 1, 1000.0).copies[0]
    queue.put(msgspec.structs.replace(unit, barred=frozenset({1})))
    assert choose(queue, shares, host(2), 1, 1000.0).units == (unit.unit,)


class Tables:
    """Units in tables, and a queue with little room before them."""

    def __init__(self, units: dict[int, int], quorum: int) -> None:
        """`units`: how many of each run."""
        self.rows: dict[int, ReadyUnit] = {}
        for run, count in units.items():
            for _ in range(count):
                self.add(run, quorum)
        self.ready = ReadyQueue()
        self.shares = FairShare()
        for run in units:
            self.ready.open_run(RunTerms(run=run, project="p", researcher=bytes([run])), in_tables=True)

    def add(self, run: int, quorum: int) -> ReadyUnit:
        number = len(self.rows) + 1
        self.rows[number] = ReadyUnit(unit=number, run=run, unsent=quorum, needs=KINDS[0])
        return self.rows[number]

    def refill(self) -> None:
        for run, above, limit in self.ready.runs_to_refill():
            rows = [u for u in self.rows.values() if u.run == run and u.unit > above and u.unsent][:limit]
            self.ready.refill(run, rows, complete=len(rows) < limit)

    def serve(self, caller: HostView, want: int) -> tuple[int, ...]:
        self.refill()
        return self.choose(caller, want)

    def choose(self, caller: HostView, want: int) -> tuple[int, ...]:
        choice = choose(self.ready, self.shares, caller, want, 1000.0)
        for number in choice.units:
            row = self.rows[number]
            assert caller.volunteer not in row.barred
            assert row.unsent > 0
            row = msgspec.structs.replace(row, unsent=row.unsent - 1, barred=row.barred | {caller.volunteer})
            self.rows[number] = row
            self.ready.put(row)
        return choice.units


@pytest.fixture
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "RUN_CAPACITY", 8)
    monkeypatch.setattr(ready, "RUN_FLOOR", 4)
    monkeypatch.setattr(ready, "CAPACITY", 16)


@pytest.mark.usefixtures("_little_room")
@pytest.mark.parametrize("want", [1, 3, 50])
def test_tables_larger_than_the_queue_are_worked_off_to_the_last_unit(want: int) -> None:
    tables = Tables({1: 57, 2: 3, 3: 21}, quorum=2)
    hosts = [host(v) for v in range(1, 4)]
    sent: Counter[int] = Counter()
    for turn in range(500):
        sent.update(tables.serve(hosts[turn % 3], want))
        assert len(tables.ready) <= 8 * 3
        if turn == 20:
            new = [tables.add(3, 2) for _ in range(30)]
            for unit in new:
                tables.ready.put(unit)
    assert sent == Counter(dict.fromkeys(range(1, 57 + 3 + 21 + 30 + 1), 2))
    assert (len(tables.ready), tables.ready.unsent, tables.ready.runs_to_refill()) == (0, 0, [])


@pytest.mark.usefixtures("_little_room")
def test_a_big_old_run_does_not_keep_a_new_one_out() -> None:
    tables = Tables({1: 1000}, quorum=1)
    tables.serve(host(1), 1)
    tables.ready.open_run(RunTerms(run=2, project="p", researcher=b"new"))
    tables.ready.put(tables.add(2, 1))
    assert 1001 in tables.serve(host(2), 2) + tables.serve(host(3), 2)


@pytest.mark.usefixtures("_little_room")
def test_what_is_made_while_a_refill_is_under_way_is_not_forgotten() -> None:
    tables = Tables({1: 6}, quorum=1)
    [(run, above, limit)] = tables.ready.runs_to_refill()
    assert (run, above, limit, tables.ready.runs_to_refill()) == (1, 0, 8, [])
    rows = list(tables.rows.values())
    tables.ready.put(tables.add(1, 1))
    tables.ready.refill(1, rows, complete=True)
    got = [number for n in range(10) for number in tables.serve(host(n + 1), 2)]
    assert sorted(got) == list(range(1, 8))


@pytest.mark.usefixtures("_little_room")
def test_a_refill_that_failed_is_asked_for_again() -> None:
    tables = Tables({1: 6}, quorum=1)
    assert tables.ready.runs_to_refill() == [(1, 0, 8)]
    tables.ready.refill(1, [], complete=False)
    assert tables.ready.runs_to_refill() == [(1, 0, 8)]


@pytest.mark.usefixtures("_little_room")
def test_copies_that_come_back_beyond_the_room_wait_in_the_tables() -> None:
    tables = Tables({1: 60}, quorum=1)
    caller = host(1)
    while tables.serve(caller, 50):
        pass
    for number in range(1, 61):
        tables.rows[number] = msgspec.structs.replace(tables.rows[number], unsent=1, barred=frozenset(), freed=True)
        tables.ready.put(tables.rows[number])
    assert len(tables.ready) == 16
    got: list[int] = []
    while units := tables.serve(caller, 3):
        got += units
    assert sorted(got) == list(range(1, 61))


@pytest.mark.usefixtures("_little_room")
def test_a_copy_left_in_the_tables_while_a_refill_is_under_way_is_found_by_the_next() -> None:
    tables = Tables({1: 40}, quorum=1)
    first = [unit for n in range(4) for unit in tables.serve(host(1), 8)]
    [(_, above, limit)] = tables.ready.runs_to_refill()
    for number in first[:20]:
        tables.rows[number] = msgspec.structs.replace(tables.rows[number], unsent=1, barred=frozenset(), freed=True)
        tables.ready.put(tables.rows[number])
    following = [u for u in tables.rows.values() if u.unit > above][:limit]
    caller = host(2)
    rest = list(tables.choose(caller, 12))
    tables.ready.refill(1, following, complete=len(following) < limit)
    assert len(tables.ready) == 8
    while units := tables.serve(caller, 50):
        rest += units
    assert sorted(first[20:] + rest) == sorted([*range(1, 41)])


@pytest.mark.usefixtures("_little_room")
def test_a_run_whose_waiting_units_were_all_cancelled_is_refilled() -> None:
    tables = Tables({1: 20}, quorum=1)
    tables.refill()
    for number in range(1, 9):
        tables.rows[number] = msgspec.structs.replace(tables.rows[number], unsent=0)
        tables.ready.drop(number)
    assert tables.serve(host(1), 50) == tuple(range(9, 17))


def test_a_unit_that_was_freed_goes_before_those_it_stood_behind() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    for number in (1, 2, 3):
        queue.put(ReadyUnit(unit=number, run=1, unsent=2, needs=KINDS[0]))
    queue.put(ReadyUnit(unit=3, run=1, unsent=2, needs=KINDS[0], freed=True))
    assert choose(queue, shares, host(1), 1, 1000.0).units == (3,)


def test_a_unit_older_than_what_was_listed_last_goes_first() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    for number in (1, 3, 4, 2):
        queue.put(ReadyUnit(unit=number, run=1, unsent=1, needs=KINDS[0]))
    assert choose(queue, shares, host(1), 9, 1000.0).units == (2, 1, 3, 4)


def test_the_places_of_volunteers_are_bounded() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    queue.put(ReadyUnit(unit=1, run=1, unsent=100, needs=KINDS[0]))
    for volunteer in range(1, 50):
        assert choose(queue, shares, host(volunteer), 1, 1000.0).units == (1,)
    assert len(queue.runs[1].lanes[KINDS[0]].rest._places) <= line.MAX_PLACES


def test_a_run_that_ended_leaves_nothing_and_may_come_again() -> None:
    tables = Tables({1: 5, 2: 5}, quorum=2)
    caller = host(1)
    tables.serve(caller, 1)
    tables.ready.close_run(1)
    tables.ready.close_run(1)
    assert (tables.ready.unsent, len(tables.ready), tables.ready.projects) == (
        10 - (2 in tables.ready.runs) * 0,
        5,
        ("p",),
    )
    assert set(tables.serve(host(2), 50)) == set(range(6, 11)) == set(tables.serve(host(3), 50))
    with pytest.raises(NotFound, match="run 1"):
        tables.ready.put(tables.rows[2])
    for _ in range(2):
        tables.ready.open_run(RunTerms(run=1, project="p", researcher=b"x"))
        tables.ready.put(tables.rows[2])
        tables.ready.close_run(1)
        assert tables.serve(host(3), 1) == ()
    tables.ready.open_run(RunTerms(run=1, project="p", researcher=b"x"))
    tables.ready.put(tables.rows[2])
    assert tables.serve(host(3), 1) == (2,)


def test_a_volunteer_with_many_copies_out_is_not_walked_past_them_again() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    for number in range(1, 3001):
        queue.put(ReadyUnit(unit=number, run=1, unsent=2, needs=KINDS[0]))
    looked = 0

    class Watched(frozenset[int]):
        def __contains__(self, item: object) -> bool:
            nonlocal looked
            looked += 1
            return super().__contains__(item)

    caller = host(1)
    for _ in range(58):
        for unit in choose(queue, shares, caller, 50, 1000.0).copies:
            queue.put(msgspec.structs.replace(unit, unsent=1, barred=Watched({1})))
    looked = 0
    assert choose(queue, shares, caller, 1, 1000.0).units[0] > 2000
    assert looked < 200


def test_a_line_behind_a_unit_that_nobody_takes_does_not_grow() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    queue.put(ReadyUnit(unit=1, run=1, unsent=1, needs=KINDS[0], barred=frozenset({1})))
    caller = host(1)
    for number in range(2, 1002):
        queue.put(ReadyUnit(unit=number, run=1, unsent=1, needs=KINDS[0]))
        assert choose(queue, shares, caller, 1, 1000.0).units == (number,)
        queue.drop(number)
    assert len(queue.runs[1].lanes[KINDS[0]].rest._entries) < 10


def test_needs_without_end_in_one_run_are_forgotten_when_nothing_of_them_waits() -> None:
    queue, shares = ReadyQueue(), FairShare()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"))
    caller = host(1)
    for number in range(1, 1001):
        queue.put(ReadyUnit(unit=number, run=1, unsent=1, needs=Needs(wall_s=float(number))))
        assert choose(queue, shares, caller, 1, 1000.0).units == (number,)
    assert len(queue.runs[1].lanes) <= ready.MAX_LANES


def test_a_run_that_goes_on_is_read_from_its_first_unit_though_a_later_one_was_put() -> None:
    """Between the commit that lets it go on and the look at the tables, a report may put one of its units."""
    queue = ReadyQueue()
    terms = RunTerms(run=1, project="p", researcher=b"r")
    queue.open_run(terms)
    queue.put(ReadyUnit(unit=50, run=1, unsent=1, needs=KINDS[0]))
    queue.more(1, anew=True)
    assert [(run, above) for run, above, _ in queue.runs_to_refill()] == [(1, 0)]
    queue.refill(1, [ReadyUnit(unit=n, run=1, unsent=1, needs=KINDS[0]) for n in (7, 50)], complete=True)
    assert len(queue) == 2
    assert queue.runs_to_refill() == []


@pytest.mark.usefixtures("_little_room")
def test_a_unit_with_an_answer_is_listed_wherever_it_stands_and_given_to_no_other_process() -> None:
    queue = ReadyQueue()
    queue.open_run(RunTerms(run=1, project="p", researcher=b"r"), in_tables=True)
    numbers = [70, 5, *range(71, 89)]
    for number in numbers:
        queue.put(ReadyUnit(unit=number, run=1, unsent=1, needs=KINDS[0], accepted=True))
    assert queue.surrender(everything=True) == []
    assert sorted(choose(queue, FairShare(), host(1), 50, 0.0).units) == sorted(numbers)
    assert queue.runs_to_refill() == [(1, 0, 8)], "what lies in the tables below them is fetched all the same"
