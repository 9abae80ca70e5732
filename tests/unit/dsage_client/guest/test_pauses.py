"""Pauses: what an owner may say, and that neither a clock that is set nor a restart cheats him of one."""

from __future__ import annotations

import pytest
from guests import BERLIN, BOOT, NOON, UP, at
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import UsageError
from dsage_client.guest.choices import Pause
from dsage_client.guest.pauses import LONGEST_S, begin, ends, is_over


def paused(duration: str, now: float = NOON) -> Pause:
    """Pause now."""
    return begin(duration, now=now, up=UP, boot=BOOT, zone=BERLIN)


@pytest.mark.parametrize(
    ("duration", "lasts_s"),
    [
        ("30m", 1800), ("1h", 3600), ("3h", 10800), ("90m", 5400), ("1h30m", 5400), ("2d", 172800), (" 1H ", 3600),
        ("31d", LONGEST_S), ("tomorrow", 43200), ("Tomorrow", 43200),
    ],
)  # fmt: skip
def test_durations(duration: str, lasts_s: float) -> None:
    assert paused(duration) == Pause(boot=BOOT, up=UP + lasts_s, until=NOON + lasts_s)


def test_tomorrow_is_the_next_local_day_also_when_an_hour_is_left_out() -> None:
    pause = paused("tomorrow", at("2026-03-29T00:00"))
    assert pause.up == UP + 23 * 3600


def test_nothing_is_until_the_owner_resumes() -> None:
    pause = paused("")
    assert ends(pause, now=NOON + 1e9, up=UP + 1e9, boot="another") is None
    assert not is_over(pause, now=NOON + 1e9, up=UP + 1e9, boot=BOOT)


@pytest.mark.parametrize(
    "duration",
    [
        "soon",
        "0m",
        "0h0m",
        "-5m",
        "5",
        "h",
        "1m1h",
        "1.5h",
        "32d",
        "9999999m",
        "1h; rm",
        "\x00",
        "1h\n1m",
        "٣h",
        "d" * 99,
    ],
)
def test_what_is_no_duration_is_told_with_what_would_be(duration: str) -> None:
    with pytest.raises(UsageError) as caught:
        paused(duration)
    assert "30m" in caught.value.hint
    assert len(caught.value.message) < 100


def test_a_pause_ends_when_its_time_has_passed() -> None:
    pause = paused("30m")
    assert not is_over(pause, now=NOON + 1799, up=UP + 1799, boot=BOOT)
    assert is_over(pause, now=NOON + 1800, up=UP + 1800, boot=BOOT)


@pytest.mark.parametrize("set_by_s", [-86400, -3600, 3600, 10 * 365 * 86400])
def test_setting_the_clock_changes_nothing_but_the_time_that_is_told(set_by_s: float) -> None:
    pause = paused("30m")
    assert ends(pause, now=NOON + set_by_s + 600, up=UP + 600, boot=BOOT) == NOON + set_by_s + 1800
    assert not is_over(pause, now=NOON + set_by_s + 600, up=UP + 600, boot=BOOT)
    assert is_over(pause, now=NOON + set_by_s + 1800, up=UP + 1800, boot=BOOT)


@pytest.mark.parametrize("boot", ["another", ""])
def test_after_a_restart_the_time_of_day_counts(boot: str) -> None:
    pause = paused("30m")
    assert not is_over(pause, now=NOON + 600, up=10, boot=boot)
    assert not is_over(pause, now=NOON + 600, up=UP + 9e9, boot=boot)
    assert is_over(pause, now=NOON + 1800, up=10, boot=boot)


def test_without_a_name_for_the_boot_two_boots_are_not_taken_for_one() -> None:
    pause = begin("30m", now=NOON, up=UP, boot="", zone=BERLIN)
    assert not is_over(pause, now=NOON + 60, up=UP + 9000, boot="")


@given(st.integers(1, 44640), st.floats(0, 1e7), st.floats(0, 4e9))
def test_every_pause_ends_once_and_not_before(minutes: int, up: float, now: float) -> None:
    pause = begin(f"{minutes}m", now=now, up=up, boot=BOOT, zone=BERLIN)
    length = minutes * 60.0
    assert not is_over(pause, now=now, up=up + length * 0.999, boot=BOOT)
    assert is_over(pause, now=now + 1, up=up + length + 0.001, boot=BOOT)
