"""How the client conducts itself as a guest: what its owner prefers and chose, and what follows from that and from what
is seen of the computer (`guest.policy`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from dsage.errors import StorageFull
from dsage_client.guest import choices as chosen
from dsage_client.guest import pauses, schedule
from dsage_client.guest import preferences as preferred
from dsage_client.guest.choices import Choices
from dsage_client.guest.policy import Memory, decide
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Presence, Seen
from dsage_client.readings import Readings
from dsage_client.settings import Settings

FORGET_S: Final = 30.0
"""A session that has said nothing of its user for so long knows nothing."""
LOST_S: Final = 300.0
"""A helper that has gone was there for a reason: somebody may sit at that desktop still."""
WELCOME_S: Final = 120.0
"""Whoever has just joined sees the computer work for a moment, though they are at it."""


class Sessions:
    """What the helpers in the desktop's sessions say of their users."""

    def __init__(self, sensor: Callable[[], Presence]) -> None:
        self._sensor = sensor
        self._said: dict[object, tuple[Presence, float]] = {}
        self._lost_at = float("-inf")

    def __len__(self) -> int:
        return len(self._said)

    def say(self, session: object, presence: Presence | None) -> None:
        """A session says what it knows of its user; None when it has gone."""
        if presence is None:
            self._said.pop(session, None)
            self._lost_at = time.monotonic()
        else:
            self._said[session] = (presence, time.monotonic())

    def presence(self) -> tuple[Presence, ...]:
        """Return what each session knows of its user now; where there is none, what this process sees itself."""
        now = time.monotonic()
        known = []
        for said, at in self._said.values():
            if now - at > FORGET_S:
                said = Presence(idle_s=None, sensor=said.sensor)
            elif said.idle_s is not None:
                said = msgspec.structs.replace(said, idle_s=said.idle_s + now - at)
            known.append(said)
        if not known and now - self._lost_at < LOST_S:
            known = [Presence(idle_s=None, sensor="the session helper has gone")]
        return tuple(known) or (self._sensor(),)


class Conduct:
    """What may be done now: `standing` is the last decision, whose reason holds since `since` (Unix seconds), and
    `seen` what it was made from. `damage` says what is wrong with the file of preferences, if anything is."""

    def __init__(self, settings: Settings, readings: Readings, sensor: Callable[[], Presence]) -> None:
        self._settings = settings
        self._readings = readings
        self.sessions = Sessions(sensor)
        self.preferences, self.damage = preferred.load(settings.preferences_file)
        self.choices = chosen.load(settings.choices_file)
        self.standing = Standing(work=Work.HOLD, reason=Reason.CONNECTING)
        self.since = time.time()
        self.seen: Seen | None = None
        self._memory = Memory()

    def decide(self, *, running: int) -> Standing:
        """Look at the computer and decide anew, while so many units are held."""
        self.seen = self._readings.read(self.preferences, self.sessions.presence())
        standing, self._memory = decide(self.preferences, self.choices, self.seen, self._memory, running=running)
        if (standing.work, standing.reason) != (self.standing.work, self.standing.reason):
            self.since = time.time()
        self.standing = standing
        return standing

    def prefer(self, changes: dict[str, Any]) -> None:
        """Change some preferences, and keep them. Raises UsageError; StorageFull, and the old ones hold."""
        fresh = self.preferences.changed(changes)
        try:
            fresh.save(self._settings.preferences_file)
        except OSError as error:
            raise StorageFull(f"the preferences cannot be saved: {error.strerror}; the old ones hold") from error
        self.preferences = fresh

    def pause(self, duration: str) -> None:
        """Choose a pause. Raises UsageError."""
        seen = self._readings.clock()
        pause = pauses.begin(duration, now=seen.now, up=seen.up, boot=seen.boot)
        self.choices = msgspec.structs.replace(self.choices, pause=pause, always_until=None)

    def resume(self) -> None:
        """Choose neither a pause nor finishing."""
        self.choices = Choices(always_until=self.choices.always_until)

    def finish(self) -> None:
        """Choose to begin nothing new."""
        self.choices = msgspec.structs.replace(self.choices, finish=True)

    def always(self) -> None:
        """Choose to compute beside the user until the end of the day."""
        self.choices = Choices(always_until=schedule.midnight(time.time()))

    def welcome(self) -> None:
        """Compute beside the user for a moment."""
        until = max(self.choices.always_until or 0.0, time.time() + WELCOME_S)
        self.choices = msgspec.structs.replace(self.choices, always_until=until)

    def keep(self) -> None:
        """Write the choices down, so that they survive a restart. Raises OSError; they hold all the same."""
        self.choices.save(self._settings.choices_file)
