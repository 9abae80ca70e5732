"""The policy, as a table; and what holds of every computer, whatever is seen of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from guests import (
    BERLIN,
    BOOT,
    NOON,
    UP,
    at,
    chosen,
    computers,
    preferences,
    seen,
    there,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage_client.guest.choices import Choices, Pause
from dsage_client.guest.policy import HELD_S, LONGEST_ALWAYS_S, Latch, Memory, decide, spread
from dsage_client.guest.preferences import Part, Preferences, Window
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Presence, Seen

IDLE = Preferences(idle_after_s=180.0)
ALWAYS = Preferences(when="always", in_use=Part(percent=25))
NIGHT = Window(start="22:00", end="06:00")
WORKDAYS = Window(days=("mon", "tue", "wed", "thu", "fri"), start="09:00", end="17:00")


def decided(preferences: Preferences, looks: Seen, choices: Choices | None = None, running: int = 2) -> Standing:
    """Decide once, knowing nothing from before."""
    return decide(preferences, choices or Choices(), looks, Memory(), running=running, zone=BERLIN)[0]


def story(preferences: Preferences, *looks: Seen, memory: Memory | None = None) -> list[Standing]:
    """Decide again and again, remembering."""
    memory, told = memory or Memory(), []
    for look in looks:
        standing, memory = decide(preferences, Choices(), look, memory, running=2, zone=BERLIN)
        told.append(standing)
    return told


def later(look: Seen, s: float, **more: Any) -> Seen:
    """Return the same computer, left alone for so long."""
    presence = tuple(_older(each, s) for each in look.presence)
    awake_s = None if look.awake_s is None else look.awake_s + s
    return replace(look, **{"now": look.now + s, "up": look.up + s, "presence": presence, "awake_s": awake_s} | more)


def _older(presence: Presence, s: float) -> Presence:
    idle_s = None if presence.idle_s is None else max(0.0, presence.idle_s) + s
    return Presence(idle_s=idle_s, film=presence.film, full_screen=presence.full_screen, locked=presence.locked)


PAUSED = Choices(pause=Pause(boot=BOOT, up=UP + 1800, until=NOON + 1800))
TABLE: list[tuple[str, Preferences, dict[str, Any], Choices | None, Reason, float | None]] = [
    ("nobody is there", IDLE, {}, None, Reason.WORKING, None),
    ("somebody is there", IDLE, {"presence": there(0)}, None, Reason.IN_USE, NOON + 180),
    ("somebody was there a minute ago", IDLE, {"presence": there(60)}, None, Reason.IN_USE, NOON + 120),
    ("just long enough", IDLE, {"presence": there(180)}, None, Reason.WORKING, None),
    ("not quite long enough", IDLE, {"presence": there(179.5)}, None, Reason.IN_USE, NOON + 0.5),
    ("one of two is there", IDLE, {"presence": there(9000) + there(30)}, None, Reason.IN_USE, NOON + 150),
    ("no session says anything", IDLE, {"presence": ()}, None, Reason.UNKNOWN_USE, None),
    ("a session knows nothing", IDLE, {"presence": there(None)}, None, Reason.UNKNOWN_USE, None),
    ("one of two knows nothing", IDLE, {"presence": there(9000) + there(None)}, None, Reason.UNKNOWN_USE, None),
    ("nonsense is unknown", IDLE, {"presence": there(math.nan)}, None, Reason.UNKNOWN_USE, None),
    ("a clock behind is use now", IDLE, {"presence": there(-5)}, None, Reason.IN_USE, NOON + 180),
    ("a film", IDLE, {"presence": there(7000, film="mpv")}, None, Reason.FILM, None),
    ("locked, and idle time goes on", IDLE, {"presence": there(60, locked=True)}, None, Reason.IN_USE, NOON + 120),
    ("locked for long", IDLE, {"presence": there(600, locked=True)}, None, Reason.WORKING, None),
    ("just awake", IDLE, {"awake_s": 5.0}, None, Reason.WAKING, NOON + 10),
    ("awake for a while", IDLE, {"awake_s": 15.0}, None, Reason.WORKING, None),
    ("full screen, nobody minds", IDLE, {"presence": there(900, full_screen=True)}, None, Reason.WORKING, None),
    (
        "full screen, and the owner minds",
        Preferences(full_screen=True, when="always"),
        {"presence": there(0, full_screen=True)},
        None,
        Reason.FULL_SCREEN,
        None,
    ),
    (
        "full screen under a lock",
        Preferences(full_screen=True),
        {"presence": there(900, full_screen=True, locked=True)},
        None,
        Reason.WORKING,
        None,
    ),
    ("always, beside somebody", ALWAYS, {"presence": there(0)}, None, Reason.WORKING, NOON + 180),
    ("always, as much", Preferences(when="always"), {"presence": there(0)}, None, Reason.WORKING, None),
    ("always, and nothing known", ALWAYS, {"presence": ()}, None, Reason.WORKING, None),
    ("always, but just awake", ALWAYS, {"awake_s": 5.0}, None, Reason.WORKING, NOON + 10),
    ("never", Preferences(when="never"), {}, None, Reason.NEVER, None),
    ("on battery", IDLE, {"on_battery": True}, None, Reason.BATTERY, None),
    ("on battery as wished", Preferences(on_battery=True), {"on_battery": True}, None, Reason.WORKING, None),
    ("an exclusive app", ALWAYS, {"apps": frozenset({"quake"})}, None, Reason.EXCLUSIVE_APP, None),
    ("hot", IDLE, {"celsius": 91.0}, None, Reason.HOT, None),
    ("hot, and the owner does not mind", Preferences(hottest_c=0), {"celsius": 120.0}, None, Reason.WORKING, None),
    ("no thermometer", IDLE, {"celsius": None}, None, Reason.WORKING, None),
    ("programs wait for memory", IDLE, {"pressed": True}, None, Reason.MEMORY, None),
    ("little memory", IDLE, {"memory": 0.05}, None, Reason.MEMORY, None),
    ("the disk is full, nothing runs", IDLE, {"disk_full": True}, None, Reason.DISK, None),
    ("by night only, at noon", Preferences(hours=(NIGHT,)), {}, None, Reason.SCHEDULE, at("2026-11-25T22:00")),
    (
        "by night only, after midnight",
        Preferences(hours=(NIGHT,)),
        {"now": at("2026-11-26T01:00")},
        None,
        Reason.WORKING,
        at("2026-11-26T06:00"),
    ),
    (
        "on workdays, on Saturday",
        Preferences(hours=(WORKDAYS,)),
        {"now": at("2026-11-28T12:00")},
        None,
        Reason.SCHEDULE,
        at("2026-11-30T09:00"),
    ),
    ("a day that never comes", Preferences(hours=(Window(days=()),)), {}, None, Reason.SCHEDULE, None),
    (
        "no network until the evening",
        Preferences(network_hours=(NIGHT,)),
        {},
        None,
        Reason.NETWORK_HOURS,
        at("2026-11-25T22:00"),
    ),
    ("paused", IDLE, {}, PAUSED, Reason.PAUSED, NOON + 1800),
    ("paused, before the clock was put on", IDLE, {"now": NOON + 9e6}, PAUSED, Reason.PAUSED, NOON + 9e6 + 1800),
    ("a pause that is over", IDLE, {"up": UP + 1800}, PAUSED, Reason.WORKING, None),
    ("paused until resumed", ALWAYS, {}, Choices(pause=Pause()), Reason.PAUSED, None),
    ("finished", IDLE, {"presence": there(0)}, Choices(finish=True), Reason.FINISHED, None),
    ("always today", IDLE, {"presence": there(0)}, Choices(always_until=NOON + 60), Reason.WORKING, NOON + 60),
    (
        "always today, though never otherwise",
        Preferences(when="never"),
        {},
        Choices(always_until=NOON + 60),
        Reason.WORKING,
        NOON + 60,
    ),
    ("always, yesterday", IDLE, {"presence": there(0)}, Choices(always_until=NOON), Reason.IN_USE, NOON + 180),
    (
        "always today, and the clock put back",
        IDLE,
        {"presence": there(0)},
        Choices(always_until=NOON + LONGEST_ALWAYS_S + 1),
        Reason.IN_USE,
        NOON + 180,
    ),
    # What the owner said comes before who is there, and that before what the computer can bear.
    ("paused and in use", IDLE, {"presence": there(0)}, PAUSED, Reason.PAUSED, NOON + 1800),
    ("never and on battery", Preferences(when="never"), {"on_battery": True}, None, Reason.NEVER, None),
    ("in use and hot", IDLE, {"presence": there(0), "celsius": 99.0}, None, Reason.IN_USE, NOON + 180),
    ("on battery and in use", IDLE, {"presence": there(0), "on_battery": True}, None, Reason.BATTERY, None),
]


@pytest.mark.parametrize(
    ("preferences", "looks", "choices", "reason", "until"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_reason_and_when_it_ends(
    preferences: Preferences, looks: dict[str, Any], choices: Choices | None, reason: Reason, until: float | None
) -> None:
    idle = reason in (Reason.DISK, Reason.NETWORK_HOURS, Reason.FINISHED)
    standing = decided(preferences, seen(**looks), choices, running=0 if idle else 2)
    assert standing.reason is reason
    assert standing.until == (until if until is None else pytest.approx(until, abs=1e-3))
    assert (standing.work is Work.RUN) == (reason in (Reason.WORKING, Reason.DISK, Reason.NETWORK_HOURS))


@pytest.mark.parametrize(
    ("preferences", "looks", "cores", "percent"),
    [
        (Preferences(), {}, 4, 100),
        (Preferences(idle=Part(cores=3)), {}, 3, 100),
        (Preferences(idle=Part(cores=9)), {}, 4, 100),
        (Preferences(idle=Part(percent=30)), {}, 2, 60),
        (ALWAYS, {"presence": there(0)}, 1, 100),
        (ALWAYS, {"presence": there(None)}, 1, 100),
        (ALWAYS, {}, 4, 100),
        (Preferences(hours=(Window(part=Part(cores=2, percent=50)),)), {}, 1, 100),
        (Preferences(when="always", hours=(Window(part=Part(cores=1)),)), {"presence": there(0)}, 1, 100),
    ],
)
def test_how_much_of_the_computer(preferences: Preferences, looks: dict[str, Any], cores: int, percent: int) -> None:
    standing = decided(preferences, seen(**looks))
    assert (standing.cores, standing.percent) == (cores, percent)


@pytest.mark.parametrize(
    ("part", "cores", "spread_out"),
    [
        (Part(), 4, (4, 100)),
        (Part(percent=50), 4, (2, 100)),
        (Part(percent=50), 3, (2, 75)),
        (Part(percent=50), 1, (1, 50)),
        (Part(cores=1, percent=10), 64, (1, 10)),
        (Part(percent=1), 2, (1, 2)),
        (Part(cores=5), 2, (2, 100)),
        (Part(), 0, (1, 100)),
    ],
)
def test_threads_first_and_time_last(part: Part, cores: int, spread_out: tuple[int, int]) -> None:
    assert spread(part, cores) == spread_out


@given(st.builds(Part, cores=st.integers(0, 70), percent=st.integers(1, 100)), st.integers(1, 64))
def test_a_part_is_never_exceeded_and_nearly_used(part: Part, cores: int) -> None:
    threads, percent = spread(part, cores)
    allowed = min(part.cores or cores, cores) * part.percent
    assert allowed - threads < threads * percent <= allowed
    assert 1 <= threads <= cores
    assert 1 <= percent <= 100
    assert threads == 1 or (threads - 1) * 100 < allowed, "fewer threads would do"


def test_what_is_held_is_ended_after_a_while_and_begins_anew_after_work() -> None:
    look = seen(presence=there(0))
    looks = [look, later(look, HELD_S - 1, presence=there(0)), later(look, HELD_S, presence=there(0))]
    looks += [later(look, HELD_S + 200), later(look, HELD_S + 210, presence=there(0))]
    works = [standing.work for standing in story(IDLE, *looks)]
    assert works == [Work.HOLD, Work.HOLD, Work.LEAVE, Work.RUN, Work.HOLD]


def test_another_reason_to_hold_goes_on_with_the_same_wait() -> None:
    look = seen(presence=there(0))
    told = story(IDLE, look, later(look, 250, celsius=95.0), later(look, HELD_S, celsius=95.0))
    assert [each.reason for each in told] == [Reason.IN_USE, Reason.HOT, Reason.HOT]
    assert told[-1].work is Work.LEAVE


@pytest.mark.parametrize("more", [{"on_battery": True}, {"pressed": True}, {"memory": 0.01}])
def test_on_battery_and_without_memory_nothing_is_kept(more: dict[str, Any]) -> None:
    assert decided(IDLE, seen(presence=there(0), **more)).work is Work.LEAVE


def test_on_battery_as_wished_it_is_kept() -> None:
    assert decided(Preferences(on_battery=True), seen(presence=there(0), on_battery=True)).work is Work.HOLD


def test_other_programs_are_given_way_to_slowly_and_trusted_slowly() -> None:
    looks = [later(seen(), s, others=0.9) for s in (0, 29, 30)]
    looks += [later(seen(), s, others=0.1) for s in (40, 60)] + [later(seen(), 70, others=0.9)]
    looks += [later(seen(), s, others=0.1) for s in (80, 139, 140)]
    told = story(IDLE, *looks)
    assert [each.reason.value for each in told] == ["working"] * 2 + ["busy"] * 6 + ["working"]
    assert [each.until for each in told[2:8]] == [None, NOON + 100, NOON + 100, None, NOON + 140, NOON + 140]


def test_who_computes_beside_other_programs_by_choice_does_not_give_way_to_them() -> None:
    looks = [later(seen(), s, others=1.0) for s in (0, 29, 30, 300)]
    assert [said.reason for said in story(Preferences(when="always"), *looks)] == [Reason.WORKING] * 4


def test_a_peak_stops_nothing() -> None:
    looks = [later(seen(), s, others=0.9 if s % 30 < 25 else 0.1) for s in range(0, 300, 5)]
    assert {each.reason for each in story(IDLE, *looks)} == {Reason.WORKING}


def test_a_hot_computer_cools_well_down_before_it_goes_on() -> None:
    degrees = {0: 90.0, 5: 85.0, 60: 81.0, 70: 79.0, 129: 79.0, 130: 79.0, 131: 89.0}
    told = story(IDLE, *(later(seen(), s, celsius=celsius) for s, celsius in degrees.items()))
    assert [each.reason.value for each in told] == ["hot"] * 5 + ["working"] * 2
    assert told[0].said == {"celsius": 90.0}
    assert told[3].until == NOON + 130


def test_a_thermometer_that_went_away_does_not_make_a_hot_computer_cool() -> None:
    told = story(IDLE, seen(celsius=95.0), later(seen(), 600, celsius=None))
    assert told[-1].reason is Reason.HOT


def test_memory_must_be_there_for_a_while() -> None:
    shares = {0: 0.05, 5: 0.12, 10: 0.5, 309: 0.5, 310: 0.5}
    told = story(IDLE, *(later(seen(), s, memory=share) for s, share in shares.items()))
    assert [each.reason.value for each in told] == ["memory"] * 4 + ["working"]
    assert told[2].until == NOON + 310


def test_who_left_with_the_session_may_still_be_about() -> None:
    """A session that ends takes its idle time with it; another that has been idle for long does not make up for it."""
    look = seen(presence=there(2) + there(90000))
    told = story(IDLE, look, later(look, 10, presence=there(90010)), later(look, 179, presence=there(90179)))
    assert [each.reason for each in told] == [Reason.IN_USE, Reason.IN_USE, Reason.WORKING]


def test_after_a_film_somebody_may_still_be_there() -> None:
    look = seen(presence=there(7200, film="mpv"))
    told = story(IDLE, look, later(look, 5, presence=there(7205)), later(look, 180, presence=there(7380)))
    assert [each.reason for each in told] == [Reason.FILM, Reason.IN_USE, Reason.WORKING]
    assert told[0].said == {"program": "mpv"}


def test_finishing_waits_for_its_owner_like_all_work() -> None:
    finish = Choices(finish=True)
    assert decided(IDLE, seen(presence=there(0)), finish).reason is Reason.IN_USE
    standing = decided(IDLE, seen(), finish)
    assert (standing.work, standing.reason, standing.fetch) == (Work.FINISH, Reason.FINISHING, False)
    standing = decided(IDLE, seen(), finish, running=0)
    assert (standing.work, standing.reason, standing.fetch) == (Work.FINISH, Reason.FINISHED, False)


def test_without_room_or_network_what_runs_goes_on() -> None:
    full = decided(IDLE, seen(disk_full=True))
    assert (full.work, full.reason, full.fetch) == (Work.RUN, Reason.WORKING, False)
    offline = decided(Preferences(network_hours=(NIGHT,)), seen())
    assert (offline.work, offline.reason, offline.fetch) == (Work.RUN, Reason.WORKING, False)
    assert offline.until == at("2026-11-25T22:00")


def test_windows_of_different_parts() -> None:
    day = Window(start="06:00", end="22:00", part=Part(cores=1))
    preferences = Preferences(hours=(day, NIGHT))
    noon, night = decided(preferences, seen()), decided(preferences, seen(now=at("2026-11-25T23:00")))
    assert (noon.cores, noon.until) == (1, at("2026-11-25T22:00"))
    assert (night.cores, night.until) == (4, at("2026-11-26T06:00"))


@given(preferences, computers(), st.data())
def test_whatever_is_seen_there_is_one_decision(preferences: Preferences, look: Seen, data: st.DataObject) -> None:
    choices = data.draw(chosen(look.now, look.up))
    running = data.draw(st.integers(0, 3))
    standing, memory = decide(preferences, choices, look, Memory(), running=running, zone=BERLIN)
    assert standing.until is None or standing.until > look.now
    assert standing.work in (Work.RUN, Work.FINISH) or not standing.fetch
    assert (standing.work in (Work.RUN, Work.FINISH)) == (
        standing.reason in (Reason.WORKING, Reason.FINISHING, Reason.FINISHED, Reason.DISK, Reason.NETWORK_HOURS)
    )
    again, _ = decide(preferences, choices, look, memory, running=running, zone=BERLIN)
    assert again == standing, "looking twice changes nothing"


@given(preferences, computers())
def test_unknown_use_never_runs_beside_anybody(preferences: Preferences, look: Seen) -> None:
    looks = [replace(look, presence=()), replace(look, presence=(*look.presence, Presence(idle_s=None)))]
    for unknown in looks:
        standing = decided(preferences, unknown)
        assert standing.work is not Work.RUN or preferences.when == "always"
        if standing.work is Work.RUN:
            hour = next((w.part for w in preferences.hours if w.part), None)
            assert hour or (standing.cores, standing.percent) == spread(preferences.in_use, look.cores)


@settings(max_examples=150)
@given(preferences, computers(), st.data())
def test_at_the_time_told_and_not_before_it_is_decided_otherwise(
    preferences: Preferences, look: Seen, data: st.DataObject
) -> None:
    """A computer left alone works on as it does until then, and what it waited for is over then. That units are ended
    after they were held for long does not count."""
    look = replace(look, others=data.draw(st.sampled_from([None, 0.0])))  # that they begin is not foreseen
    choices = data.draw(chosen(look.now, look.up))
    before = Memory(busy=Latch(data.draw(st.booleans())))
    standing, memory = decide(preferences, choices, look, before, running=2, zone=BERLIN)
    if standing.until is None:
        return

    def told(look: Seen) -> tuple[Any, ...]:
        each, _ = decide(preferences, choices, look, memory, running=2, zone=BERLIN)
        return each.reason, each.fetch, each.cores, each.percent

    wait_s, now = standing.until - look.now, told(look)
    assert told(later(look, wait_s + 0.01)) != now or now[0] in (Reason.WORKING, Reason.FINISHING)
    between = told(later(look, wait_s * data.draw(st.floats(0, 0.99))))
    assert between == now or Reason.WORKING not in (now[0], between[0])


@given(st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 1), st.floats(70, 95), st.floats(0, 1)), max_size=60))
def test_nothing_flaps(readings: list[tuple[float, float, float, float]]) -> None:
    """Whatever other programs, heat and memory do: what was stopped stays so for a minute, BUSY takes half of one."""
    up, memory, stopped, looks = UP, Memory(), None, seen()
    for step, others, celsius, share in readings:
        up += step
        look = replace(looks, now=NOON + up - UP, up=up, others=others, celsius=celsius, memory=share)
        standing, memory = decide(IDLE, Choices(), look, memory, running=2, zone=BERLIN)
        if standing.work is not Work.RUN:
            stopped = up if stopped is None else stopped
            assert standing.reason is not Reason.BUSY or up - UP >= 30
        elif stopped is not None:
            assert up - stopped >= 60 - 1e-6
            stopped = None
