"""What asks that the computer not count as idle, a film or a presentation: beside another sensor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle.bus import DAEMON, PROPERTIES, Bus, Call, Signal
from dsage_client.idle.turns import Turns

IDLE: Final = 8
"""The flag of GNOME's session manager for "must not count as idle"."""
SCREEN: Final = 4
"""The same of KDE: the screen must stay as it is."""
SESSION_MANAGER: Final = "org.gnome.SessionManager"
PLASMA: Final = "org.kde.Solid.PowerManagement.PolicyAgent"
POWER: Final = "org.freedesktop.PowerManagement"
LOGIN: Final = "org.freedesktop.login1"
LOGIN_MANAGER: Final = "org.freedesktop.login1.Manager"


class Inhibitors:
    """What asks for it now, by every list that a desktop keeps: GNOME's, KDE's, Xfce's and logind's.

    `ScreenSaver.Inhibit`, which players call, keeps no list of its own: desktops pass it on to one of these.
    """

    name = "inhibitors"
    quality: Quality = "event"

    def __init__(self, session: Bus, system: Bus) -> None:
        self._buses = (session, system)
        self._open: list[Bus] = []
        self._turns = Turns()
        self._films: dict[str, str] = {}

    @property
    def film(self) -> str:
        """The name of a program that asks for it, "" if none does."""
        return next((film for film in self._films.values() if film), "")

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        self._turns = Turns(on_idle, on_return)
        self._turns.turn(True)
        for bus, lists in zip(self._buses, (_OF_SESSION, _OF_SYSTEM), strict=True):
            try:
                bus.open(self._lost)
            except OSError:
                continue
            self._open.append(bus)
            for name, (signals, look) in lists.items():
                self._follow(bus, name, signals, look)
        if not self._open:
            raise OSError("there is no bus to ask what must not be idle")

    def presence(self) -> Presence:
        return Presence(idle_s=None, quality=self.quality, sensor=self.name, film=self.film)

    def threshold(self, idle_after_s: float) -> None:
        """A film is one from its first second."""

    def close(self) -> None:
        self._turns.end()
        while self._open:
            self._open.pop().close()

    def _follow(self, bus: Bus, name: str, signals: tuple[Signal, ...], look: _Look) -> None:
        def again(_message: object = None) -> None:
            bus.do(self._look(bus, name, look))

        try:
            for signal in (*signals, Signal(DAEMON, DAEMON, "NameOwnerChanged", name)):
                bus.listen(signal, again)
        except OSError:
            return
        again()

    async def _look(self, bus: Bus, name: str, look: _Look) -> None:
        try:
            self._films[name] = await look(bus)
        except OSError:
            self._films[name] = ""
        self._turns.turn(not self.film)

    def _lost(self) -> None:
        self._films.clear()


_Look = Callable[[Bus], Awaitable[str]]


async def _gnome(bus: Bus) -> str:
    (paths,) = await bus.ask(_call(SESSION_MANAGER, "/org/gnome/SessionManager", "GetInhibitors"))
    for path in paths:
        try:
            flags, who = await asyncio.gather(
                bus.ask(Call(SESSION_MANAGER, path, f"{SESSION_MANAGER}.Inhibitor", "GetFlags")),
                bus.ask(Call(SESSION_MANAGER, path, f"{SESSION_MANAGER}.Inhibitor", "GetAppId")),
            )
        except OSError:
            continue
        if flags[0] & IDLE:
            return str(who[0]) or "a program"
    return ""


async def _kde(bus: Bus) -> str:
    path = "/org/kde/Solid/PowerManagement/PolicyAgent"
    (screen,) = await bus.ask(_call(PLASMA, path, "HasInhibition", "u", SCREEN))
    if not screen:
        return ""
    (inhibitions,) = await bus.ask(_call(PLASMA, path, "ListInhibitions"))
    return next((str(who) for who, _why in inhibitions if who), "a program")


async def _xfce(bus: Bus) -> str:
    path = "/org/freedesktop/PowerManagement/Inhibit"
    (held,) = await bus.ask(Call(POWER, path, f"{POWER}.Inhibit", "HasInhibit"))
    if not held:
        return ""
    try:
        (names,) = await bus.ask(Call(POWER, path, f"{POWER}.Inhibit", "GetInhibitors"))
    except OSError:
        names = []
    return next((str(name) for name in names if name), "a program")


async def _logind(bus: Bus) -> str:
    (held,) = await bus.ask(Call(LOGIN, "/org/freedesktop/login1", LOGIN_MANAGER, "ListInhibitors"))
    for what, who, _why, mode, _uid, _pid in held:
        if mode == "block" and "idle" in what.split(":"):
            return str(who) or "a program"
    return ""


def _call(name: str, path: str, member: str, signature: str = "", *body: Any) -> Call:
    return Call(name, path, name, member, signature, list(body))


_List = tuple[tuple[Signal, ...], _Look]
_OF_SESSION: Final[dict[str, _List]] = {
    SESSION_MANAGER: (
        (
            Signal(SESSION_MANAGER, SESSION_MANAGER, "InhibitorAdded"),
            Signal(SESSION_MANAGER, SESSION_MANAGER, "InhibitorRemoved"),
        ),
        _gnome,
    ),
    PLASMA: ((Signal(PLASMA, PLASMA, "InhibitionsChanged"),), _kde),
    POWER: ((Signal(POWER, f"{POWER}.Inhibit", "HasInhibitChanged"),), _xfce),
}
_OF_SYSTEM: Final[dict[str, _List]] = {
    LOGIN: ((Signal(LOGIN, PROPERTIES, "PropertiesChanged", LOGIN_MANAGER),), _logind),
}
