"""Which sensors fit a session, and all that work there as one."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle import Sensor
from dsage_client.idle.bus import SYSTEM, Bus
from dsage_client.idle.freedesktop import Freedesktop
from dsage_client.idle.inhibitors import Inhibitors
from dsage_client.idle.logind import Logind
from dsage_client.idle.macos import MacOS
from dsage_client.idle.mutter import Mutter
from dsage_client.idle.tty import Tty
from dsage_client.idle.turns import Turns
from dsage_client.idle.wayland import Wayland
from dsage_client.idle.windows import Windows
from dsage_client.idle.x11 import X11

AGAIN_S: Final = 30.0
"""How long a user may be unknown before sensors are looked for anew: a desktop may still be starting, or start again;
one that only hangs for a moment keeps its sensor."""


def choose(environment: Mapping[str, str], platform: str = sys.platform, session: Bus | None = None) -> list[Sensor]:
    """Return the sensors to try in this session, best first; none is opened.

    On Wayland the X11 one is left out: there it sees only what X11 programs are sent.
    """
    if platform == "win32":
        return [Windows()]
    if platform == "darwin":
        return [MacOS()]
    bus = session or Bus(session_address(environment))
    if environment.get("WAYLAND_DISPLAY") or environment.get("XDG_SESSION_TYPE") == "wayland":
        return [Wayland(environment), Mutter(bus), Freedesktop(bus)]
    if environment.get("DISPLAY"):
        return [X11(environment), Mutter(bus), Freedesktop(bus)]
    return [Tty()]


def additions(environment: Mapping[str, str], platform: str = sys.platform, session: Bus | None = None) -> list[Sensor]:
    """Return what adds to the chosen sensor, whichever that is: films, lock, sleep, other users. None is opened."""
    if platform in ("win32", "darwin"):
        return []
    bus = session or Bus(session_address(environment))
    system = Bus(environment.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM)
    return [Logind(system, environment), Inhibitors(bus, system)]


def session_address(environment: Mapping[str, str]) -> str:
    """Return the address of the session's bus, "" if it has none."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    usual = os.path.join(runtime, "bus")
    return environment.get("DBUS_SESSION_BUS_ADDRESS") or (
        f"unix:path={usual}" if runtime and os.path.exists(usual) else ""
    )


def combined(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Combined:
    """Return all that can tell of this session's user, as one sensor."""
    environment = os.environ if environment is None else environment
    bus = Bus(session_address(environment))
    return Combined(choose(environment, platform, bus), additions(environment, platform, bus))


class Combined:
    """The first of some sensors that works, and all additions that do.

    The user is as idle as the least idle of them says; without a first sensor they are unknown, which counts as in use.
    `on_return` is also told when a film begins, the computer wakes, or the sensor goes: work has to stop then too.
    `why` says of each sensor that does not work here what is the matter.
    """

    def __init__(self, sensors: Iterable[Sensor], more: Iterable[Sensor] = ()) -> None:
        self._sensors = list(sensors)
        self._more = list(more)
        self._works: Sensor | None = None
        self._adds: list[Sensor] = []
        self._turns = Turns()
        self._after_s = 0.0
        self._search = threading.Lock()
        self._unknown_since: float | None = None
        self.why: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The name of the sensor that works, "" if none does."""
        return self._works.name if self._works else ""

    @property
    def quality(self) -> Quality:
        """The quality of the sensor that works."""
        return self._works.quality if self._works else "none"

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        """Begin with what works. Raises OSError, which says why, if nothing does; it is tried again all the same."""
        self._turns, self._after_s = Turns(on_idle, on_return), idle_after_s
        self._find()
        for sensor in self._more:
            if self._begin(sensor):
                self._adds.append(sensor)
        if self._works is None:
            raise OSError("; ".join(f"{sensor.name}: {self.why[sensor.name]}" for sensor in self._sensors))

    def presence(self) -> Presence:
        """Return what all of them know now."""
        works = self._works
        first = works.presence() if works else Presence(idle_s=None)
        if first.idle_s is None:
            self._try_again(time.monotonic())
            first = Presence(idle_s=None, sensor=first.sensor)
        else:
            self._unknown_since = None
        others = [sensor.presence() for sensor in self._adds]
        known = [seen.idle_s for seen in (first, *others) if seen.idle_s is not None]
        return Presence(
            idle_s=None if first.idle_s is None else min(known),
            quality=first.quality,
            sensor=first.sensor,
            film=next((seen.film for seen in (first, *others) if seen.film), ""),
            full_screen=first.full_screen,
            locked=any(seen.locked for seen in (first, *others)),
        )

    def threshold(self, idle_after_s: float) -> None:
        """From now on, idle means untouched for so long."""
        self._after_s = idle_after_s
        for sensor in (self._works, *self._adds):
            if sensor is not None:
                sensor.threshold(idle_after_s)

    def close(self) -> None:
        """Stop; nothing is called any more."""
        self._turns.end()
        with self._search:
            for sensor in (self._works, *self._adds):
                if sensor is not None:
                    sensor.close()
            self._works, self._adds = None, []

    def _begin(self, sensor: Sensor) -> bool:
        try:
            sensor.open(self._after_s, self._gone, self._turns.touch)
        except OSError as error:
            self.why[sensor.name] = str(error)
            return False
        self.why.pop(sensor.name, None)
        return True

    def _gone(self) -> None:
        """One of them says that the user has gone; tell it if all of them do."""
        seen = self.presence()
        if seen.idle_s is not None and seen.idle_s >= self._after_s and not seen.film:
            self._turns.turn(True)

    def _find(self) -> None:
        with self._search:
            if self._turns.ended:
                return
            if self._works is not None:
                self._works.close()
            self._works = next((sensor for sensor in self._sensors if self._begin(sensor)), None)

    def _try_again(self, now: float) -> None:
        """Look for a sensor once more, in a thread of its own, if it is time for it."""
        if self._unknown_since is None:
            self._unknown_since = now
        elif now - self._unknown_since >= AGAIN_S and not self._search.locked():
            self._unknown_since = now
            with suppress(RuntimeError):
                threading.Thread(target=self._find, name="idle-search", daemon=True).start()
