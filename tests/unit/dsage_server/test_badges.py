"""Badges and streaks: the same days give the same, whatever the calendar does."""

from __future__ import annotations

from datetime import UTC, date, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_server import badges
from dsage_server.badges import FREE, STEADY_WEEKS, Streak

EPOCH = date(1970, 1, 1).toordinal()
DAYS = st.integers(0, 60_000)
"""Up to the year 2134."""


def day(text: str) -> int:
    """Return a UTC day by its date."""
    return date.fromisoformat(text).toordinal() - EPOCH


@pytest.mark.parametrize(("milli", "level"), [
    (-5, 0), (0, 0), (999, 0), (1000, 1), (9_999, 1), (10_000, 2), (60_000, 3), (600_000, 4), (6_000_000, 5),
    (30_000_000, 6), (100_000_000, 7), (500_000_000, 8), (2_000_000_000, 9), (10_000_000_000, 10), (2**62, 10),
])  # fmt: skip
def test_levels_by_credit(milli: int, level: int) -> None:
    assert badges.level(milli) == level


@given(st.lists(st.tuples(DAYS, st.integers(-(10**9), 10**9)), max_size=30))
def test_a_badge_is_earned_on_the_day_after_which_the_sum_never_fell_below_it(rows: list[tuple[int, int]]) -> None:
    rows = sorted(rows)
    found = badges.levels(rows)
    assert found == sorted(found)
    assert len(found) == badges.level(sum(amount for _, amount in rows))
    for credits_, earned in zip(badges.LEVELS, found, strict=False):
        assert earned in {on for on, _ in rows}
        after = [sum(amount for _, amount in rows[: n + 1]) for n, (on, _) in enumerate(rows) if on > earned]
        assert all(total >= 1000 * credits_ for total in after)


@pytest.mark.parametrize(("first", "then"), [
    ("2023-03-01", "2024-03-01"), ("2024-02-29", "2025-03-01"), ("2024-02-28", "2025-02-28"),
    ("2026-12-31", "2027-12-31"), ("2023-03-26", "2024-03-26"),
])  # fmt: skip
def test_a_year_ends_on_its_anniversary(first: str, then: str) -> None:
    assert badges.anniversary(day(first)) == day(then)
    assert badges.events({day(first), day(then) - 1}) == {badges.FIRST: day(first)}
    assert badges.events({day(first), day(then) + 9, day(then)})[badges.YEAR] == day(then)
    assert badges.events(set()) == {}


@given(DAYS)
def test_weeks_are_those_of_iso_8601_in_utc_and_quarters_have_whole_weeks(number: int) -> None:
    on = date.fromordinal(number + EPOCH)
    week = badges.week_of(number)
    assert [badges.week_of(number - on.weekday() + n) for n in (-1, 0, 6, 7)] == [week - 1, week, week, week + 1]
    year, iso, _ = on.isocalendar()
    quarter = badges.quarter_of(week)
    assert quarter // 4 == year
    assert quarter % 4 == pytest.approx((iso - 1) // 13, abs=1)
    assert len([week for week in range(week - 20, week + 20) if badges.quarter_of(week) == quarter]) in (12, 13, 14)


@pytest.mark.parametrize(("one", "two", "apart"), [
    ("2026-03-28T23:30:00", "2026-03-29T00:30:00", 0),
    ("2026-03-29T23:59:59", "2026-03-30T00:00:00", 1),
    ("2026-10-25T23:59:59", "2026-10-26T00:00:00", 1),
    ("2026-12-31T12:00:00", "2027-01-01T12:00:00", 0),
    ("2027-01-03T23:59:59", "2027-01-04T00:00:00", 1),
    ("2020-12-28T00:00:00", "2021-01-03T23:59:59", 0),
])  # fmt: skip
def test_summer_time_and_the_years_end_change_no_week(one: str, two: str, apart: int) -> None:
    weeks = [
        badges.week_of(int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() // 86400)) for at in (one, two)
    ]
    assert weeks[1] - weeks[0] == apart


def test_a_year_of_53_weeks_has_a_longer_last_quarter() -> None:
    first = badges.week_of(day("2020-12-31"))
    assert date.fromordinal(day("2020-12-31") + EPOCH).isocalendar()[1] == 53
    assert badges.quarter_of(first) == 2020 * 4 + 3
    assert badges.quarter_of(first + 1) == 2021 * 4
    assert sum(badges.quarter_of(week) == 2020 * 4 + 3 for week in range(first - 20, first + 5)) == 14


START = badges.week_of(day("2026-07-06"))
"""The second week of a quarter."""


@pytest.mark.parametrize(("given_weeks", "now", "expected"), [
    ([], 0, Streak(0, 0, FREE)),
    ([0], 0, Streak(1, 1, FREE)),
    ([0], 1, Streak(1, 1, FREE)),
    ([0], 3, Streak(1, 1, 0)),
    ([0], 4, Streak(0, 1, FREE)),
    ([0, 1, 2], 2, Streak(3, 3, FREE)),
    ([0, 2, 4], 4, Streak(3, 3, 0)),
    ([0, 2, 4, 6], 6, Streak(1, 3, FREE)),
    ([0, 2, 4, 6, 7], 8, Streak(2, 3, FREE)),
    ([0, 1, 2, 99], 2, Streak(3, 3, FREE)),
    (range(12), 12, Streak(12, 12, FREE)),
    ([0, 9, 12], 12, Streak(2, 2, FREE)),
])  # fmt: skip
def test_streaks(given_weeks: list[int], now: int, expected: Streak) -> None:
    assert badges.streak([START + week for week in given_weeks], START + now) == expected


def test_two_free_weeks_of_each_quarter_carry_a_streak_over_four() -> None:
    last = max(week for week in range(START, START + 14) if badges.quarter_of(week) == badges.quarter_of(START))
    weeks = [last - 2, last + 3]
    assert badges.streak(weeks, last + 3) == Streak(2, 2, 0)
    assert badges.streak([last - 2, last + 4], last + 4).now == 1
    assert badges.streak([last - 3, last + 3], last + 3).now == 1


@given(st.sets(st.integers(0, 200), max_size=120), st.integers(0, 210))
def test_a_streak_is_the_longest_row_of_weeks_with_few_enough_gaps(weeks: set[int], now: int) -> None:
    found = badges.streak(weeks, now)
    told = {week for week in weeks if week <= now}
    assert 0 <= found.now <= found.longest <= len(told)
    assert 0 <= found.free <= FREE
    if found.now:
        kept = sorted(told)[-found.now :]
        missed = [week for week in range(kept[0], now) if week not in told]
        assert all(sum(badges.quarter_of(m) == badges.quarter_of(week) for m in missed) <= FREE for week in missed)
    assert badges.streak(weeks | {now}, now).now >= max(found.now, 1)
    assert badges.streak(sorted(weeks) * 2, now) == found


@given(st.sets(DAYS, max_size=100), DAYS)
def test_steady_weeks_are_counted_alike_by_days_and_by_weeks(days: set[int], today: int) -> None:
    this_week = badges.week_of(today)
    among = badges.steady_days(today)
    assert len(among) == 7 * STEADY_WEEKS
    assert badges.week_of(among.stop) == this_week
    by_days = {badges.week_of(number) for number in days if number in among}
    assert badges.steady({badges.week_of(number) for number in days}, this_week) == len(by_days) <= STEADY_WEEKS


@pytest.mark.parametrize("rank", [0, 1, 5, 10])
def test_a_picture_is_valid_and_says_what_it_is_for(rank: int) -> None:
    root = ElementTree.fromstring(badges.picture('<script>"&', "10 credits", rank, "<Lab>"))
    assert root[0].text == '<script>"&: 10 credits'
    assert not [each for each in root.iter() if each.tag.endswith("script")]
    written = [each.text for each in root.iter() if each.tag.endswith("}text")]
    assert written == [*([str(rank)] if rank else []), '<script>"&', "10 credits", "<Lab>"]
