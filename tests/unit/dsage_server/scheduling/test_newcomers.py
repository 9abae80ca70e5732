"""Welcome units: one for each computer that has done nothing yet, and no work for anybody else; refused projects."""

from __future__ import annotations

from dsage_server.scheduling.policy import FairShare, HostView, ReadyQueue, choose, hungry
from dsage_server.scheduling.record import HostRecord
from dsage_server.scheduling.terms import NEWCOMER, HostOffer, ReadyUnit, RunTerms

NOW = 1e9
WELCOME = RunTerms(run=1, project="lab", researcher=b"r", priority=100, tags=frozenset({NEWCOMER}))
PLAIN = RunTerms(run=2, project="science", researcher=b"r")


def queue(**units: int) -> ReadyQueue:
    """A queue with so many units of each run; those of PLAIN have numbers from 100."""
    ready = ReadyQueue()
    for terms, first, count in ((WELCOME, 1, units.get("welcome", 0)), (PLAIN, 100, units.get("plain", 0))):
        ready.open_run(terms)
        for number in range(first, first + count):
            ready.put(ReadyUnit(unit=number, run=terms.run, unsent=1, needs=terms.needs()))
    return ready


def host(number: int, *, record: HostRecord | None = None, tags: str = "", refuses: str = "") -> HostView:
    offer = HostOffer(tags=frozenset(tags.split()), refuses=frozenset(refuses.split()))
    return HostView(host=number, volunteer=number, offer=offer, record=record or HostRecord())


def test_a_newcomer_gets_one_welcome_unit_first_and_then_research() -> None:
    ready, shares = queue(welcome=5, plain=5), FairShare()
    assert choose(ready, shares, host(1), 3, NOW).units == (1, 100, 101)


def test_who_was_greeted_or_has_worked_gets_none_and_waits_for_research() -> None:
    ready, shares = queue(welcome=5), FairShare()
    worked = HostRecord()
    worked.validated()
    for each in (host(1, record=HostRecord(greeted=True)), host(2, record=worked)):
        choice = choose(ready, shares, each, 3, NOW)
        assert (choice.units, choice.reason) == ((), "no work is waiting")


def test_no_owner_can_claim_to_be_new_by_a_tag() -> None:
    ready, shares = queue(welcome=5), FairShare()
    claims = host(1, record=HostRecord(greeted=True), tags=NEWCOMER)
    assert choose(ready, shares, claims, 3, NOW).units == ()


def test_welcome_units_do_not_count_as_work_that_waits() -> None:
    ready, shares = queue(welcome=5, plain=2), FairShare()
    assert (ready.unsent, hungry(4, ready.unsent)) == (2, 4)
    choice = choose(ready, shares, host(1), 2, NOW)
    assert (choice.units, ready.unsent) == ((1, 100), 1)
    ready.give_back(choice)
    assert ready.unsent == 2
    ready.drop(1)
    ready.close_run(1)
    assert ready.unsent == 2


def test_nothing_of_a_project_that_the_owner_refuses() -> None:
    ready, shares = queue(plain=2), FairShare()
    choice = choose(ready, shares, host(1, refuses="science"), 2, NOW)
    assert (choice.units, choice.reason) == ((), "you refuse the projects that have work")
    assert dict(choice.reasons)["science"] == "you refuse it"
    assert choose(ready, shares, host(2), 2, NOW).units == (100, 101)
