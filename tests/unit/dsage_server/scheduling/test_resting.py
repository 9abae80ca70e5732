"""Units whose copies failed rest: longer each time, apart from each other, and not beyond their run."""

from __future__ import annotations

import random

import pytest

from dsage_server.scheduling import policy
from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.record import HostRecord
from dsage_server.scheduling.resting import FIRST_REST_S, LEAST, LONGEST_REST_S, Resting, rest_s
from dsage_server.scheduling.shares import FairShare
from dsage_server.scheduling.terms import HostOffer, Needs, ReadyUnit, RunTerms


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (9, 256.0), (10, 300.0), (10**6, 300.0)]
)
def test_a_rest_doubles_with_each_failure_up_to_five_minutes(failures: int, seconds: float) -> None:
    assert rest_s(failures) == seconds * FIRST_REST_S
    assert rest_s(failures) <= LONGEST_REST_S


def test_what_failed_together_comes_back_apart() -> None:
    resting = Resting(random.Random(1))
    for unit in range(200):
        resting.begin(unit, 1, 3, 100.0)
    ends = [end for end, _ in resting._ends]
    assert 100.0 + 4.0 * LEAST <= min(ends) < max(ends) <= 104.0
    assert len(set(ends)) == 200
    assert (len(resting), 7 in resting, resting.over(100.0)) == (200, True, [])
    due = resting.due(103.0)
    early = resting.over(103.0)
    assert sorted(due) == sorted(early)
    assert sorted(early + resting.over(104.0)) == list(range(200))
    assert 50 < len(early) < 150
    assert not resting


def test_a_unit_that_fails_while_it_rests_rests_anew() -> None:
    resting = Resting()
    resting.begin(5, 1, 1, 0.0)
    resting.begin(5, 1, 8, 0.0)
    assert resting.over(60.0) == []
    assert resting.over(128.0) == [5]


def test_a_run_that_gives_out_nothing_any_more_takes_its_resting_units_along() -> None:
    resting = Resting()
    resting.begin(1, 7, 1, 0.0)
    resting.begin(2, 8, 1, 0.0)
    resting.forget(7)
    assert (set(resting.runs()), resting.over(1.0)) == ({8}, [2])


def queue() -> ReadyQueue:
    """Return a queue with a run of two units."""
    ready = ReadyQueue()
    ready.open_run(RunTerms(run=1, project="radium", researcher=b"r"))
    for unit in (1, 2):
        ready.put(ReadyUnit(unit=unit, run=1, unsent=1, needs=Needs()))
    return ready


def asked(ready: ReadyQueue) -> policy.Choice:
    """Return what a host gets that may have anything."""
    host = HostView(host=1, volunteer=1, offer=HostOffer(memory_bytes=1 << 40, disk_bytes=1 << 40), record=HostRecord())
    return policy.choose(ready, FairShare(), host, 5, 0.0)


def test_what_rests_is_not_handed_out_and_the_host_hears_why() -> None:
    ready = queue()
    ready.rest(1, 1, 1, 0.0)
    assert asked(ready).units == (2,)
    ready.rest(2, 1, 1, 0.0)
    choice = asked(ready)
    assert (choice.units, choice.reasons) == ((), (("radium", policy.RESTING),))
    assert choice.reason == "the waiting units failed just now, and rest a while"


def test_a_host_hears_that_the_only_run_with_work_is_paused() -> None:
    ready = queue()
    ready.close_run(1)
    assert asked(ready).reason == policy.IDLE
    ready.paused[1] = "radium"
    choice = asked(ready)
    assert (choice.reasons, choice.reason) == (
        (("radium", policy.PAUSED),), "the runs that have work are paused by their researchers",
    )  # fmt: skip
    ready.open_run(RunTerms(run=1, project="radium", researcher=b"r"))
    assert asked(ready).reason == policy.IDLE
