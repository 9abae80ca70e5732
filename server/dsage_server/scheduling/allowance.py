"""How many copies a volunteer may have out: a few at first, one more for each that was answered.

Accounts are not free (each takes an invite), so this bounds what one account can do by taking units and not
answering: keep them from others, or have them handed out and back again without end. Pure; times are of a steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST: Final = 100
"""Copies that a newcomer may leave unanswered: more than a computer of 64 cores holds."""
MOST: Final = 2000
RECOVERY_S: Final = 60.0
"""A copy that was never answered is forgiven after this time, one by one."""


@dataclass(slots=True)
class Allowance:
    """One volunteer's: `left` copies may go out now, and `most` when everything is answered."""

    most: float = FIRST
    left: float = FIRST
    at: float = 0.0

    def now(self, ticks: float) -> int:
        """Return how many copies may go out at this moment."""
        self.left = min(self.most, self.left + max(0.0, ticks - self.at) / RECOVERY_S)
        self.at = ticks
        return int(self.left)

    def spend(self, leased: int) -> None:
        """So many copies went out."""
        self.left -= leased

    def give_back(self, stopped: int) -> None:
        """So many ended at the server's wish, which is no fault of the volunteer's."""
        self.left = min(self.most, self.left + stopped)

    def earn(self, answered: int) -> None:
        """So many came back with an answer."""
        self.most = min(MOST, self.most + answered)
        self.left = min(self.most, self.left + 2 * answered)
