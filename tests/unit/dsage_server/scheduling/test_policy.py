"""Who gets what, in which order, and in which words a host is told that there is nothing for it."""

from __future__ import annotations

import msgspec
import pytest

from dsage_server.scheduling import policy
from dsage_server.scheduling.policy import (
    FairShare,
    HostOffer,
    HostView,
    Needs,
    ReadyQueue,
    ReadyUnit,
    RunTerms,
    choose,
)  # fmt: skip
from dsage_server.scheduling.record import FIRST, HostRecord
from dsage_server.scheduling.tail import LOOK_S, PATIENCE_S, RECENT_S, SETTLED_S

GIB = 1 << 30
NOW = 1_000_000.0
OFFER = HostOffer(platform="linux-x86_64", packages=frozenset({"flint"}), memory_bytes=4 * GIB, disk_bytes=GIB)


def host(number: int = 1, *, volunteer: int = 0, offer: HostOffer = OFFER, pace: float = 0.0) -> HostView:
    """A host; with a `pace`, one that was tried and took so many seconds for a second of work."""
    record = HostRecord()
    for _ in range(10 if pace else 0):
        record.answered(1000, 60.0, 60.0 * pace, NOW)
        record.validated()
    return HostView(host=number, volunteer=volunteer or number, offer=offer, record=record)


class Bench:
    """A queue with shares, and what is put into it."""

    def __init__(self) -> None:
        self.ready = ReadyQueue()
        self.shares = FairShare()
        self.next = 1

    def run(self, number: int, units: int = 0, *, researcher: bytes = b"r", project: str = "p", priority: int = 0,
            **more: object) -> None:  # fmt: skip
        self.ready.open_run(RunTerms(run=number, project=project, researcher=researcher, priority=priority))
        for _ in range(units):
            self.unit(number, **more)

    def unit(self, run: int, *, unsent: int = 1, needs: Needs | None = None, **more: object) -> int:
        unit = ReadyUnit(unit=self.next, run=run, unsent=unsent, needs=needs or Needs())
        self.ready.put(msgspec.structs.replace(unit, **more))
        self.next += 1
        return unit.unit

    def choose(self, caller: HostView, want: int = 1, now: float = NOW) -> tuple[int, ...]:
        return self.ask(caller, want, now).units

    def ask(self, caller: HostView, want: int = 1, now: float = NOW) -> policy.Choice:
        return choose(self.ready, self.shares, caller, want, now)

    def runs_of(self, units: tuple[int, ...], by_run: dict[int, int]) -> list[int]:
        return [by_run[unit] for unit in units]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_units_go_out_in_the_order_they_were_made_and_freed_ones_first(bench: Bench) -> None:
    bench.run(1, 3)
    back = bench.unit(1, freed=True)
    assert bench.choose(host(), 9) == (back, 1, 2, 3)
    assert (bench.ready.unsent, len(bench.ready)) == (0, 0)


def test_no_volunteer_gets_two_copies_of_a_unit_whichever_host_asks(bench: Bench) -> None:
    bench.run(1, 2, unsent=2)
    assert bench.choose(host(1, volunteer=7), 9) == (1, 2)
    other = host(2, volunteer=7)
    second = bench.ask(other, 9)
    assert second == bench.ask(other, 9)
    assert second.reason == "every waiting unit needs another volunteer: you have a copy of each already"
    assert second.reasons == (("p", "you have a copy of each waiting unit already: another volunteer must confirm"),)
    assert bench.choose(host(3), 9) == (1, 2)


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(packages=frozenset({"gmpy2", "a"})), "a, gmpy2, which this computer does not offer"),
        (Needs(platforms=("win32", "mac")), "a computer of the kind win32 or mac, and this one is linux-x86_64"),
        (Needs(tags=frozenset({"lab"})), "computers marked lab, and this one is not"),
        (Needs(memory_bytes=6 * GIB + GIB // 2), "6.5 GiB of memory, and this computer offers 4 GiB"),
        (Needs(disk_bytes=2 * GIB), "2 GiB of disk, and this computer offers 1 GiB"),
        (Needs(features=frozenset({"inputs"})), "a newer DSage on this computer"),
    ],
)  # fmt: skip
def test_what_a_host_lacks_is_named(bench: Bench, needs: Needs, words: str) -> None:
    bench.run(1, 1, needs=needs)
    bench.run(2, project="quiet")
    choice = bench.ask(host())
    assert choice.reason == f"the waiting units need {words}"
    assert choice.reasons == (("p", f"needs {words}"), ("quiet", "no unit waits"))
    bench.unit(1, needs=Needs(platforms=("darwin", "linux"), packages=frozenset({"flint"}), memory_bytes=4 * GIB))
    assert bench.choose(host()) == (2,)


def test_strangers_get_only_units_whose_answers_prove_themselves(bench: Bench) -> None:
    stranger = host(offer=msgspec.structs.replace(OFFER, verifiable_only=True))
    bench.run(1, 2)
    choice = bench.ask(stranger)
    assert choice.reason == "the waiting units need a volunteer whom the operator trusts, for no answer proves itself"
    terms = RunTerms(run=2, project="p", researcher=b"r", proves=True)
    proving = bench.unit(1, needs=terms.needs())
    assert bench.choose(stranger, 3) == (proving,)
    assert bench.choose(host(2), 3) == (1, 2)


def test_a_host_that_does_not_say_what_it_has_is_not_turned_away_for_it(bench: Bench) -> None:
    bench.run(1, 1, needs=Needs(memory_bytes=GIB, disk_bytes=GIB))
    assert bench.choose(host(offer=HostOffer())) == (1,)


def test_words_for_nothing_at_all_and_for_an_allowance_that_is_spent(bench: Bench) -> None:
    bench.run(1)
    assert bench.ask(host()).reason == "no work is waiting"
    assert bench.ask(host()).reasons == (("p", "no unit waits"),)
    bench.unit(1)
    eager = host()
    eager.record.sent(FIRST, NOW)
    assert bench.ask(eager).reason == policy.SPENT
    assert bench.choose(eager, 5, NOW + 61.0) == (1,)
    assert bench.ask(host(), 0).reason == ""


def test_researchers_share_however_many_runs_each_has(bench: Bench) -> None:
    by_run: dict[int, int] = {}
    for number in range(1, 12):
        first = bench.next
        bench.run(number, 200, researcher=b"one" if number == 1 else b"other", project=f"p{number}")
        by_run |= dict.fromkeys(range(first, bench.next), number)
    got = [by_run[bench.choose(host(n))[0]] for n in range(1, 201)]
    assert got.count(1) == 100
    assert all(got.count(number) == 10 for number in range(2, 12))


def test_shares_are_of_work_not_of_units(bench: Bench) -> None:
    bench.run(1, 100, researcher=b"a", credit_milli=3000)
    bench.run(2, 100, researcher=b"b", credit_milli=1000)
    got = [bench.choose(host(n))[0] for n in range(1, 41)]
    assert sum(unit <= 100 for unit in got) == 10


def test_priority_orders_the_runs_of_one_researcher_and_outranks_nobody_else(bench: Bench) -> None:
    bench.run(1, 10, researcher=b"a")
    bench.run(2, 10, researcher=b"a", priority=5)
    bench.run(3, 40, researcher=b"b")
    got = [bench.choose(host(n))[0] for n in range(1, 21)]
    assert [unit for unit in got if unit <= 20] == list(range(11, 21))


def test_what_was_given_an_hour_ago_is_forgiven(bench: Bench) -> None:
    bench.run(1, 500, researcher=b"a")
    for n in range(1, 101):
        bench.choose(host(n))
    bench.run(2, 100, researcher=b"b")
    later = [bench.choose(host(n), now=NOW + 3600.0)[0] > 500 for n in range(1, 21)]
    assert 10 <= sum(later) <= 12


def test_a_run_that_cannot_fill_a_call_is_followed_by_the_next(bench: Bench) -> None:
    bench.run(1, 2, researcher=b"a")
    bench.run(2, 9, researcher=b"b")
    assert set(bench.choose(host(), 5)) == {1, 2, 3, 4, 5}


def test_what_was_not_leased_goes_to_the_next_who_asks(bench: Bench) -> None:
    bench.run(1, 4, unsent=2)
    choice = bench.ask(host(1), 3)
    bench.ready.give_back(choice, leased=[2])
    assert bench.ready.unsent == 7
    assert bench.choose(host(1), 9) == (1, 3, 4)


def test_the_truth_of_one_commit_leaves_what_is_reserved_for_the_next(bench: Bench) -> None:
    bench.run(1, unsent=2)
    bench.unit(1, unsent=2)
    bench.choose(host(1))
    bench.choose(host(2))
    truth = ReadyUnit(unit=1, run=1, unsent=1, needs=Needs(), barred=frozenset({1}))
    bench.ready.put(truth)
    assert bench.choose(host(3)) == ()
    bench.ready.put(msgspec.structs.replace(truth, unsent=0, barred=frozenset({1, 2})))
    assert len(bench.ready) == 0
    bench.ready.put(msgspec.structs.replace(truth, unsent=1, freed=True))
    assert bench.choose(host(2)) == (1,)


class TestTheEndOfARun:
    """Three hosts: the first two fast, the third slow."""

    @pytest.fixture
    def hosts(self, bench: Bench) -> list[HostView]:
        hosts = [host(1, pace=1.0), host(2, pace=1.1), host(3, pace=9.0)]
        bench.run(1)
        for caller in hosts:
            bench.ask(caller, now=NOW)
        return hosts

    def settled(self, bench: Bench, caller: HostView) -> float:
        """Let the run come to its end."""
        assert bench.ask(caller, now=NOW).units == ()
        return NOW + SETTLED_S + 1.0

    def test_the_last_copies_go_to_fast_hosts(self, bench: Bench, hosts: list[HostView]) -> None:
        last = bench.unit(1, freed=True, barred=frozenset({3}))
        now = self.settled(bench, hosts[2])
        bench.ready.put(ReadyUnit(unit=last, run=1, unsent=1, needs=Needs(), freed=True))
        choice = bench.ask(hosts[2], now=now)
        assert choice.reasons == (("p", "its last units go to faster computers now"),)
        assert choice.reason == "the last units of a run go to faster computers now"
        assert bench.choose(hosts[1], now=now) == (last,)

    @pytest.mark.parametrize(("credit_milli", "length"), [(100_000, PATIENCE_S), (200, 12.0)])
    def test_but_not_for_long(self, bench: Bench, hosts: list[HostView], credit_milli: int, length: float) -> None:
        last = bench.unit(1, freed=True, barred=frozenset({3}))
        now = self.settled(bench, hosts[2])
        bench.ready.put(ReadyUnit(unit=last, run=1, unsent=1, needs=Needs(), freed=True, credit_milli=credit_milli))
        waited = 0
        while not bench.choose(hosts[2], now=now + waited):
            bench.ready.tail.note(hosts[0], now + waited)
            waited += 1
            assert waited <= length
        assert waited == length

    def test_and_not_when_no_fast_host_could_take_them(self, bench: Bench, hosts: list[HostView]) -> None:
        last = bench.unit(1, freed=True, barred=frozenset({1, 2, 3}))
        now = self.settled(bench, hosts[2])
        bench.ready.put(ReadyUnit(unit=last, run=1, unsent=1, needs=Needs(), freed=True, barred=frozenset({1, 2})))
        assert bench.choose(hosts[2], now=now) == (last,)

    def test_nor_when_every_fast_host_that_could_is_away(self, bench: Bench, hosts: list[HostView]) -> None:
        last = bench.unit(1, freed=True, barred=frozenset({3}), credit_milli=100_000)
        self.settled(bench, hosts[2])
        now = NOW + RECENT_S + 1.0
        unit = ReadyUnit(unit=last, run=1, unsent=1, needs=Needs(packages=frozenset({"flint"})), freed=True)
        bench.ready.put(unit)
        bench.ready.tail.note(hosts[0], now)
        assert bench.choose(hosts[2], now=now) == ()
        unable = host(1, pace=1.0, offer=HostOffer(platform="linux-x86_64"))
        bench.ready.tail.note(unable, now + LOOK_S)
        assert bench.choose(hosts[2], now=now + LOOK_S) == (last,)

    def test_slow_hosts_get_the_next_best_work(self, bench: Bench, hosts: list[HostView]) -> None:
        last = bench.unit(1, freed=True, barred=frozenset({3}))
        now = self.settled(bench, hosts[2])
        bench.ready.put(ReadyUnit(unit=last, run=1, unsent=1, needs=Needs(), freed=True))
        bench.run(2, 1, researcher=b"other")
        assert bench.choose(hosts[2], 2, now=now) == (last + 1,)


def test_a_host_that_cannot_finish_in_time_is_passed_over_if_others_can(bench: Bench) -> None:
    quick, slow = host(1), host(2)
    for caller, cpu_s in ((quick, 600.0), (slow, 60_000.0)):
        for _ in range(20):
            caller.record.answered(10_000, cpu_s, cpu_s, NOW)
    bench.run(1, 2, needs=Needs(wall_s=7200.0), credit_milli=60_000)
    for n in range(3, 6):
        bench.ready.tail.note(host(n, pace=1.0), NOW)
    bench.ready.tail.note(quick, NOW)
    assert bench.ask(slow).reasons == (("p", "its units want a faster computer"),)
    assert bench.choose(quick) == (1,)
    bench.run(2, 1, needs=Needs(wall_s=7200.0), credit_milli=60_000_000)
    assert bench.choose(slow) == (3,)


def test_credit_that_says_too_little_turns_nobody_away(bench: Bench) -> None:
    hosts = [host(n) for n in range(1, 4)]
    for caller in hosts:
        for _ in range(20):
            caller.record.answered(10, 60_000.0, 60_000.0, NOW)
        bench.ready.tail.note(caller, NOW)
    bench.run(1, 3, needs=Needs(wall_s=7200.0), credit_milli=60_000)
    assert [bench.choose(caller) for caller in hosts] == [(1,), (2,), (3,)]


def test_two_needs_in_one_run_take_turns_by_age(bench: Bench) -> None:
    bench.run(1)
    small, big = Needs(memory_bytes=1), Needs(memory_bytes=2)
    for needs in (small, big, big, small):
        bench.unit(1, needs=needs)
    assert [bench.choose(host(n)) for n in range(1, 5)] == [(1,), (2,), (3,), (4,)]


def test_a_run_is_not_looked_at_while_nothing_of_it_waits(bench: Bench) -> None:
    bench.run(1, 1)
    assert bench.choose(host(1)) == (1,)
    assert bench.ask(host(2)).units == ()
    assert list(bench.shares.order()) == []
    bench.unit(1)
    assert bench.choose(host(2)) == (2,)


def test_each_project_gives_its_reasons_once(bench: Bench) -> None:
    bench.run(1, 1, project="a", needs=Needs(tags=frozenset({"x"})))
    bench.run(2, 1, project="a", barred=frozenset({1}))
    bench.run(3, 1, project="b", barred=frozenset({1}))
    choice = bench.ask(host(1))
    assert sorted(dict(choice.reasons)) == ["a", "b"] == sorted(project for project, _ in choice.reasons)
    assert dict(choice.reasons)["a"].count(";") == 1
    assert choice.reason.startswith("every waiting unit needs another volunteer")
    assert choice.reason.endswith("computers marked x, and this one is not")
