"""Whose fault an error is: a run's, as long as nobody could ever answer a unit of it; after that the computer's.

An author's crashing code must not make honest computers look broken, or two of them in a small laboratory would soon be
trusted with nothing, and other people's work would wait. So errors on a run without any valid answer are put off: they
count when somebody answers it after all, and are forgotten when it ends. As that would let two accounts ruin runs
unpunished, a computer has only so many errors put off, and further ones with time.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

MOST: Final = 50
EACH_S: Final = 10.0
"""One more error of a computer may be put off after so long."""
HOSTS: Final = 10_000
"""Computers that are remembered: those that had errors put off lately."""


class Blame:
    """The errors that are put off, by run and host."""

    def __init__(self) -> None:
        self._answered: set[int] = set()
        self._put_off: dict[int, Counter[int]] = {}
        self._spent: dict[int, tuple[float, float]] = {}

    def failed(self, run: int, host: int, now: float) -> bool:
        """Take an error of a host; return whether it counts against the host now. `now` is in seconds."""
        if run in self._answered:
            return True
        spent, at = self._spent.pop(host, (0.0, now))
        spent = max(0.0, spent - max(0.0, now - at) / EACH_S)
        counts = spent + 1.0 > MOST
        self._spent[host] = (spent if counts else spent + 1.0, now)
        if len(self._spent) > HOSTS:
            del self._spent[next(iter(self._spent))]
        if not counts:
            self._put_off.setdefault(run, Counter())[host] += 1
        return counts

    def answered(self, run: int) -> Counter[int]:
        """An answer of a run was found right; return the errors by host that count now."""
        if run in self._answered:
            return Counter()
        self._answered.add(run)
        return self._put_off.pop(run, Counter())

    def over(self, run: int) -> None:
        """A run has ended, or gives out nothing for now."""
        self._answered.discard(run)
        self._put_off.pop(run, None)
