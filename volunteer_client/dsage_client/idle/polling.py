"""Sensors of platforms that tell nothing by themselves: asked four times a second while work may run, else seldom."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle.turns import Turns

AWAY_EVERY_S = 0.25
"""How often to look while nobody is there: units run then, and must stop within 300 ms of the first key press."""
UNKNOWN_EVERY_S = 10.0


class Polled:
    """A sensor made of a question. A platform says how it is asked: `idle_s`, and more in `presence` if it knows more.

    While somebody is there the next look is when that could first have changed, so that it costs nearly nothing.
    """

    name: str
    quality: Quality = "poll"
    away_every_s: float = AWAY_EVERY_S

    def __init__(self) -> None:
        self._turns = Turns()
        self._after_s = 0.0
        self._look = threading.Event()

    def idle_s(self) -> float:
        """Return how long nobody has touched anything. Raises OSError if that cannot be known now."""
        raise NotImplementedError

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        self.idle_s()
        self._after_s = idle_after_s
        self._turns = Turns(on_idle, on_return)
        self._look.clear()
        threading.Thread(target=self._watch, args=(self._turns,), name=f"idle-{self.name}", daemon=True).start()

    def presence(self) -> Presence:
        try:
            return Presence(idle_s=self.idle_s(), quality=self.quality, sensor=self.name)
        except OSError:
            return Presence(idle_s=None, sensor=self.name)

    def threshold(self, idle_after_s: float) -> None:
        self._after_s = idle_after_s
        self._look.set()

    def close(self) -> None:
        self._turns.end()
        self._look.set()

    def _watch(self, turns: Turns) -> None:
        while not turns.ended:
            self._look.clear()
            self._look.wait(self._step(turns))

    def _step(self, turns: Turns) -> float:
        """Look once; return in how many seconds to look again."""
        seen = self.presence()
        turns.turn(seen.idle_s is not None and seen.idle_s >= self._after_s and not seen.film)
        if seen.idle_s is None:
            return UNKNOWN_EVERY_S
        if turns.idle or seen.film:
            return self.away_every_s
        return max(self._after_s - seen.idle_s, 0.01)
