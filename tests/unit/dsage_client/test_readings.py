"""What a computer says of itself: read rightly, rarely, and never with an exception."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_client import readings
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.seen import Presence
from dsage_client.readings import Load, Readings, hottest, memory_pressed, on_battery

ANY = Preferences()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test moves: `up` goes on always, `asleep` only while the computer sleeps."""
    clock = SimpleNamespace(up=1000.0, asleep=0.0)
    monkeypatch.setattr(readings, "uptime", lambda: clock.up)
    monkeypatch.setattr(readings, "asleep_s", lambda: clock.asleep)
    return clock


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each thing has been read."""
    counts: dict[str, int] = {}

    def count(name: str, value: Any) -> Any:
        def read(*_: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return value

        return read

    for name, value in {"on_battery": True, "memory_share": 0.25, "memory_pressed": True}.items():
        monkeypatch.setattr(readings, name, count(name, value))
    monkeypatch.setattr(readings.psutil, "sensors_temperatures", count("heat", {"cpu": [SimpleNamespace(current=71)]}))
    monkeypatch.setattr(readings, "busy_s", count("busy", (0.0, 0.0)))
    return counts


def test_this_computer_as_it_is(tmp_path: Path) -> None:
    seen = Readings(tmp_path).read(ANY, (Presence(idle_s=5.0),))
    assert abs(seen.now - time.time()) < 5
    assert seen.up > 0
    assert 1 <= seen.cores <= (os.cpu_count() or 1)
    assert seen.presence == (Presence(idle_s=5.0),)
    assert seen.memory is not None
    assert 0 < seen.memory <= 1
    assert seen.awake_s is None
    assert seen.others is None, "nothing has passed yet"
    assert seen.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_each_thing_is_read_when_it_may_have_changed(
    tmp_path: Path, clock: SimpleNamespace, counted: dict[str, int]
) -> None:
    reads = Readings(tmp_path)
    for _ in range(61):
        seen = reads.read(ANY, ())
        clock.up += 1.0
    assert counted == {"on_battery": 7, "memory_share": 13, "memory_pressed": 13, "heat": 5, "busy": 13}
    assert (seen.on_battery, seen.memory, seen.pressed, seen.celsius) == (True, 0.25, True, 71.0)


def test_whoever_comes_back_waits_for_no_reading(
    tmp_path: Path, clock: SimpleNamespace, counted: dict[str, int]
) -> None:
    reads = Readings(tmp_path)
    reads.read(ANY, (Presence(idle_s=500.0),))
    before = dict(counted)
    clock.up += 60
    assert reads.read(ANY, (Presence(idle_s=0.01),)).memory == 0.25
    assert counted == before
    clock.up += 1
    reads.read(ANY, (Presence(idle_s=1.01),))
    assert counted["memory_share"] == before["memory_share"] + 1


def test_what_cannot_be_read_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: BaseException) -> Any:
        def read(*_: Any, **__: Any) -> Any:
            raise error

        return read

    monkeypatch.setattr(readings, "boot_id", fails(PermissionError("no")))
    monkeypatch.setattr(readings, "on_battery", fails(RuntimeError("no")))
    monkeypatch.setattr(readings, "memory_share", fails(ZeroDivisionError()))
    monkeypatch.setattr(readings, "memory_pressed", fails(ValueError("no")))
    monkeypatch.setattr(readings.psutil, "sensors_temperatures", fails(AttributeError("not on this system")))
    monkeypatch.setattr(readings.psutil, "cpu_times", fails(psutil.AccessDenied()))
    monkeypatch.setattr(readings.Programs, "running", fails(OSError("no /proc")))
    seen = Readings(tmp_path / "gone").read(Preferences(exclusive_apps=("quake",)), ())
    assert (seen.boot, seen.on_battery, seen.memory, seen.pressed) == ("", False, None, False)
    assert (seen.celsius, seen.others, seen.apps) == (None, None, frozenset())
    assert seen.disk_full, "where nothing can be written, nothing is fetched"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Readings(tmp_path).read(ANY, ()).disk_full
    plenty = {"f_flag": 0, "f_files": 0, "f_favail": 0, "f_bavail": readings.FREE_BYTES, "f_frsize": 1}

    def seen(**changes: int) -> tuple[bool, bool]:
        monkeypatch.setattr(readings.os, "statvfs", lambda folder: SimpleNamespace(**plenty | changes))
        found = Readings(tmp_path).read(ANY, ())
        return found.disk_full, found.read_only

    assert seen() == (False, False)
    assert seen(f_bavail=readings.FREE_BYTES - 1) == (True, False)
    assert seen(f_files=1000, f_favail=readings.FREE_NAMES - 1) == (True, False)
    assert seen(f_files=1000, f_favail=readings.FREE_NAMES) == (False, False)
    assert seen(f_flag=os.ST_RDONLY) == (True, True)


def test_sleep_is_noticed_once_and_how_long_ago_it_was(tmp_path: Path, clock: SimpleNamespace) -> None:
    reads = Readings(tmp_path)
    assert reads.read(ANY, ()).awake_s is None
    clock.up, clock.asleep = clock.up + 0.4, 0.2  # less is how clocks are read, one after the other
    assert reads.read(ANY, ()).awake_s is None
    clock.up, clock.asleep = clock.up + 3600, 3599.0
    assert reads.read(ANY, ()).awake_s == 0
    clock.up += 15
    assert reads.read(ANY, ()).awake_s == 15
    clock.up, clock.asleep = clock.up + 60, clock.asleep + 58
    assert reads.read(ANY, ()).awake_s == 0


def test_a_clock_that_goes_on_during_sleep_is_not_behind_one_that_does_not() -> None:
    assert readings.asleep_s() > -0.1


class Machine:
    """Two cores, and what ran on them."""

    def __init__(self) -> None:
        self.ours = self.busy = self.total = 0.0
        self.up = 100.0
        self.load = Load(lambda: self.ours, lambda: (self.busy, self.total))

    def after(self, s: float, *, ours: float = 0.0, others: float = 0.0) -> float | None:
        """Let both cores go on, and look."""
        self.up, self.total = self.up + s, self.total + 2 * s
        self.ours, self.busy = self.ours + ours * s, self.busy + (ours + others) * s
        return self.load.look(self.up)


def test_our_own_work_is_not_that_of_others() -> None:
    machine = Machine()
    assert machine.load.look(machine.up) is None
    assert machine.after(5, ours=2.0) == 0
    assert machine.after(5, ours=1.0, others=1.0) == pytest.approx(0.25)


def test_the_load_is_a_mean_over_half_a_minute() -> None:
    machine = Machine()
    machine.load.look(machine.up)
    for _ in range(12):
        share = machine.after(5)
    assert share == 0
    shares = [machine.after(5, others=2.0) for _ in range(7)]
    assert shares == [pytest.approx(n / 6) for n in (1, 2, 3, 4, 5, 6, 6)]
    assert len(machine.load._seen) < 10


def test_time_that_got_lost_with_a_process_is_not_laid_to_others() -> None:
    machine = Machine()
    machine.load.look(machine.up)
    machine.after(5, ours=1.0, others=1.0)
    machine.ours = 0.0
    assert machine.after(5, others=2.0) is None
    assert machine.after(5, ours=1.0) == 0


def test_after_sleep_it_begins_anew() -> None:
    machine = Machine()
    machine.load.look(machine.up)
    machine.after(5, others=2.0)
    machine.up += 3600
    assert machine.after(5) is None


BURN = "import os; [os.times() for _ in iter(int, 1)]"
"""Computes, and lets the kernel do some of it."""


def test_a_real_burner_below_us_is_ours() -> None:
    before = readings.ours_s()
    with subprocess.Popen([sys.executable, "-c", BURN]) as burner:
        while readings.ours_s() < before + 0.3:
            assert burner.poll() is None
            os.sched_yield()
        burner.kill()


def test_what_gives_way_is_neither_load_nor_ours() -> None:
    """Units run like that, ours and those of another client on this computer."""
    mine, ours = sum(os.times()[:2]), readings.ours_s()
    with subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", "while True: pass"]) as burner:
        before = readings.psutil.cpu_times().nice
        while (used := sum(psutil.Process(burner.pid).cpu_times()[:2])) < 0.5:
            assert burner.poll() is None
            os.sched_yield()
        assert readings.psutil.cpu_times().nice - before >= used - 0.2
        burner.kill()
    assert readings.ours_s() - ours <= sum(os.times()[:2]) - mine + 0.2


def test_two_clients_on_one_computer_do_not_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = dict(zip(Times._fields, (100.0, 1000.0, 50.0, 5000.0, 0.0, 0.0, 0.0, 0.0), strict=True))
    monkeypatch.setattr(readings.psutil, "cpu_times", lambda: Times(**spent))
    first, second = Load(lambda: 1.0), Load(lambda: 2.0)
    for up in range(0, 60, 5):
        shares = first.look(up), second.look(up)
        spent["nice"] += 9.8  # both cores are full of units of both
        spent["user"] += 0.2
    assert max(share or 0.0 for share in shares) < 0.03
    spent["user"] += 40.0
    assert (first.look(60) or 0.0) > 0.3


def test_all_time_is_counted_once() -> None:
    busy, total = readings.busy_s()
    assert 0 < busy < total


class Times(NamedTuple):
    """As psutil tells them on Linux, where `user` holds `guest` and `nice` holds `guest_nice`."""

    user: float = 10
    nice: float = 5
    system: float = 3
    idle: float = 70
    iowait: float = 2
    steal: float = 10
    guest: float = 9
    guest_nice: float = 4


def test_waiting_other_computers_and_what_gives_way_are_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings.psutil, "cpu_times", Times)
    monkeypatch.setattr(readings.sys, "platform", "linux")
    assert readings.busy_s() == (13, 100)


@pytest.mark.parametrize(
    ("sensors", "degrees"),
    [
        ({}, None),
        ({"cpu": [55.0, 61.5], "nvme": [40.0]}, 61.5),
        ({"broken": [-273.0, 0.0, 255.0, None, math.nan], "cpu": [48.0]}, 48.0),
        ({"broken": [3892.0]}, None),
    ],
)
def test_the_hottest_sensor_that_is_not_nonsense(sensors: dict[str, list[Any]], degrees: float | None) -> None:
    assert hottest({name: [SimpleNamespace(current=c) for c in read] for name, read in sensors.items()}) == degrees


@given(st.dictionaries(st.text(max_size=3), st.lists(st.floats() | st.none(), max_size=4), max_size=3))
def test_no_temperature_is_impossible(sensors: dict[str, list[float | None]]) -> None:
    degrees = hottest({name: [SimpleNamespace(current=c) for c in read] for name, read in sensors.items()})
    assert degrees is None or 0 < degrees <= readings.HOTTEST_C


@pytest.mark.parametrize(
    ("supplies", "on"),
    [
        ({}, False),
        ({"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Charging"}}, False),
        ({"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, True),
        ({"ADP1": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Not charging"}}, False),
        ({"BAT0": {"type": "Battery", "status": "Full"}, "BAT1": {"type": "Battery", "status": "Discharging"}}, True),
        ({"hidpp_0": {"type": "Battery", "scope": "Device", "status": "Discharging"}}, False),
        ({"ucsi": {"type": "USB", "online": "1"}, "BAT0": {"type": "Battery", "status": "Discharging"}}, False),
        ({"BAT0": {}}, False),
    ],
)
def test_power_supplies(tmp_path: Path, supplies: dict[str, dict[str, str]], on: bool) -> None:
    for supply, says in supplies.items():
        (tmp_path / supply).mkdir()
        for name, value in says.items():
            (tmp_path / supply / name).write_text(f"{value}\n")
    assert on_battery(tmp_path) is on


def test_a_computer_without_power_supplies(tmp_path: Path) -> None:
    assert on_battery(tmp_path / "none") is False


@pytest.mark.parametrize(("some", "pressed"), [("0.00", False), ("9.99", False), ("10.00", True), ("88.10", True)])
def test_waiting_for_memory(tmp_path: Path, some: str, pressed: bool) -> None:
    file = tmp_path / "memory"
    file.write_text(
        f"some avg10={some} avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=1\n"
    )
    assert memory_pressed(file) is pressed
    assert memory_pressed(tmp_path / "none") is False


def test_an_exclusive_app_is_found_when_it_is_first_asked_for(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings.Programs, "running", lambda _, wanted: frozenset(wanted))
    reads = Readings(tmp_path)
    assert reads.read(ANY, ()).apps == frozenset()
    clock.up += 0.1
    assert reads.read(Preferences(exclusive_apps=("quake",)), ()).apps == {"quake"}
    assert reads.read(ANY, ()).apps == frozenset()


def test_the_readings_import_without_display_bus_or_home() -> None:
    code = "import dsage_client.readings, sys; sys.exit('gi' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PATH": "/usr/bin"}, check=True, timeout=60)
