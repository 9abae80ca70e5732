"""The days of the ledger, one after the other: what the played runs paid, what the archived ones did, corrections."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from dsage_server.seeding import words
from dsage_server.seeding.ledger import Entry, Grant, Ledger, Work
from dsage_server.seeding.people import DAY_S, Crowd, Machine, Size
from dsage_server.seeding.plans import SHARES, Old

CALL: Final = 10
"""Copies of archived runs that were found valid together at most."""
TAKEN_BACK: Final = 0.0004
CORRECTED: Final = 0.0002
LIAR_TAKEN_BACK: Final = 0.05


class History:
    """`day` writes what a day brings to the ledger; `copies` is where the numbers of archived copies begin."""

    def __init__(
        self, crowd: Crowd, size: Size, old: list[tuple[Old, Work]], grants: list[Grant], *, seed: int, now: float
    ) -> None:
        self._crowd, self._old, self._now = crowd, old, now
        self._grants = sorted(grants, key=lambda grant: (grant.at, grant.copies.start))
        self._given = 0
        self._rng = random.Random(f"{seed}/history")
        self.copies = 0
        self.days = range(int((now - size.days * DAY_S) // DAY_S), int(now // DAY_S) + 1)
        speeds = sum(self._speed(day) for day in self.days)
        self._a_core = max(size.ledger - len(grants), 0) / speeds if speeds else 0.0
        """Rows for each core of the reference machine that is there for a day."""

    def day(self, day: int, ledger: Ledger) -> None:
        """Write a day's grants in the order of time, and what is corrected at its end."""
        before = self._given
        while self._given < len(self._grants) and self._grants[self._given].at < (day + 1) * DAY_S:
            self._given += 1
        today = sorted([*self._archived(day), *self._grants[before : self._given]], key=lambda grant: grant.at)
        last = min((day + 1) * DAY_S - 1.0, self._now)
        entries = [ledger.grant(each) for each in today]
        for entry in self._doubted(entries):
            ledger.take_back(entry, last, self._rng.choice(words.REVERSED), words.RETIRED_BY)
        self._correct(ledger, entries, last)

    def _speed(self, day: int) -> float:
        cumulated = self._crowd.present(day).cumulated
        share = min(max((self._now - day * DAY_S) / DAY_S, 0.0), 1.0)
        return cumulated[-1] * share if cumulated and self._running(day) else 0.0

    def _running(self, day: int) -> list[tuple[Old, Work]]:
        return [each for each in self._old if each[0].begins <= day * DAY_S < each[0].ends - DAY_S / 8]

    def _archived(self, day: int) -> Iterator[Grant]:
        """Return what the archived runs paid on a day."""
        rng, running = self._rng, self._running(day)
        if not running:
            return
        shares = [SHARES[old.project.name] for old, _ in running]
        start = day * DAY_S
        for machine in self._crowd.present(day).machines:
            left = min(self._now, start + DAY_S) - start
            rows = int(machine.speed * self._a_core * left / DAY_S + rng.random())
            while rows > 0:
                old, work = rng.choices(running, shares)[0]
                many = min(rows, CALL)
                rows -= many
                at = start + rng.random() * (min(left, old.ends - start) - 1.0)
                worth = round(1000 * old.credit * rng.uniform(0.8, 1.25))
                yield Grant(at, machine, work, self._numbered(old, machine, many), worth)

    def _numbered(self, old: Old, machine: Machine, many: int) -> range:
        """Number copies of an archived run; nobody else has these numbers."""
        first = self.copies + 1
        self.copies += many
        old.copies += many
        old.people.add(machine.owner.id)
        return range(first, first + many)

    def _doubted(self, entries: list[Entry]) -> Iterator[Entry]:
        for entry in entries:
            likely = LIAR_TAKEN_BACK if entry.grant.machine.nature == "liar" else TAKEN_BACK
            if entry.grant.machine.nature != "honest" and self._rng.random() < likely:
                yield entry

    def _correct(self, ledger: Ledger, entries: list[Entry], at: float) -> None:
        for _ in range(sum(self._rng.random() < CORRECTED for _ in range(min(len(entries), 5000)))):
            person = self._rng.choice(entries).grant.machine.owner.id
            given = self._rng.random() < 0.8
            amount = round(1000 * self._rng.uniform(2, 60))
            text = self._rng.choice(words.GIVEN if given else words.TAKEN)
            ledger.correct(person, amount if given else -amount, at, text, words.OPERATOR)
