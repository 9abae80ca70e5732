"""logind, beside another sensor: locked or not, asleep or awake, and whether another user's session is in front."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle.bus import CONNECT_S, PROPERTIES, Bus, Call, Signal
from dsage_client.idle.turns import Turns

if TYPE_CHECKING:
    from dbus_fast import Message

NAME: Final = "org.freedesktop.login1"
PATH: Final = "/org/freedesktop/login1"
MANAGER: Final = "org.freedesktop.login1.Manager"
SESSION: Final = "org.freedesktop.login1.Session"
SEAT: Final = "org.freedesktop.login1.Seat"


class Logind:
    """Waking up, unlocking and switching users count as touches: `idle_s` is the time since the last one.

    It is None where there was none: this sensor adds to what another knows, and says nothing about keys. While another
    session is in front, that session's user counts; nobody sits at a login screen.
    """

    name = "logind"
    quality: Quality = "event"

    def __init__(self, bus: Bus, environment: Mapping[str, str]) -> None:
        self._bus = bus
        self._session = environment.get("XDG_SESSION_ID") or "auto"
        self._turns = Turns()
        self._open = False
        self._path = self._seat = ""
        self._locked, self._active = False, True
        self._touched: float | None = None

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        self._bus.open(self._lost)
        try:
            (self._path,) = self._bus.call(Call(NAME, PATH, MANAGER, "GetSession", "s", [self._session]), CONNECT_S)
            self._bus.listen(Signal(NAME, PROPERTIES, "PropertiesChanged", SESSION), self._changed)
            self._bus.listen(Signal(NAME, MANAGER, "PrepareForSleep"), self._sleeps)
            session = self._bus.get(NAME, self._path, SESSION)
        except OSError:
            self._bus.close()
            raise
        self._seat = session.get("Seat", ["", ""])[1]
        self._active, self._locked = bool(session.get("Active", True)), bool(session.get("LockedHint", False))
        self._turns, self._open = Turns(on_idle, on_return), True

    def presence(self) -> Presence:
        idle_s = None if self._touched is None else time.monotonic() - self._touched
        if self._open and not self._active:
            elsewhere = self._elsewhere()
            idle_s = elsewhere if idle_s is None else min(idle_s, elsewhere)
        return Presence(idle_s=idle_s, quality=self.quality, sensor=self.name, locked=self._locked)

    def threshold(self, idle_after_s: float) -> None:
        """Events are told whatever the threshold."""

    def close(self) -> None:
        self._turns.end()
        if self._open:
            self._open = False
            self._bus.close()

    def _elsewhere(self) -> float:
        """How long the session in front was not touched; 0 if it does not say."""
        try:
            front = self._bus.get(NAME, self._seat, SEAT)["ActiveSession"][1] if self._seat not in ("", "/") else ""
            session = self._bus.get(NAME, front, SESSION) if front not in ("", "/") else {}
        except (OSError, KeyError):
            return 0.0
        if not session or session.get("Class") == "greeter":
            return float("inf")
        if not session.get("IdleHint"):
            return 0.0
        return max(0.0, time.time() - int(session.get("IdleSinceHint", 0)) / 1e6)

    def _changed(self, message: Message) -> None:
        changes: dict[str, Any] = {key: variant.value for key, variant in message.body[1].items()}
        if message.path != self._path:
            if not self._active:
                self._touch()
            return
        was = self._active, self._locked
        self._active = bool(changes.get("Active", self._active))
        self._locked = bool(changes.get("LockedHint", self._locked))
        if self._active is not was[0] or (was[1] and not self._locked):
            self._touch()

    def _sleeps(self, message: Message) -> None:
        if not message.body[0]:
            self._touch()

    def _touch(self) -> None:
        self._touched = time.monotonic()
        self._turns.touch()

    def _lost(self) -> None:
        self._locked, self._active = False, True
