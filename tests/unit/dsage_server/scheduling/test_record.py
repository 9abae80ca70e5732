"""What is learnt of a host, and what follows: its limit, its speed, its deadlines."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_server.scheduling import record as rules
from dsage_server.scheduling.deadlines import deadline_s
from dsage_server.scheduling.record import FIRST, FLOOR, MOST, RECOVERY_S, HostRecord

NOW = 1.7e9
DAY = 86_400.0


def answers(record: HostRecord, n: int, *, credit_milli: int = 1000, cpu_s: float = 60.0, away_s: float = 60.0) -> None:
    for _ in range(n):
        record.answered(credit_milli, cpu_s, away_s, NOW)


def test_a_copy_counts_until_it_is_answered_or_forgiven() -> None:
    record = HostRecord()
    record.sent(FIRST, NOW)
    assert record.allowed(NOW) == 0
    answers(record, 3)
    assert record.allowed(NOW) == 3
    record.stopped(2)
    assert record.allowed(NOW) == 5
    assert record.allowed(NOW + 4 * RECOVERY_S) == 9
    assert record.allowed(NOW + 10_000 * RECOVERY_S) == FIRST
    record.sent(1, NOW)
    assert record.allowed(NOW - DAY) == FIRST - 1


def test_only_validated_work_raises_the_limit() -> None:
    record = HostRecord()
    for _ in range(50):
        record.sent(1, NOW)
        answers(record, 1)
    assert record.most == FIRST
    record.validated(50)
    assert (record.most, record.allowed(NOW)) == (FIRST + 50, FIRST + 50)
    record.validated(10 * MOST)
    assert (record.most, record.allowed(NOW)) == (MOST, MOST)


def test_what_fails_between_two_calls_halves_the_limit_once_down_to_a_few() -> None:
    record = HostRecord()
    for _ in range(30):
        record.failed()
    assert (record.most, record.allowed(NOW)) == (FIRST / 2, FIRST // 2)
    for n in range(20):
        record.failed(2)
        record.allowed(NOW + n)
    assert record.most == FLOOR
    record.sent(FLOOR, NOW + 20)
    assert record.allowed(NOW + 20 + 10 * RECOVERY_S) == 0
    assert record.allowed(NOW + 20 + 26 * RECOVERY_S) == 1
    record.validated(3)
    assert record.most == FLOOR + 3


@given(st.lists(st.tuples(st.sampled_from(["sent", "answered", "validated", "failed", "stopped", "allowed"]),
                          st.integers(1, 60), st.floats(-100.0, 5000.0)), max_size=60))  # fmt: skip
def test_the_limit_stays_within_its_bounds(steps: list[tuple[str, int, float]]) -> None:
    record, now = HostRecord(), NOW
    for name, n, seconds in steps:
        now += seconds
        if name == "sent":
            record.sent(min(n, record.allowed(now)), now)
        elif name == "answered":
            record.answered(n * 100, float(n), seconds, now)
        elif name != "allowed":
            getattr(record, name)(n)
        assert FLOOR <= record.most <= MOST
        assert 0 <= record.allowed(now) <= record.most
        assert rules.SLOWEST <= record.speed <= rules.FASTEST
        assert msgspec.json.decode(msgspec.json.encode(record), type=HostRecord) == record
    assert len(msgspec.json.encode(record)) < 300


def test_speed_and_turnaround_follow_what_was_measured() -> None:
    record = HostRecord()
    assert (record.speed, record.turnaround) == (1.0, None)
    answers(record, 60, cpu_s=120.0, away_s=600.0)
    assert record.speed == pytest.approx(0.5, rel=0.05)
    assert record.turnaround == pytest.approx(10.0)
    answers(record, 60, cpu_s=30.0, away_s=60.0)
    assert record.speed == pytest.approx(2.0, rel=0.15)
    assert record.turnaround == pytest.approx(1.0, rel=0.5)
    answers(record, 60, cpu_s=-5.0, away_s=-5.0, credit_milli=100_000)
    assert record.speed == rules.FASTEST


def test_the_share_of_time_it_is_on_is_learnt_over_days() -> None:
    record, now = HostRecord(), NOW
    record.seen(now)
    for _ in range(14):
        for _ in range(96):
            now += DAY / 3 / 96
            record.seen(now)
        assert record.on_fraction > 0.3
        now += DAY * 2 / 3
        record.seen(now)
    assert record.on_fraction == pytest.approx(1 / 3, abs=0.1)
    record.seen(now - 3600.0)
    record.seen(now + 100 * DAY)
    assert record.on_fraction == rules.LEAST_ON


def test_a_host_is_reliable_when_tried_and_hardly_ever_failing() -> None:
    record = HostRecord()
    assert not record.reliable
    record.validated(3)
    assert record.reliable
    record.failed()
    assert not record.reliable
    record.validated(60)
    assert record.reliable


@pytest.mark.parametrize(
    ("cpu_s", "on", "deadline", "expected"),
    [
        (60.0, 1.0, 3600.0, 3600.0),
        (120.0, 1.0, 3600.0, 7200.0),
        (120.0, 0.5, 3600.0, 14_400.0),
        (1200.0, 0.2, 3600.0, 14_400.0),
        (1.0, 1.0, 3600.0, 900.0),
        (60.0, 1.0, 30.0, 120.0),
        (1.0, 1.0, 200.0, 60.0),
        (1.0, 1.0, 30.0, 30.0),
        (1.0, 1.0, 3.0, 10.0),
        (1200.0, 1.0, 100.0, 2400.0),
    ],
)
def test_a_deadline_is_from_the_hosts_own_pace(cpu_s: float, on: float, deadline: float, expected: float) -> None:
    record = HostRecord(on=on, work_s=60e6, cpu_s=cpu_s * 1e6, away_s=1.0)
    assert deadline_s(deadline, 1000, record) == pytest.approx(expected, rel=0.01)


def test_a_host_whose_answers_take_long_for_other_reasons_gets_that_time_within_reason() -> None:
    record = HostRecord()
    answers(record, 60, away_s=3000.0)
    assert deadline_s(3600.0, 1000, record) == pytest.approx(6000.0)
    answers(record, 60, away_s=300_000.0)
    assert deadline_s(3600.0, 1000, record) == 4 * 3600.0
