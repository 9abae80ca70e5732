"""Waiting units in a row, of which each volunteer takes the first that are not barred to it.

A volunteer's next look begins where its last one ended: what it passed was taken, or was barred to it or its kin. That
stays true because a unit that is no longer barred to somebody is put at a line's end anew. So a volunteer with
thousands of copies out passes each once, not at every call.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from random import Random
from typing import Final

from dsage_server.scheduling.terms import NEWCOMER, Needs, ReadyUnit, RunTerms

SPARE: Final = 64
"""Dead entries that a line may hold beyond the number of live ones, before it is swept."""
AMONG: Final = 64
"""How far from the head a fresh unit is drawn: more than a call takes. From further away newcomers would wait longer to
be confirmed, which costs copies: 1.154 an answer instead of 1.147 in the simulator's honest world."""
TRIES: Final = 16
"""Places that are looked at for a fresh unit, before an entry stays where it is."""
MAX_PLACES: Final = 20_000
"""Volunteers whose places are remembered; then all begin at the head again, once."""


class Entry:
    """A unit in a line. It is dead once `unsent` is 0, and is never revived: a unit that comes back is a new entry."""

    __slots__ = ("denied", "fresh", "held", "line", "number", "unit", "unsent")

    def __init__(self, unit: ReadyUnit, unsent: int, held: tuple[int, ...], line: Line, number: int) -> None:
        self.unit = unit
        self.unsent = unsent
        self.held = held
        """Volunteers for whom a copy is reserved; the tables do not know of it yet."""
        self.line = line
        self.number = number
        self.fresh = not (held or unit.barred or unit.freed)
        """Whether no copy of it was ever sent."""
        self.denied = 0.0
        """When a slow host was first passed over for a faster one."""

    def change_places(self, other: Entry) -> None:
        """Let two entries of one line stand in each other's place."""
        self.unit, other.unit = other.unit, self.unit
        self.unsent, other.unsent = other.unsent, self.unsent
        self.held, other.held = other.held, self.held
        self.fresh, other.fresh = other.fresh, self.fresh
        self.denied, other.denied = other.denied, self.denied

    def open_to(self, volunteer: int, kin: frozenset[str]) -> bool:
        """Whether a volunteer may have a copy, as far as is known here."""
        unit = self.unit
        return volunteer not in unit.barred and volunteer not in self.held and kin.isdisjoint(unit.kin)


class Line:
    """Entries by rising number. `lane` and `first` are for the queue: whose line this is, and of which kind."""

    __slots__ = ("_entries", "_head", "_numbers", "_places", "alive", "first", "lane")

    def __init__(self, lane: Lane, *, first: bool) -> None:
        self.lane = lane
        self.first = first
        self.alive = 0
        self._entries: list[Entry] = []
        self._numbers: list[int] = []
        self._head = 0
        self._places: dict[tuple[int, frozenset[str]], int] = {}

    def add(self, entry: Entry) -> None:
        """Put an entry at the end; its number is higher than any before."""
        self._entries.append(entry)
        self._numbers.append(entry.number)
        self.alive += 1

    def fresh(self, rng: Random) -> Entry | None:
        """Return one of the first entries of which no copy was ever sent: no volunteer's place lies beyond it."""
        entries, head = self._entries, self._first_alive()
        among = min(AMONG, len(entries) - head)
        for _ in range(TRIES):
            entry = entries[head + int(rng.random() * among)]
            if entry.unsent and entry.fresh:
                return entry
        return None

    def lost(self) -> None:
        """One entry has died."""
        self.alive -= 1
        if len(self._entries) - SPARE > 2 * self.alive:
            self._entries = [entry for entry in self._entries if entry.unsent]
            self._numbers = [entry.number for entry in self._entries]
            self._head = 0

    def find(self, volunteer: int, want: int, kin: frozenset[str] = frozenset()) -> list[Entry]:
        """Return the first `want` entries for a volunteer, all of which it must take; `kin` as in its host's offer."""
        entries, numbers = self._entries, self._numbers
        place = self._places.get((volunteer, kin), 0)
        if not self.alive or numbers[-1] <= place:
            return []
        at = self._head = self._first_alive()
        if numbers[at] <= place:
            at = bisect_right(numbers, place, at)
        end = len(entries)
        found: list[Entry] = []
        while at < end:
            entry = entries[at]
            at += 1
            if entry.unsent and entry.open_to(volunteer, kin):
                found.append(entry)
                if len(found) == want:
                    break
        if len(self._places) >= MAX_PLACES:
            self._places.clear()
        self._places[volunteer, kin] = numbers[at - 1]
        return found

    def oldest(self) -> int:
        """Return the number of the first live entry; there is one."""
        return self._numbers[self._first_alive()]

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry in self._entries if entry.unsent)

    def _first_alive(self) -> int:
        at, entries = self._head, self._entries
        while not entries[at].unsent:
            at += 1
        return at


class Lane:
    """The waiting units of one run that have the same needs: those to go first, and the rest in their order."""

    __slots__ = ("first", "least_s", "needs", "rest", "run", "serial")

    def __init__(self, run: RunQueue, sample: ReadyUnit, serial: int) -> None:
        self.run = run
        self.needs = sample.needs
        self.serial = serial
        self.least_s = sample.work_s
        """Seconds of reference work in the smallest unit that was here since the lane was last empty."""
        self.first = Line(self, first=True)
        self.rest = Line(self, first=False)

    @property
    def alive(self) -> int:
        """How many units wait here."""
        return self.first.alive + self.rest.alive

    def oldest(self) -> int:
        """Return the number of what has waited longest; something does."""
        return self.rest.oldest() if self.rest.alive else self.first.oldest()


class RunQueue:
    """What waits of one run, and how far into the tables it reaches."""

    __slots__ = (
        "above",
        "asked",
        "copies",
        "counts",
        "dry",
        "fresh",
        "lanes",
        "left",
        "more",
        "newest",
        "terms",
        "units",
    )

    def __init__(self, terms: RunTerms, *, more: bool) -> None:
        self.terms = terms
        self.counts = NEWCOMER not in terms.tags
        """Whether its units are for any host, and so count as work that waits."""
        self.lanes: dict[Needs, Lane] = {}
        self.units = 0
        self.copies = 0
        self.fresh = 0
        """Units of which no copy was ever sent."""
        self.newest = 0
        """The number of the entry that was listed last."""
        self.dry = math.inf
        """When it was first seen to have no fresh units, if it has none."""
        self.more = more
        """Whether the tables hold ready units beyond `above`, the highest id that the queue has come to."""
        self.above = 0
        self.asked: int | None = None
        """`above` as it was when a refill was asked for that is under way."""
        self.left = False
        """Whether a unit was left in the tables since then."""
