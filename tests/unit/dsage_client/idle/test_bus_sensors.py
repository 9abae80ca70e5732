"""Sensors that ask a bus: Mutter, KDE's screen saver, logind, and what asks that the computer not be idle."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dsage_client.idle.bus import Bus, Call
from dsage_client.idle.choose import combined
from dsage_client.idle.freedesktop import STUCK_S, Freedesktop
from dsage_client.idle.inhibitors import Inhibitors
from dsage_client.idle.logind import Logind
from dsage_client.idle.mutter import Mutter
from dsage_client.idle.testing import FakeDesktop, PrivateBus
from dsage_client.idle.testing.bus import LOGIN, MUTTER, PLASMA, POWER, SCREEN_SAVER, SESSION_MANAGER


@pytest.fixture
def mutter(bus: PrivateBus) -> Iterator[Mutter]:
    sensor = Mutter(Bus(bus.address))
    yield sensor
    sensor.close()


@pytest.fixture
def logind(bus: PrivateBus) -> Iterator[Logind]:
    sensor = Logind(Bus(bus.address), {})
    yield sensor
    sensor.close()


@pytest.fixture
def inhibitors(bus: PrivateBus) -> Iterator[Inhibitors]:
    sensor = Inhibitors(Bus(bus.address), Bus(bus.address))
    yield sensor
    sensor.close()


def test_mutter_tells_that_the_user_went_and_came_back(desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    listener.listen(mutter)
    listener.until(lambda: desktop.watches == 1)
    desktop.untouched(59)
    assert mutter.presence().idle_s == 59
    desktop.untouched(2)
    listener.until_heard("idle")
    assert (mutter.presence().idle_s, mutter.presence().quality) == (61, "event")
    desktop.touch()
    listener.until_heard("idle", "return")
    assert mutter.presence().idle_s == 0
    desktop.untouched(60)
    listener.until_heard("idle", "return", "idle")


def test_mutter_is_asked_who_is_away_already(desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    desktop.untouched(100)
    listener.listen(mutter)
    listener.until_heard("idle")


def test_mutter_with_another_threshold(desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    listener.listen(mutter)
    desktop.untouched(30)
    mutter.threshold(20)
    listener.until_heard("idle")
    mutter.threshold(40)
    listener.until_heard("idle", "return")


def test_mutter_begun_anew_gets_its_watches_again(desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    desktop.untouched(100)
    listener.listen(mutter)
    listener.until_heard("idle")
    desktop.restart(MUTTER)
    listener.until_heard("idle", "return", "idle")
    desktop.touch()
    listener.until_heard("idle", "return", "idle", "return")


def test_mutter_on_a_bus_that_dies(bus: PrivateBus, desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    desktop.untouched(100)
    listener.listen(mutter)
    listener.until_heard("idle")
    bus.kill()
    listener.until_heard("idle", "return")
    assert (mutter.presence().idle_s, mutter.presence().quality) == (None, "none")


def test_in_the_handler_the_user_is_back(desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    seen = []
    desktop.untouched(100)
    mutter.open(60, lambda: listener._hear("idle"), lambda: seen.append(mutter.presence().idle_s))
    listener.until_heard("idle")
    desktop.touch()
    listener.until(lambda: seen == [0.0])


def test_nothing_is_told_after_the_end(desktop: FakeDesktop, mutter: Mutter, listener) -> None:
    listener.listen(mutter)
    mutter.close()
    desktop.untouched(100)
    desktop.touch()
    assert listener.heard == []
    assert mutter.presence().idle_s is None


@pytest.mark.parametrize("sensor", [Mutter, Freedesktop, lambda bus: Logind(bus, {}), lambda bus: Inhibitors(bus, bus)])
def test_no_bus_is_an_oserror(sensor, listener) -> None:
    for address in ("", "unix:path=/nowhere/bus", "nonsense"):
        with pytest.raises(OSError, match="bus"):
            listener.listen(sensor(Bus(address)))


@pytest.mark.parametrize("sensor", [Mutter, Freedesktop, lambda bus: Logind(bus, {})])
def test_a_bus_without_the_service_is_an_oserror(bus: PrivateBus, sensor, listener) -> None:
    with pytest.raises(OSError, match=r"ServiceUnknown|NameHasNoOwner"):
        listener.listen(sensor(Bus(bus.address)))


def test_kde_counts_in_milliseconds(bus: PrivateBus, desktop: FakeDesktop, listener) -> None:
    sensor = Freedesktop(Bus(bus.address))
    listener.listen(sensor)
    desktop.untouched(59)
    assert 59 <= (sensor.presence().idle_s or 0) < 60
    sensor.threshold(50)
    listener.until_heard("idle")
    desktop.touch()
    listener.until_heard("idle", "return")
    assert sensor.presence().quality == "poll"
    sensor.close()


def test_an_idle_time_that_stands_still_is_unknown(
    bus: PrivateBus, desktop: FakeDesktop, listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    sensor = Freedesktop(Bus(bus.address))
    monkeypatch.setattr("dsage_client.idle.freedesktop.time.monotonic", lambda: now[0])
    desktop.stuck, desktop.idle_ms = True, 30_000
    listener.listen(sensor)
    assert sensor.presence().idle_s == 30.0
    now[0] = STUCK_S + 1
    assert sensor.presence().idle_s is None
    sensor.close()


def test_waking_unlocking_and_switching_are_touches(desktop: FakeDesktop, logind: Logind, listener) -> None:
    listener.listen(logind)
    assert logind.presence().idle_s is None
    desktop.sleep()
    desktop.wake()
    listener.until_heard("return")
    assert (logind.presence().idle_s or 0) < 5
    desktop.lock()
    listener.until(lambda: logind.presence().locked)
    assert listener.heard == ["return"]
    desktop.lock(False)
    listener.until_heard("return", "return")
    assert not logind.presence().locked
    desktop.switch(to="greeter")
    listener.until_heard("return", "return", "return")
    desktop.switch_back()
    listener.until_heard("return", "return", "return", "return")


def test_another_users_session_in_front_counts(
    desktop: FakeDesktop, logind: Logind, listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.listen(logind)
    desktop.switch()
    listener.until(lambda: bool(listener.heard))
    logind._touched = None
    assert logind.presence().idle_s == 0
    desktop.switch(idle_since=time.time() - 500)
    listener.until(lambda: logind._touched is not None)
    logind._touched = None
    assert (logind.presence().idle_s or 0) == pytest.approx(500, abs=5)
    desktop.switch(to="greeter")
    assert logind._elsewhere() == float("inf")


@pytest.mark.parametrize("by", [SESSION_MANAGER, PLASMA, POWER, LOGIN])
def test_a_film_counts_as_in_use_as_long_as_it_runs(by: str, desktop: FakeDesktop, inhibitors, listener) -> None:
    listener.listen(inhibitors)
    listener.until_heard("idle")
    desktop.inhibit("player", by=by)
    listener.until_heard("idle", "return")
    assert inhibitors.presence().film == "player"
    desktop.release("player", by=by)
    listener.until_heard("idle", "return", "idle")
    assert inhibitors.presence().film == ""


def test_what_holds_only_the_suspend_is_no_film(desktop: FakeDesktop, inhibitors: Inhibitors, listener) -> None:
    listener.listen(inhibitors)
    desktop.inhibit("download", flags=4)
    desktop.inhibit("packages", by=LOGIN, what="sleep:shutdown")
    desktop.inhibit("film")
    listener.until(lambda: inhibitors.presence().film == "film")


def test_a_film_that_began_before_is_found(desktop: FakeDesktop, inhibitors: Inhibitors, listener) -> None:
    desktop.inhibit("player")
    listener.listen(inhibitors)
    listener.until(lambda: inhibitors.presence().film == "player")


def test_a_film_ends_with_the_service_that_kept_it(desktop: FakeDesktop, inhibitors: Inhibitors, listener) -> None:
    desktop.inhibit("player")
    listener.listen(inhibitors)
    listener.until(lambda: inhibitors.presence().film == "player")
    desktop._inhibitors.clear()
    desktop.restart(SESSION_MANAGER)
    listener.until(lambda: inhibitors.presence().film == "")


def test_all_of_a_gnome_session_as_one(bus: PrivateBus, desktop: FakeDesktop, listener) -> None:
    environment = {
        "DBUS_SESSION_BUS_ADDRESS": bus.address,
        "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
        "XDG_SESSION_TYPE": "wayland",
    }
    sensor = combined(environment)
    listener.listen(sensor)
    assert (sensor.name, sensor.quality) == ("mutter", "event")
    assert set(sensor.why) == {"wayland"}
    listener.until(lambda: desktop.watches == 1)
    desktop.untouched(100)
    listener.until_heard("idle")
    desktop.inhibit("player")
    listener.until_heard("idle", "return")
    assert (sensor.presence().idle_s, sensor.presence().film) == (100, "player")
    desktop.release("player")
    listener.until_heard("idle", "return", "idle")
    desktop.wake()
    listener.until_heard("idle", "return", "idle", "return")
    assert (sensor.presence().idle_s or 0) < 5
    desktop.lock()
    listener.until(lambda: sensor.presence().locked)
    sensor.close()
    assert sensor.presence().idle_s is None


def test_a_bus_is_shared_and_ends_with_its_last_user(bus: PrivateBus, desktop: FakeDesktop) -> None:
    shared = Bus(bus.address)
    ask = Call(SCREEN_SAVER, "/", SCREEN_SAVER, "GetSessionIdleTime")
    shared.open(lambda: None)
    shared.open(lambda: None)
    shared.close()
    assert shared.call(ask)
    shared.close()
    with pytest.raises(OSError, match="gone"):
        shared.call(ask)
