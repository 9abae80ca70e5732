"""GNOME, on X11 and on Wayland: the idle monitor of its window manager tells over the session's bus."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle.bus import CONNECT_S, DAEMON, Bus, Call, Signal
from dsage_client.idle.turns import Turns

if TYPE_CHECKING:
    from dbus_fast import Message

NAME: Final = "org.gnome.Mutter.IdleMonitor"
PATH: Final = "/org/gnome/Mutter/IdleMonitor/Core"
"""The monitor of all keyboards and pointers together."""


class Mutter:
    """One watch that fires when nothing was touched for so long; each time it does, one for the next touch."""

    name = "mutter"
    quality: Quality = "event"

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._turns = Turns()
        self._open = self._there = False
        self._after_s = 0.0
        self._since = 0.0
        self._away = self._back = 0

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        self._bus.open(self._lost)
        try:
            self._bus.call(_call("GetIdletime"), CONNECT_S)
            self._turns, self._after_s, self._there = Turns(on_idle, on_return), idle_after_s, True
            self._bus.listen(Signal(NAME, NAME, "WatchFired"), self._fired)
            self._bus.listen(Signal(DAEMON, DAEMON, "NameOwnerChanged", NAME), self._owned)
        except OSError:
            self._bus.close()
            raise
        self._open = True
        self._bus.do(self._arm())

    def presence(self) -> Presence:
        if not self._there:
            return Presence(idle_s=None, sensor=self.name)
        try:
            idle_s = self._known() if self._bus.inside else self._bus.call(_call("GetIdletime"))[0] / 1000
        except OSError:
            return Presence(idle_s=None, sensor=self.name)
        return Presence(idle_s=idle_s, quality=self.quality, sensor=self.name)

    def threshold(self, idle_after_s: float) -> None:
        self._after_s = idle_after_s
        self._bus.do(self._arm())

    def close(self) -> None:
        self._turns.end()
        if self._open:
            self._open = self._there = False
            self._bus.close()

    def _known(self) -> float:
        """How long nothing was touched as far as events tell: the bus's own thread cannot ask."""
        return time.monotonic() - self._since if self._turns.idle else 0.0

    async def _arm(self) -> None:
        """Set the watches anew, and see where things stand."""
        for old in (self._away, self._back):
            if old:
                with suppress(OSError):
                    await self._bus.ask(_call("RemoveWatch", "u", old))
        self._away = self._back = 0
        (self._away,) = await self._bus.ask(_call("AddIdleWatch", "t", max(1, round(self._after_s * 1000))))
        await self._stand()

    async def _stand(self) -> None:
        """Be told of the next touch; whoever has touched something before that is back already."""
        (back,) = await self._bus.ask(_call("AddUserActiveWatch"))
        (idle_ms,) = await self._bus.ask(_call("GetIdletime"))
        idle = idle_ms >= self._after_s * 1000
        if idle:
            self._back, self._since = back, time.monotonic() - idle_ms / 1000
        self._turns.turn(idle)
        if not idle:
            await self._bus.ask(_call("RemoveWatch", "u", back))

    def _fired(self, message: Message) -> None:
        (watch,) = message.body
        if watch == self._back:
            self._back = 0
            self._turns.turn(False)
        elif watch == self._away:
            self._bus.do(self._stand())

    def _owned(self, message: Message) -> None:
        """The window manager has ended, or begun anew; its watches went with it."""
        self._there = bool(message.body[2])
        self._away = self._back = 0
        self._turns.turn(False)
        if self._there:
            self._bus.do(self._arm())

    def _lost(self) -> None:
        self._there = False
        self._turns.turn(False)


def _call(member: str, signature: str = "", *body: Any) -> Call:
    return Call(NAME, PATH, NAME, member, signature, list(body))
