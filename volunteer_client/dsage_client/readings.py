"""What a computer says of itself: clocks, battery, load, memory, heat, disk, programs.

Nothing here raises, needs a display or a bus, or waits for long: what cannot be read is unknown. Each thing is read
again only when it may have changed, and nothing is read in the moment in which somebody comes back to the computer.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import psutil

from dsage.sandbox import processes
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.seen import Presence, Seen
from dsage_client.programs import Programs

OTHERS_S: Final = 30.0
"""The load of other programs is the mean over so long."""
LOAD_EVERY_S: Final = 5.0
MEMORY_EVERY_S: Final = 5.0
BATTERY_EVERY_S: Final = 10.0
APPS_EVERY_S: Final = 10.0
HEAT_EVERY_S: Final = 15.0
DISK_EVERY_S: Final = 5.0
PRESSED_PERCENT: Final = 10.0
"""Memory is short if programs waited for it during this share of the last ten seconds."""
HOTTEST_C: Final = 125.0
"""No computer is hotter; sensors that say so, or less than nothing, say nothing."""
FREE_BYTES: Final = 256 << 20
"""With less than this the disk is full: half of what input files of units leave free."""
FREE_NAMES: Final = 64
"""With room for fewer files the disk is full, whatever their size."""
SLEPT_S: Final = 1.0
FAULTS: Final = (
    OSError,
    ValueError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    RuntimeError,
    psutil.Error,
)
"""What reading a system's files and asking psutil on some system may end in."""

PROC: Final = Path("/proc")
SUPPLIES: Final = Path("/sys/class/power_supply")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks of one moment, as in `Seen`."""

    now: float
    up: float
    boot: str


class Readings:
    """Reads them. `folder` is where the client keeps its files; the client is this process and all below it."""

    def __init__(self, folder: Path) -> None:
        self._boot = careful(boot_id, "")
        self._load = Load()
        self._battery = _Gauge(on_battery, BATTERY_EVERY_S, unknown=False)
        self._others = _Gauge(lambda: self._load.look(self.clock().up), LOAD_EVERY_S, unknown=None)
        self._memory = _Gauge(memory_share, MEMORY_EVERY_S, unknown=None)
        self._pressed = _Gauge(memory_pressed, MEMORY_EVERY_S, unknown=False)
        self._celsius = _Gauge(lambda: hottest(psutil.sensors_temperatures()), HEAT_EVERY_S, unknown=None)
        self._disk = _Gauge(lambda: disk_takes(folder), DISK_EVERY_S, unknown="nothing")
        self._wanted: tuple[str, ...] = ()
        self._programs = Programs()
        self._apps = _Gauge(lambda: self._programs.running(self._wanted), APPS_EVERY_S, unknown=frozenset[str]())
        self._asleep_s = asleep_s()
        self._woke: float | None = None
        self._idle_s = 0.0

    def clock(self) -> Clock:
        """Return what the clocks show."""
        return Clock(time.time(), uptime(), self._boot)

    def read(self, preferences: Preferences, presence: tuple[Presence, ...]) -> Seen:
        """Return the computer as it is now, with what sessions know of their users."""
        clock = self.clock()
        self._look_back(clock.up)
        if not self._returned(presence):
            self._refresh(clock.up, preferences.exclusive_apps)
        return Seen(
            now=clock.now,
            up=clock.up,
            boot=clock.boot,
            cores=cores(),
            presence=presence,
            on_battery=self._battery.value,
            others=self._others.value,
            memory=self._memory.value,
            pressed=self._pressed.value,
            celsius=self._celsius.value,
            apps=self._apps.value,
            disk_full=self._disk.value != "all",
            read_only=self._disk.value == "read-only",
            awake_s=None if self._woke is None else clock.up - self._woke,
        )

    def _look_back(self, up: float) -> None:
        """Notice that the computer has slept, and that it was taken to another time zone."""
        asleep = asleep_s()
        if asleep - self._asleep_s > SLEPT_S:
            self._woke = up
        self._asleep_s = asleep
        if sys.platform != "win32":
            time.tzset()

    def _returned(self, presence: tuple[Presence, ...]) -> bool:
        """Say whether somebody has come back since the last time."""
        idle_s = min((each.idle_s or 0.0 for each in presence), default=0.0)
        before, self._idle_s = self._idle_s, idle_s
        return idle_s < before

    def _refresh(self, up: float, apps: tuple[str, ...]) -> None:
        if apps != self._wanted:
            self._wanted = apps
            self._apps.due = up
        for gauge in (self._battery, self._others, self._memory, self._pressed, self._celsius, self._disk, self._apps):
            gauge.refresh(up)


class _Gauge(Generic[T]):
    """Something that is read again when it is `due`, on the clock `up`; `value` is the last reading."""

    def __init__(self, read: Callable[[], T], every_s: float, *, unknown: T) -> None:
        self._read = read
        self._every_s = every_s
        self._unknown = unknown
        self.value = unknown
        self.due = 0.0

    def refresh(self, up: float) -> None:
        if up >= self.due:
            self.value = careful(self._read, self._unknown)
            self.due = up + self._every_s


class Load:
    """How much of all cores programs other than ours use: the mean over the last OTHERS_S.

    On Linux only what they use at full priority: what was told to give way to others (nice, as another client of this
    computer does with its units) needs nobody to give way to it.
    """

    def __init__(
        self, ours: Callable[[], float] | None = None, all_cores: Callable[[], tuple[float, float]] | None = None
    ) -> None:
        self._ours = ours or ours_s
        self._all_cores = all_cores or busy_s
        self._seen: deque[tuple[float, float, float, float]] = deque()

    def look(self, up: float) -> float | None:
        """Look once more, and return the share (0..1); None until there has been time to see anything.

        Time that ended processes used may get lost (nobody waited for them); that stretch then says nothing.
        """
        ours, (busy, total) = self._ours(), self._all_cores()
        if self._seen and (ours < self._seen[-1][1] or up - self._seen[-1][0] > OTHERS_S):
            self._seen.clear()
        self._seen.append((up, ours, busy, total))
        while len(self._seen) > 2 and up - self._seen[1][0] >= OTHERS_S:
            self._seen.popleft()
        _, ours_before, busy_before, total_before = self._seen[0]
        if total <= total_before:
            return None
        return min(1.0, max(0.0, (busy - busy_before - (ours - ours_before)) / (total - total_before)))


def careful(read: Callable[[], T], unknown: T) -> T:
    """Return a reading, or `unknown` if there is none."""
    try:
        return read()
    except FAULTS:
        return unknown


def uptime() -> float:
    """Return the seconds of a clock that goes on during sleep and is never set."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def asleep_s() -> float:
    """Return for how long the computer has slept since an arbitrary moment; always 0 where that cannot be told."""
    return uptime() - time.monotonic()


def boot_id() -> str:
    """Return the name of this run of the system. Raises OSError where it has none."""
    return (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()


def cores() -> int:
    """Return how many cores this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


def on_battery(supplies: Path = SUPPLIES) -> bool:
    """Say whether the computer runs on its battery. Batteries of mice and the like do not count.

    On Linux it is read here, as psutil knows only some names of power supplies.
    """
    if sys.platform != "linux":
        battery = psutil.sensors_battery()
        return battery is not None and battery.power_plugged is False
    discharging = False
    for supply in supplies.iterdir() if supplies.is_dir() else ():
        says = {name: careful((supply / name).read_text, "").strip() for name in ("type", "online", "status", "scope")}
        if says["type"] in ("Mains", "USB") and says["online"] == "1":
            return False
        discharging |= says["type"] == "Battery" and says["scope"] != "Device" and says["status"] == "Discharging"
    return discharging


def memory_share() -> float:
    """Return the share of physical memory that is available."""
    memory = psutil.virtual_memory()
    return float(memory.available / memory.total)


def memory_pressed(file: Path = PROC / "pressure/memory") -> bool:
    """Say whether programs have waited for memory of late (Linux with PSI; elsewhere never)."""
    if not file.exists():
        return False
    some = next(line for line in file.read_text("ascii").splitlines() if line.startswith("some "))
    return float(some.partition("avg10=")[2].split()[0]) >= PRESSED_PERCENT


def disk_takes(folder: Path) -> str:
    """Return what the disk of a folder takes: `all`, `nothing` if it is full of bytes or of names, or `read-only`."""
    if sys.platform == "win32":
        return "all" if shutil.disk_usage(folder).free >= FREE_BYTES else "nothing"
    seen = os.statvfs(folder)
    if seen.f_flag & os.ST_RDONLY:
        return "read-only"
    names = seen.f_favail if seen.f_files else FREE_NAMES  # a file system without a limit counts none
    return "all" if seen.f_bavail * seen.f_frsize >= FREE_BYTES and names >= FREE_NAMES else "nothing"


def hottest(sensors: dict[str, list[Any]]) -> float | None:
    """Return the highest temperature (°C) of psutil's, leaving out what cannot be; None if there is none."""
    degrees = (reading.current for readings in sensors.values() for reading in readings)
    return max((float(each) for each in degrees if each is not None and 0 < each <= HOTTEST_C), default=None)


def busy_s() -> tuple[float, float]:
    """Return the time (s, of all cores together) that programs used, as `Load` counts it, and all time."""
    times = psutil.cpu_times()
    spent = {name: float(getattr(times, name)) for name in times._fields if not name.startswith("guest")}
    total = sum(spent.values())
    left = ["idle", "iowait", "steal", *(["nice"] if sys.platform == "linux" else [])]
    return total - sum(spent.get(name, 0.0) for name in left), total


def ours_s() -> float:
    """Return the processor time (s) that this process and all below it have used, as `Load` counts it."""
    if sys.platform == "linux":
        tree = processes.tree(os.getpid())
        if not tree:
            raise OSError("the tree of processes cannot be read")
        return processes.urgent_s(tree)
    me = psutil.Process()
    return sum(sum(each.cpu_times()[:4]) for each in (me, *me.children(recursive=True)))
