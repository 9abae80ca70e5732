"""What anybody may know of a run: what pages show, and what the machine API tells whoever is none of its researchers.

Until a unit is over (over.py) nothing of it is told: not that answers differ, how many copies are out, or who found it.
A run's own researcher, and those whose keys are certified for its project, are told all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select

from dsage import wire
from dsage.states import OPEN_RUNS, OPEN_UNITS, UnitState
from dsage_server.sentences import reasons
from dsage_server.store import events, views
from dsage_server.store.over import over
from dsage_server.store.schema import among, event, run, tally

FEW: Final = 20
"""Counts of fewer units that go on would tell how each of them stands, and so who is being checked."""
NEEDS: Final = reasons.NEEDS()
INSTEAD: Final = {
    "needs ": NEEDS, "its researcher paused it": reasons.PAUSED_FOR_ALL(), "its driver is away": reasons.AWAY_FOR_ALL(),
}  # fmt: skip
"""What others are told of why a run waits, by how the researcher's sentence begins."""
OF_RUNS: Final = (
    "approved", "archived", "cancelled", "corrected", "correcting", "correction",
    "discovery", "done", "failed", "hosted", "paused", "replayed", "resumed", "retired", "retried", "running",
    "submitted", "unhosted",
)  # fmt: skip
"""Kinds of events that tell of the run, and of none of its units; so do those that begin with APP."""
APP: Final = "app-"
MOST_NAMED: Final = 100
"""Volunteers named with their credit for a run."""
IS_OF_RUN: Final = and_(event.c.unit_id.is_(None), or_(among(event.c.kind, OF_RUNS), event.c.kind.startswith(APP)))
"""The condition for an event of a run that anybody may read."""


class Reader(NamedTuple):
    """Who asks: a researcher by key, with the projects that it is certified for, the hosted driver of one `run`, or
    (none of them) anybody."""

    key: bytes = b""
    projects: frozenset[str] = frozenset()
    run: int = 0

    def owns(self) -> ColumnElement[bool]:
        """Return the condition for the runs of which this reader is told all."""
        if self.run:
            return run.c.id == self.run
        return or_(run.c.researcher == self.key, run.c.project.in_(sorted(self.projects))) if self.key else false()


ANYBODY: Final = Reader()


def whole(connection: Connection, reader: Reader, wanted: Iterable[int]) -> set[int]:
    """Return those of some runs of which a reader is told all."""
    if reader == ANYBODY:
        return set()
    return set(connection.execute(select(run.c.id).where(run.c.id.in_(list(wanted)), reader.owns())).scalars())


def counts(units: dict[str, int], replicas: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return counts of units and copies by state as anybody may read them: while few units go on, what these are in
    detail is not told."""
    going = sum(units.get(state, 0) for state in OPEN_UNITS)
    if not 0 < going < FEW:
        return units, replicas
    return {state: n for state, n in units.items() if state not in OPEN_UNITS} | {UnitState.ACTIVE.value: going}, {}


def reason(told: str) -> str:
    """Return why a run waits, without the unit that it waits for and the command that only its researcher may give."""
    return next((said for begins, said in INSTEAD.items() if told.startswith(begins)), told)


def view(seen: wire.RunView) -> wire.RunView:
    """Return a run as anybody may see it."""
    units, replicas = counts(seen.units, seen.replicas)
    return msgspec.structs.replace(seen, units=units, replicas=replicas, reason=reason(seen.reason))


def views_of(connection: Connection, seen: Iterable[wire.RunView], reader: Reader) -> list[wire.RunView]:
    """Return runs as a reader may see each of them."""
    found = list(seen)
    told = whole(connection, reader, [each.run for each in found])
    return [each if each.run in told else view(each) for each in found]


class Going(NamedTuple):
    """A run that goes on: its counts of units and of copies by state, as they are."""

    run: int
    project: str
    units: dict[str, int]
    replicas: dict[str, int]


def going(connection: Connection) -> list[Going]:
    """Return every run that goes on."""
    sums: defaultdict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for number, project, what, n in connection.execute(_GOING):
        sums[number, project][what] = int(n)
    return [
        Going(number, project, views.by_state(some, "unit"), views.by_state(some, "replica"))
        for (number, project), some in sums.items()
    ]


def told(
    units: dict[str, int], replicas: dict[str, int], parts: Iterable[Going]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return sums over runs, some of which go on, as anybody may read them.

    What is not told of single runs is not in the sums either: who knows all the others would subtract them.
    """
    sums = Counter(units), Counter(replicas)
    for each in parts:
        for total, was, shown in zip(sums, each[2:], counts(each.units, each.replicas), strict=True):
            total.subtract(was)
            total.update(shown)
    of_units, of_replicas = ({state: n for state, n in total.items() if n > 0} for total in sums)
    return of_units, of_replicas


def status(connection: Connection, seen: wire.StatusView, reader: Reader = ANYBODY) -> wire.StatusView:
    """Return the server at a glance as a reader may see it."""
    some = going(connection)
    own = whole(connection, reader, [each.run for each in some])
    units, replicas = told(seen.units, seen.replicas, [each for each in some if each.run not in own])
    runs = views_of(connection, seen.runs, reader)
    return msgspec.structs.replace(seen, units=units, replicas=replicas, runs=runs)


def news(connection: Connection, number: int, after: int) -> list[wire.Event]:
    """Return what happened to a run, and to none of its units, after an event, oldest first."""
    return events.since(connection, after, IS_OF_RUN, run=number)


def finders(connection: Connection, number: int, units: Sequence[int], now: float) -> list[wire.Finder]:
    """Return whose machine brought the accepted answers of those of some units of a run that are over."""
    return views.finders(connection, number, sorted(over(connection, units, now)))


def credit(connection: Connection, seen: wire.RunView) -> dict[str, int]:
    """Return thousandths of credit by pseudonym for a run; nobody's until FEW of its units are valid or it has ended,
    for whoever is paid first of few has just answered."""
    if seen.units.get(UnitState.VALID, 0) < FEW and seen.state in OPEN_RUNS:
        return {}
    return views.credit_of_run(connection, seen.run, MOST_NAMED)


_GOING: Final = (
    select(run.c.id, run.c.project, tally.c.what, func.sum(tally.c.n))
    .join(tally, tally.c.run_id == run.c.id)
    .where(among(run.c.state, OPEN_RUNS))
    .group_by(run.c.id, run.c.project, tally.c.what)
)
