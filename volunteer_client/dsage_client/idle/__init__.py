"""Whether somebody is at the computer. `choose` finds the sensors that work in this session; each is a `Sensor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dsage_client.guest.seen import Presence, Quality


class Sensor(Protocol):
    """Tells when the user of a session went and came back.

    A sensor runs in the session helper, or in the agent where there is no session. Nothing of it blocks for longer
    than a few milliseconds, and it never raises after `open`: if what it asks has gone, its presence is unknown.
    """

    @property
    def name(self) -> str:
        """What is asked: the name of a sensor."""
        ...

    @property
    def quality(self) -> Quality:
        """How it knows."""
        ...

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        """Begin. `on_return` is called from a thread of the sensor, within milliseconds where `quality` is "event":
        it stops the work itself. Raises OSError (or what the platform raises as one) if this sensor does not work here.
        """
        ...

    def presence(self) -> Presence:
        """Return what is known now."""
        ...

    def threshold(self, idle_after_s: float) -> None:
        """From now on, idle means untouched for so long."""
        ...

    def close(self) -> None:
        """Stop; nothing is called any more."""
        ...
