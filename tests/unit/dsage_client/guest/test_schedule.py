"""Hours of local time, above all in the nights when the clocks are put on and back."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from guests import BERLIN, at, moments, schedules
from hypothesis import example, given
from hypothesis import strategies as st

from dsage_client.guest.preferences import Part, Window
from dsage_client.guest.schedule import is_open, midnight, next_change, window_at

HAVANA = ZoneInfo("America/Havana")  # clocks are put on at midnight, and back from one to midnight
KOLKATA = ZoneInfo("Asia/Kolkata")
APIA = ZoneInfo("Pacific/Apia")  # on 30 December 2011 there was no day there

SLEEP = Window(start="23:00", end="07:00")
FRIDAY_NIGHT = Window(days=("fri",), start="22:00", end="04:00")
HALF_TWO = Window(start="02:30", end="03:30")


@pytest.mark.parametrize(
    ("window", "moment", "is_in"),
    [
        (SLEEP, "2026-11-25T23:00", True),
        (SLEEP, "2026-11-25T06:59:59", True),
        (SLEEP, "2026-11-25T07:00", False),
        (FRIDAY_NIGHT, "2026-11-27T21:59", False),
        (FRIDAY_NIGHT, "2026-11-28T03:59", True),
        (FRIDAY_NIGHT, "2026-11-27T03:00", False),
        (Window(days=("wed",)), "2026-11-25T00:00", True),
        (Window(days=("wed",)), "2026-11-26T00:00", False),
        (Window(days=("wed",), start="08:00", end="08:00"), "2026-11-26T07:59", True),
        (Window(days=("wed",), start="08:00", end="08:00"), "2026-11-26T08:00", False),
        (Window(days=("sun",), start="22:00", end="02:00"), "2026-11-30T01:00", True),
        (Window(days=()), "2026-11-25T12:00", False),
    ],
)
def test_a_window_is_what_the_clock_on_the_wall_shows(window: Window, moment: str, is_in: bool) -> None:
    assert is_open((window,), at(moment), BERLIN) is is_in


@pytest.mark.parametrize(
    ("window", "moment", "change"),
    [
        (SLEEP, at("2026-03-29T00:00"), at("2026-03-29T07:00")),  # six hours later
        (SLEEP, at("2026-10-25T00:00"), at("2026-10-25T07:00")),  # eight hours later
        (HALF_TWO, at("2026-03-29T01:00"), at("2026-03-29T03:00")),  # half past two is left out
        (HALF_TWO, at("2026-10-25T02:00"), at("2026-10-25T02:30")),
        (HALF_TWO, at("2026-10-25T02:45"), at("2026-10-25T02:00", fold=1)),  # the clock goes back to two
        (HALF_TWO, at("2026-10-25T02:00", fold=1), at("2026-10-25T02:30", fold=1)),
        (Window(days=("mon",), start="09:00", end="10:00"), at("2026-11-23T10:00"), at("2026-11-30T09:00")),
        (Window(days=("mon",)), at("2026-11-23T00:00"), at("2026-11-24T00:00")),
        (Window(), at("2026-11-23T00:00"), None),
        (Window(days=()), at("2026-11-23T00:00"), None),
    ],
)
def test_when_it_changes(window: Window, moment: float, change: float | None) -> None:
    assert next_change((window,), moment, BERLIN) == change


def test_hours_are_those_of_the_place() -> None:
    assert is_open((SLEEP,), at("2026-07-01T23:30"), BERLIN)
    assert not is_open((SLEEP,), at("2026-07-01T23:30"), HAVANA)
    assert next_change((SLEEP,), at("2026-07-01T12:10", KOLKATA), KOLKATA) == at("2026-07-01T23:00", KOLKATA)


def test_no_windows_are_any_time() -> None:
    assert is_open((), 0.0, BERLIN)
    assert window_at((), 0.0, BERLIN) is None
    assert next_change((), 0.0, BERLIN) is None


def test_the_first_window_counts_and_a_caller_may_look_at_what_it_says() -> None:
    day, all_day = Window(start="09:00", end="17:00", part=Part(cores=1)), Window()
    assert window_at((day, all_day), at("2026-11-25T12:00"), BERLIN) is day
    noon = at("2026-11-25T12:00")
    assert next_change((day, all_day), noon, BERLIN) is None
    assert next_change((day, all_day), noon, BERLIN, of=lambda w: w and w.part) == at("2026-11-25T17:00")


@pytest.mark.parametrize(
    ("zone", "moment", "begins"),
    [
        (BERLIN, "2026-11-25T12:00", "2026-11-26T00:00"),
        (BERLIN, "2026-11-25T00:00", "2026-11-26T00:00"),
        (BERLIN, "2026-03-28T23:59", "2026-03-29T00:00"),
        (BERLIN, "2026-10-25T01:00", "2026-10-26T00:00"),
        (HAVANA, "2026-03-07T12:00", "2026-03-08T01:00"),  # there is no midnight
        (HAVANA, "2026-10-31T12:00", "2026-11-01T00:00"),
        (APIA, "2011-12-29T12:00", "2011-12-31T00:00"),
    ],
)
def test_the_next_day(zone: ZoneInfo, moment: str, begins: str) -> None:
    assert midnight(at(moment, zone), zone) == at(begins, zone)


@given(schedules, moments, st.sampled_from([BERLIN, HAVANA, KOLKATA]), st.floats(0, 1))
@example((HALF_TWO,), at("2026-10-25T02:45"), BERLIN, 0.5)
def test_nothing_changes_before_and_something_then(
    windows: tuple[Window, ...], moment: float, zone: ZoneInfo, fraction: float
) -> None:
    change = next_change(windows, moment, zone)
    now = is_open(windows, moment, zone)
    ahead = 8 * 86400.0 if change is None else change - moment
    assert is_open(windows, moment + ahead * fraction * 0.999, zone) is now
    if change is not None:
        assert change > moment
        assert is_open(windows, change, zone) is not now


def test_the_computers_own_time_is_meant_without_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Asia/Kolkata", "America/Havana"):
        zone = ZoneInfo(name)
        with monkeypatch.context() as patch:
            patch.setenv("TZ", name)
            time.tzset()
            for text in ("2026-03-08T00:30", "2026-07-01T12:00", "2026-11-01T00:30"):
                moment = datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()
                assert next_change((SLEEP, HALF_TWO), moment) == next_change((SLEEP, HALF_TWO), moment, zone)
                assert midnight(moment) == midnight(moment, zone)
        time.tzset()
