"""Token buckets: nobody gets more than burst + rate * time, and a flood of names costs a bounded table."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_server.api.buckets import Buckets, Policy

policies = st.builds(
    Policy,
    name=st.just("calls"),
    rate_per_s=st.sampled_from([0.1, 0.3, 1.0, 7.0, 50.0, 1000.0]),
    burst=st.integers(1, 50),
)
waits = st.one_of(st.just(0.0), st.floats(0.0, 0.1), st.floats(0.0, 100.0))


@given(policy=policies, asked=st.lists(st.tuples(waits, st.sampled_from("ab")), max_size=300))
def test_nobody_gets_more_than_burst_and_rate_in_any_stretch_of_time(
    policy: Policy, asked: list[tuple[float, str]]
) -> None:
    buckets, now = Buckets(policy), 0.0
    passed: dict[str, list[float]] = defaultdict(list)
    for wait, who in asked:
        now += wait
        if buckets.take(who, now).allowed:
            passed[who].append(now)
    for times in passed.values():
        for first, start in enumerate(times):
            for last in range(first, len(times)):
                most = policy.burst + policy.rate_per_s * (times[last] - start)
                assert last - first + 1 <= most * (1 + 1e-9) + 1e-3


@given(policy=policies, asked=st.lists(waits, max_size=100))
def test_what_a_verdict_promises_holds(policy: Policy, asked: list[float]) -> None:
    buckets, now = Buckets(policy), 0.0
    for wait in asked:
        now += wait
        verdict = buckets.take("a", now)
        assert 0 <= verdict.remaining < policy.burst or not verdict.allowed
        if verdict.remaining:
            assert verdict.retry_s == 0.0
        else:
            assert 0.0 < verdict.retry_s <= 1.0 / policy.rate_per_s * (1 + 1e-6)
            assert not buckets.take("a", now + verdict.retry_s * 0.99).allowed
            now += verdict.retry_s
            assert buckets.take("a", now).allowed
    now += policy.window_s * (1 + 1e-9)
    assert [buckets.take("a", now).remaining for _ in range(policy.burst)] == [*range(policy.burst)][::-1]
    assert not buckets.take("a", now).allowed


@given(most=st.integers(1, 20), asked=st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, 60)), max_size=300))
def test_the_table_and_its_order_stay_bounded(most: int, asked: list[tuple[float, int]]) -> None:
    buckets, now = Buckets(Policy(name="calls", rate_per_s=1.0, burst=5), most), 0.0
    for wait, who in asked:
        now += wait
        buckets.take(who, now)
        assert len(buckets) <= most
        assert len(buckets._by_fullness) == len(buckets)


def test_a_flood_of_names_puts_out_its_own_and_not_whoever_asked_for_most() -> None:
    buckets = Buckets(Policy(name="calls", rate_per_s=1.0, burst=10), most=100)
    while buckets.take("greedy", 0.0).allowed:
        pass
    for number in range(10_000):
        buckets.take(number, 0.5)
    assert len(buckets) == 100
    assert not buckets.take("greedy", 0.5).allowed


def test_full_buckets_are_forgotten_as_others_come() -> None:
    buckets = Buckets(Policy(name="calls", rate_per_s=1.0, burst=10))
    for number in range(1000):
        buckets.take(number, 0.0)
    for number in range(1000, 2000):
        buckets.take(number, 5.0)
    assert len(buckets) == 1000
    assert 999 not in buckets._full_at


@pytest.mark.parametrize(("rate", "burst", "window_s"), [(2.0, 10, 5.0), (0.1, 1, 10.0)])
def test_a_window_is_how_long_an_empty_bucket_fills(rate: float, burst: int, window_s: float) -> None:
    assert Policy(name="x", rate_per_s=rate, burst=burst).window_s == pytest.approx(window_s)
