"""The ready queue: units that want copies sent, in memory, so that "nothing for you" costs no disk.

It is a hint. The tables have the last word inside the commit that leases; a copy that was chosen is out of the queue
at once, so calls decided in one commit never choose the same one. After the commit the queue is told how each changed
unit stands (`put`), and which copies of a choice were not leased after all (`give_back`).

Each run has room for a number of units; what does not fit stays in the tables and is fetched run by run when there
is room (`runs_to_refill`, `refill`), so that a big old run never keeps a new one out.

A copy of a unit that somebody else has a copy of stands anywhere among those that wait: whoever calls next must not be
sure to be the one who confirms what the last caller got, nor who decides between two answers as soon as they differ.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from random import Random, SystemRandom
from typing import Final

from dsage.errors import NotFound
from dsage_server.scheduling.line import Entry, Lane, RunQueue
from dsage_server.scheduling.resting import Resting
from dsage_server.scheduling.tail import Tail
from dsage_server.scheduling.terms import Choice, ReadyUnit, RunTerms

CAPACITY: Final = 50_000
"""Units in all, about: runs that had more room before others came keep what they have until it is handed out."""
RUN_CAPACITY: Final = 4_000
RUN_FLOOR: Final = 50
"""A full call's worth: however many runs there are, each has this much room."""
CROWD: Final = 16
"""Where fewer units of a run wait for their first copy there is no crowd to stand in."""
MAX_LANES: Final = 64
"""Different needs in one run, before those of which nothing waits are forgotten."""
MAX_PROJECTS: Final = 20
"""Projects that an answer names which have nothing waiting."""


class ReadyQueue:
    """Ready units by run and needs. `unsent` counts the copies that may be handed out to any host."""

    def __init__(self, rng: Random | None = None) -> None:
        self._rng = rng or SystemRandom()
        self.runs: dict[int, RunQueue] = {}
        self.unsent = 0
        self.woken: dict[int, RunTerms] = {}
        """Runs that had nothing waiting and have something now, until a choice takes note."""
        self.ended: list[int] = []
        self.tail = Tail()
        self.resting = Resting()
        self.paused: dict[int, str] = {}
        """The projects of runs that are paused."""
        self._entries: dict[int, Entry] = {}
        self._short: set[int] = set()
        self._number = 0
        self._lanes = 0
        self._room = RUN_CAPACITY
        self._projects: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return sum(run.units for run in self.runs.values())

    # -- runs --------------------------------------------------------------------------------------------------

    def open_run(self, terms: RunTerms, *, in_tables: bool = False) -> None:
        """Make a run known before its units are put; `in_tables`: it may have ready units that nobody has put."""
        if terms.run in self.runs:
            return
        self.paused.pop(terms.run, None)
        self.runs[terms.run] = RunQueue(terms, more=in_tables)
        if in_tables:
            self._short.add(terms.run)
        self._count_runs()

    def close_run(self, run: int) -> None:
        """Forget a run that has ended or was paused, with all its units."""
        self.paused.pop(run, None)
        self.resting.forget(run)
        gone = self.runs.pop(run, None)
        if gone is None:
            return
        self._entries = {number: entry for number, entry in self._entries.items() if entry.unit.run != run}
        self.unsent -= gone.copies * gone.counts
        self._short.discard(run)
        self.woken.pop(run, None)
        self.ended.append(run)
        self._count_runs()

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects that have runs here, some of them if there are many."""
        if self._projects is None:
            self._projects = tuple(sorted({run.terms.project for run in self.runs.values()})[:MAX_PROJECTS])
        return self._projects

    def _count_runs(self) -> None:
        self._projects = None
        self._room = min(RUN_CAPACITY, max(RUN_FLOOR, CAPACITY // max(1, len(self.runs))))

    # -- units -------------------------------------------------------------------------------------------------

    def put(self, unit: ReadyUnit) -> None:
        """Bring the queue up to date with a unit as it stands in the tables. Raises NotFound for an unknown run."""
        entry = self._entries.get(unit.unit)
        if entry is None:
            if unit.unsent > 0:
                self._enlist(unit, ())
            return
        held = tuple(v for v in entry.held if v not in unit.barred) if entry.held else ()
        unsent = unit.unsent - len(held)
        known = entry.unit
        stays = entry.line.first or not unit.freed
        if (
            unsent > 0
            and entry.unsent
            and stays
            and known.barred <= unit.barred
            and known.kin <= unit.kin
            and unit.needs == known.needs
        ):
            run = self.runs[unit.run]
            run.copies += unsent - entry.unsent
            self.unsent += (unsent - entry.unsent) * run.counts
            if entry.fresh and unit.barred:
                self._sent_first(entry, run)
            entry.unit, entry.unsent, entry.held = unit, unsent, held
            return
        self._delist(entry)
        if unsent > 0:
            self._enlist(unit, held)
        elif held:
            entry.unit, entry.held = unit, held
            self._entries[unit.unit] = entry

    def rest(self, unit: int, run: int, failures: int, now: float) -> None:
        """Take out a unit of which a copy failed, until it has rested (`resting.over`); `now` is in seconds."""
        self.drop(unit)
        self.resting.begin(unit, run, failures, now)

    def drop(self, unit: int) -> None:
        """A unit wants no more copies."""
        entry = self._entries.get(unit)
        if entry is not None:
            self._delist(entry)

    def reserve(self, entries: Iterable[Entry], volunteer: int) -> None:
        """Take one copy of each entry for a volunteer, until the tables have told."""
        begun = []
        for entry in entries:
            entry.held = (*entry.held, volunteer)
            entry.unsent -= 1
            run = entry.line.lane.run
            run.copies -= 1
            self.unsent -= run.counts
            if entry.fresh:
                self._sent_first(entry, run)
                begun.append(entry)
            if not entry.unsent:
                run.units -= 1
                entry.line.lost()
                if run.more:
                    self._look_for_more(run)
        for entry in begun:
            if entry.unsent and entry.line.lane.run.fresh >= CROWD:
                unsent = entry.unsent
                self._delist(entry)
                self._list(entry.unit, unsent, entry.held, first=False)

    def give_back(self, choice: Choice, leased: Collection[int] = ()) -> None:
        """What was chosen was not leased, except for the units named: the other copies go first now."""
        for copy in choice.copies:
            entry = self._entries.get(copy.unit)
            if copy.unit in leased or entry is None or choice.volunteer not in entry.held:
                continue
            held = list(entry.held)
            held.remove(choice.volunteer)
            unsent = entry.unsent + 1
            self._delist(entry)
            self._list(entry.unit, unsent, tuple(held), first=True)

    # -- the tables --------------------------------------------------------------------------------------------

    def runs_to_refill(self) -> list[tuple[int, int, int]]:
        """Return (run, above which unit id, how many at most) of runs with room whose tables hold more.

        Each is named once, until `refill` has been called for it, be it with nothing.
        """
        if not self._short:
            return []
        found: list[tuple[int, int, int]] = []
        for number in self._short:
            run = self.runs[number]
            if run.more and run.asked is None:
                run.asked, run.left = run.above, False
                found.append((number, run.above, self._room - run.units))
        self._short.clear()
        return found

    def refill(self, number: int, units: Sequence[ReadyUnit], *, complete: bool) -> None:
        """Take the ready units of a run that follow, by rising id; `complete`: the tables hold no more of them.

        If the tables could not be asked: no units, not complete.
        """
        run = self.runs.get(number)
        if run is None or run.asked is None:
            return
        reached, run.asked = run.above == run.asked, None
        for unit in units:
            if run.units >= self._room:
                complete = False
                break
            if unit.unit not in self._entries:
                self._list(unit, unit.unsent, (), first=unit.freed)
            if reached:
                run.above = max(run.above, unit.unit)
        run.more = run.left or not reached or not complete
        if run.more:
            self._look_for_more(run)

    def more(self, number: int, *, anew: bool = False) -> None:
        """The tables may hold ready units of a run that nobody has put; `anew`: below those that were put, too."""
        run = self.runs.get(number)
        if run is None:
            return
        run.more = True
        run.above = 0 if anew else run.above
        run.left = run.asked is not None
        self._look_for_more(run)

    def surrender(self, *, everything: bool = False) -> list[tuple[int, int]]:
        """Take half of the units out, the youngest, or all, for a process that has none; return (unit, run)."""
        here = [e for e in self._entries.values() if e.unsent and not e.held and not e.unit.accepted]
        given = here if everything else here[len(here) // 2 :]
        for entry in given:
            self._delist(entry)
            self.runs[entry.unit.run].more = True
        return [(entry.unit.unit, entry.unit.run) for entry in given]

    # -- inside ------------------------------------------------------------------------------------------------

    def _enlist(self, unit: ReadyUnit, held: tuple[int, ...]) -> None:
        """List a unit, or leave it in the tables: what lies beyond what was fetched, or has no room."""
        run = self.runs.get(unit.run)
        if run is None:
            raise NotFound(f"run {unit.run} of unit {unit.unit} was not opened in the ready queue")
        beyond = unit.unit > run.above
        if not unit.accepted:
            if (beyond and run.more) or run.units >= (self._room if beyond else 2 * self._room):
                run.more = run.left = True
                run.above = min(run.above, unit.unit - 1)
                self._look_for_more(run)
                return
            run.above = max(run.above, unit.unit)
        self._list(unit, unit.unsent - len(held), held, first=unit.freed or not beyond)

    def _list(self, unit: ReadyUnit, unsent: int, held: tuple[int, ...], *, first: bool) -> None:
        run = self.runs[unit.run]
        lane = self._lane(run, unit)
        lane.least_s = min(lane.least_s, unit.work_s) if lane.alive else unit.work_s
        self._number += 1
        anywhere = bool(held or unit.barred) and run.fresh >= CROWD
        line = lane.first if first and not anywhere else lane.rest
        entry = self._entries[unit.unit] = Entry(unit, unsent, held, line, self._number)
        line.add(entry)
        run.newest = self._number
        if not run.copies:
            self.woken[unit.run] = run.terms
        if entry.fresh:
            run.fresh += 1
            run.dry = math.inf
        run.units += 1
        run.copies += unsent
        self.unsent += unsent * run.counts
        other = line.fresh(self._rng) if anywhere else None
        if other is not None:
            entry.change_places(other)
            self._entries[entry.unit.unit], self._entries[unit.unit] = entry, other

    def _delist(self, entry: Entry) -> None:
        del self._entries[entry.unit.unit]
        if not entry.unsent:
            return
        run = entry.line.lane.run
        run.units -= 1
        run.copies -= entry.unsent
        self.unsent -= entry.unsent * run.counts
        if entry.fresh:
            self._sent_first(entry, run)
        entry.unsent = 0
        entry.line.lost()
        if run.more:
            self._look_for_more(run)

    def _look_for_more(self, run: RunQueue) -> None:
        """Have a run refilled whose tables hold more, if it is less than half full."""
        if run.asked is None and run.units * 2 < self._room:
            self._short.add(run.terms.run)

    def _sent_first(self, entry: Entry, run: RunQueue) -> None:
        entry.fresh = False
        run.fresh -= 1

    def _lane(self, run: RunQueue, unit: ReadyUnit) -> Lane:
        lane = run.lanes.get(unit.needs)
        if lane is None:
            if len(run.lanes) >= MAX_LANES:
                run.lanes = {needs: lane for needs, lane in run.lanes.items() if lane.alive}
            self._lanes += 1
            lane = run.lanes[unit.needs] = Lane(run, unit, self._lanes)
        return lane
