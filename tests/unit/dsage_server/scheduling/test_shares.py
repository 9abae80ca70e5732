"""Fair shares against a plain account of what was handed out when."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage_server.scheduling.shares import HALF_LIFE_S, FairShare
from dsage_server.scheduling.terms import RunTerms

RUNS = {
    number: RunTerms(run=number, project=f"p{number % 3}", researcher=bytes([number % 4]), priority=number % 2)
    for number in range(12)
}
STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "charge", "charge", "forget"]), st.sampled_from(sorted(RUNS)),
              st.integers(1, 10_000), st.floats(0.0, 4000.0)),
    max_size=80,
)  # fmt: skip


def path(run: int) -> list[tuple[object, ...]]:
    terms = RUNS[run]
    return [(terms.researcher,), (terms.researcher, terms.priority, terms.project), (run,)]


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_turns_go_to_those_who_were_given_least_of_late(steps: list[tuple[str, int, int, float]]) -> None:
    shares = FairShare()
    given_to: dict[tuple[object, ...], float] = defaultdict(float)
    waiting: set[int] = set()
    met: set[int] = set()
    now = 5000.0
    for name, run, credit, seconds in steps:
        now += seconds
        for key in given_to:
            given_to[key] *= 0.5 ** (seconds / HALF_LIFE_S)
        if name == "enter":
            shares.enter(RUNS[run])
            waiting.add(run)
            met.add(run)
        elif name == "charge" and run in met:
            shares.charge(run, credit, now)
            for key in path(run):
                given_to[key] += credit
        elif name in ("leave", "forget"):
            getattr(shares, name)(run)
            waiting.discard(run)
            if name == "forget":
                met.discard(run)
                given_to.pop((run,), None)
        order = list(shares.order())
        assert sorted(order) == sorted(waiting)
        for before, after in pairwise(order):
            for level, (one, other) in enumerate(zip(path(before), path(after), strict=True)):
                if one != other:
                    ranks = (RUNS[before].priority, RUNS[after].priority) if level == 1 else (0, 0)
                    slack = 1.0 + 1e-6 * given_to[other]
                    assert ranks[0] > ranks[1] or (ranks[0] == ranks[1] and given_to[one] <= given_to[other] + slack)
                    break


@pytest.mark.parametrize("jump", [10 * 365 * 86_400.0, -10 * 365 * 86_400.0])
def test_a_clock_that_jumps_by_years_harms_nothing(jump: float) -> None:
    shares = FairShare()
    now = 1.7e9
    for run in (0, 1):
        shares.enter(RUNS[run])
    for n in range(100):
        shares.charge(next(shares.order()), 1000, now + jump * (n >= 50))
    got = []
    for _ in range(20):
        got.append(next(shares.order()))
        shares.charge(got[-1], 1000 if got[-1] else 3000, now + jump)
    assert 4 <= got.count(0) <= 6


def test_who_has_no_run_and_was_given_nothing_of_late_is_forgotten() -> None:
    shares = FairShare()
    for number in range(300):
        shares.enter(RunTerms(run=number, project="p", researcher=str(number).encode()))
        shares.charge(number, 1000, number * 3600.0)
        shares.forget(number)
    assert len(shares._nodes) < 50
    assert list(shares.order()) == []
