"""What anybody may know of a run: what pages show, and what the machine API tells whoever is none of its researchers.

Until a unit is over (over.py) nothing of it is told: not that answers differ, how many copies are out, or who found it.
A run's own researcher, and those whose keys are certified for its project, are told all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, or_, select

from dsage import wire
from dsage.states import OPEN_RUNS, OPEN_UNITS, UnitState
from dsage_server.store import events, views
from dsage_server.store.over import over
from dsage_server.store.schema import among, event, run

FEW: Final = 20
"""Counts of fewer units that go on would tell how each of them stands, and so who is being checked."""
NEEDS: Final = "needs a volunteer besides those whose computers are here now"
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
    """Who asks: a researcher by key, with the projects that it is certified for, or the hosted driver of one `run`."""

    key: bytes = b""
    projects: frozenset[str] = frozenset()
    run: int = 0


def whole(connection: Connection, reader: Reader, wanted: Iterable[int]) -> set[int]:
    """Return those of some runs of which somebody is told all."""
    if reader.run:
        return {reader.run}.intersection(wanted)
    own = or_(run.c.researcher == reader.key, run.c.project.in_(sorted(reader.projects)))
    return set(connection.execute(select(run.c.id).where(run.c.id.in_(list(wanted)), own)).scalars())


def counts(units: dict[str, int], replicas: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return counts of units and copies by state as anybody may read them: while few units go on, what these are in
    detail is not told."""
    going = sum(units.get(state, 0) for state in OPEN_UNITS)
    if not 0 < going < FEW:
        return units, replicas
    return {state: n for state, n in units.items() if state not in OPEN_UNITS} | {UnitState.ACTIVE.value: going}, {}


def reason(told: str) -> str:
    """Return why a run waits, without the unit that it waits for."""
    return NEEDS if told.startswith("needs ") else told


def view(seen: wire.RunView) -> wire.RunView:
    """Return a run as anybody may see it."""
    units, replicas = counts(seen.units, seen.replicas)
    return msgspec.structs.replace(seen, units=units, replicas=replicas, reason=reason(seen.reason))


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
