from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.wire import MAX_BATCH
from dsage_client import policy


@pytest.mark.parametrize(
    ("slots", "held", "mean_s", "full", "expected"),
    [
        (2, 0, None, False, 2),  # unknown length: no reserve
        (2, 0, 600.0, False, 2),  # long units: no reserve
        (2, 2, 600.0, False, 0),
        (2, 2, 5.0, False, 1),  # short units: one in reserve
        (2, 3, 5.0, False, 0),
        (2, 2, 0.1, False, 10),  # very short ones: half a second of work
        (2, 0, 5.0, True, 0),  # nothing new while results cannot be saved
        (100, 0, None, False, MAX_BATCH),
        (1, 9, None, False, 0),
    ],
)
def test_how_much_work_to_ask_for(slots: int, held: int, mean_s: float | None, full: bool, expected: int) -> None:
    assert policy.want(slots=slots, held=held, mean_unit_s=mean_s, storage_full=full) == expected


@pytest.mark.parametrize(
    ("slots", "held", "mean_s", "expected"),
    [(2, 9, None, 0), (2, 9, 5.0, 0), (2, 9, 29.0, 0), (2, 9, 31.0, 7), (2, 1, 99.0, 0)],
)
def test_what_was_kept_in_reserve_is_handed_back_when_units_turn_out_long(
    slots: int, held: int, mean_s: float | None, expected: int
) -> None:
    assert policy.surplus(slots=slots, held=held, mean_unit_s=mean_s) == expected


@pytest.mark.parametrize(
    ("held", "mean_s", "expected"), [(9, None, 8), (9, 99.0, 8), (9, 5.0, 7), (2, 5.0, 0), (2, 0.1, 0), (1, None, 0)]
)
def test_what_there_is_no_memory_for_is_handed_back_whatever_is_known(
    held: int, mean_s: float | None, expected: int
) -> None:
    assert policy.surplus(slots=1, held=held, mean_unit_s=mean_s, tight=True) == expected
    kept = held - expected
    assert policy.surplus(slots=1, held=kept, mean_unit_s=mean_s, tight=True) == 0


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_backing_off_grows_to_its_ceiling_and_never_vanishes(attempt: int, draw: float) -> None:
    delay = policy.backoff_s(attempt, draw, low_s=0.5, high_s=60.0)
    assert 0.25 <= delay <= 60.0
    assert policy.backoff_s(attempt + 1, draw, low_s=0.5, high_s=60.0) >= delay


def test_backing_off_is_spread_over_half_of_its_length() -> None:
    assert policy.backoff_s(20, 0.0, low_s=0.5, high_s=60.0) == 30.0
    assert policy.backoff_s(20, 1.0, low_s=0.5, high_s=60.0) == 60.0


@pytest.mark.parametrize("clients", [100, 10_000])
def test_the_clients_of_a_server_that_was_away_return_evenly(clients: int) -> None:
    rate_s = 170.0
    spread = {"low_s": 0.5, "high_s": 60.0, "spread_s": clients / rate_s}
    first = sorted(policy.return_s(0, n / clients, **spread) for n in range(clients))
    assert first[-1] <= max(0.5, spread["spread_s"])
    assert first[clients // 2] == pytest.approx(max(spread["spread_s"] / 2, 0.375), abs=0.01)
    for attempt in range(1, 20):
        mean_s = sum(policy.return_s(attempt, n / clients, **spread) for n in range(clients)) / clients
        assert clients / mean_s <= 1.05 * max(rate_s, clients / (0.375 * 2**attempt))


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 3600))
def test_a_return_is_never_sooner_than_backing_off_alone(attempt: int, draw: float, spread_s: float) -> None:
    alone = policy.backoff_s(attempt, draw, low_s=0.5, high_s=60.0)
    assert alone <= policy.return_s(attempt, draw, low_s=0.5, high_s=60.0, spread_s=spread_s) <= max(alone, 5400.0)


@pytest.mark.parametrize(
    ("deadlines", "expected"), [([], 25.0), ([3600.0], 25.0), ([3600.0, 30.0], 10.0), ([3.0], 1.0)]
)
def test_a_call_is_held_for_less_than_a_third_of_the_shortest_deadline(deadlines: list[float], expected: float) -> None:
    assert policy.hold_s(25.0, deadlines) == pytest.approx(expected)


def test_failures_in_a_row_slow_a_client_down() -> None:
    pauses = [policy.failing_pause_s(n, "sandbox", low_s=0.5, high_s=60.0) for n in range(12)]
    assert pauses[:4] == [0.0, 0.0, 0.0, 0.5]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0


def test_what_may_be_an_authors_fault_slows_it_down_less() -> None:
    pauses = [policy.failing_pause_s(n, "crash", low_s=0.5, high_s=60.0) for n in range(12)]
    assert pauses[:4] == [0.0, 0.0, 0.0, 0.5]
    assert pauses[-1] == policy.AUTHORS_FAULT_S


def test_the_mean_follows_the_samples() -> None:
    mean = policy.smoothed(None, 10.0)
    assert mean == 10.0
    for _ in range(30):
        mean = policy.smoothed(mean, 1.0)
    assert mean == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("asked", "took", "expected"), [(25.0, 0.1, True), (25.0, 20.0, False), (0.5, 0.4, False), (0.5, 0.1, True)]
)
def test_an_empty_answer_that_comes_too_early_is_noticed(asked: float, took: float, expected: bool) -> None:
    assert policy.spinning(asked_s=asked, took_s=took) is expected


@pytest.mark.parametrize(("running_s", "expected"), [(0.0, 5.0), (100.0, 5.0), (200.0, 10.0), (86400.0, 4320.0)])
def test_what_a_unit_prints_is_told_soon_at_first_and_ever_more_seldom(running_s: float, expected: float) -> None:
    assert policy.tell_s(running_s) == pytest.approx(expected)
