"""What a scene may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A window of `width` x `height` pixels, and the unit shown in it: the share done (0..1), what its app shows, and a
    number of its own. `awake` says whether anything is computed, `calm` that nothing may move quickly."""

    width: int
    height: int
    fraction: float = 0.0
    shows: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    awake: bool = True
    calm: bool = False

    def number(self, name: str, usual: float = 0.0) -> float:
        """Return a number that the app shows."""
        fact = self.shows.get(name)
        return fact if isinstance(fact, int | float) else usual
