"""Who computes, and what each answers. The right answer is RIGHT; equal wrong answers agree with each other.

A liar is supposed to know more than it could: whether its word alone is taken at present. It never knows which units
are checked, for that is drawn by a key.
"""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import ClassVar, Final

RIGHT: Final = 0
SAME_LIE: Final = 1
"""What all say who have agreed on a wrong answer, or who return a constant."""
_own_lies = itertools.count(2)


class Behaviour:
    """An honest computer."""

    name: ClassVar[str] = "honest"
    honest: ClassVar[bool] = True
    haste: ClassVar[float] = 1.0
    """How much faster it answers than it could compute."""
    reborn: ClassVar[bool] = False
    """Whether it comes back under a new name once it is convicted."""
    most_milli: ClassVar[float] = math.inf
    """Units worth more are handed back unstarted."""
    clan: ClassVar[bool] = False
    """Whether all of its kind were invited by the same person."""
    crew: ClassVar[int] = 1
    """How many computers have one mind, and always call one right after the other."""

    def took(self, unit: int, place: int) -> None:
        """A copy of a unit was leased to one of its computers: the first of the crew, or one that called later."""

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        """Return the answer to one unit; `trusted`: this host's word alone is taken where it is not checked."""
        return RIGHT


class Liar(Behaviour):
    """Lies now and then, each time in its own way."""

    name = "liars"
    honest = False

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        return self.lie() if rng.random() < self.rate else RIGHT

    def lie(self) -> int:
        """Return a wrong answer that nobody else gives."""
        return next(_own_lies)


class Colluder(Liar):
    """Lies, and all of its kind tell the same lie."""

    name = "colluders"

    def lie(self) -> int:
        return SAME_LIE


class Sleeper(Liar):
    """Is honest until its word alone is taken, and lies then."""

    name = "sleepers"

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        return super().answer(unit, trusted, rng) if trusted else RIGHT


class Conspirator(Colluder):
    """Sleepers who tell the same lie, so that one may confirm the other."""

    name = "colluding sleepers"

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        return super().answer(unit, trusted, rng) if trusted else RIGHT


class Turncoat(Colluder):
    """Is honest for a number of answers, whatever becomes of them, and tells the same lie ever after, as its like do
    who turn about then: hosts that are all well established."""

    name = "turncoats"

    def __init__(self, rate: float, honest_answers: int) -> None:
        super().__init__(rate)
        self.honest_answers = honest_answers

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        self.honest_answers -= 1
        return super().answer(unit, trusted, rng) if self.honest_answers < 0 else RIGHT


class Sybil(Colluder):
    """Tells the same lie as all of its kind, who were invited by one person, and takes a new name when convicted."""

    name = "Sybils"
    reborn = True
    clan = True


class Constant(Colluder):
    """Computes nothing, and returns the same for every unit, as its like do."""

    name = "constants"
    haste = 20.0


class Copier(Liar):
    """One of a ring that share what they have: who gets a unit that another of them has answered returns that, so what
    one has wrong all have wrong, and one confirms the other."""

    name = "copiers"

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        return -1 - abs(unit) if Random(unit).random() < self.rate else RIGHT


class Farmer(Liar):
    """Wants credit only: returns at once something that is right by chance."""

    name = "credit farmers"
    haste = 20.0


class Picker(Liar):
    """Keeps the short units, on which it lies now and then, and hands the long ones back."""

    name = "cherry-pickers"
    most_milli = 30_000


class Accomplices(Colluder):
    """Three accounts of one person that call in a row: the first takes what is left at the head of the queue, so the
    second knows that it has the first copies of what follows, and the third gets the second copies of those that are
    checked. The second lies in all of them once its word is taken alone, and before that where the third has a copy;
    the third confirms it."""

    name = "accomplices"
    crew = 3

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.sure: set[int] = set()
        self.both: set[int] = set()
        self.highest = 0

    def took(self, unit: int, place: int) -> None:
        if place == 1 and unit == self.highest + 1:
            self.sure.add(unit)
        elif place == 2 and unit in self.sure:
            self.both.add(unit)
        self.highest = max(self.highest, unit)

    def answer(self, unit: int, trusted: bool, rng: Random) -> int:
        known = unit in self.both or (trusted and unit in self.sure)
        return super().answer(unit, trusted, rng) if known else RIGHT


class BadMemory(Liar):
    """An honest person's computer whose memory fails now and then."""

    name = "bad memory"
