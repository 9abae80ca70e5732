"""Hosted runs in the tables: which there are, which server process drives which, and who takes them over.

A process of several that share a database claims a run under its number and the time when it got it. A claim holds
for as long as that process lives; the fence of each run has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, select, update

from dsage.errors import Conflict, NotAllowed, NotFound
from dsage.states import OPEN_RUNS, RunState
from dsage_server.sentences import news, reasons
from dsage_server.store.dialect import upsert
from dsage_server.store.events import note
from dsage_server.store.processes import GONE_S, Place
from dsage_server.store.schema import meta, process, run

REMEMBERED: Final = "hosting"
"""Under this name it is remembered whether some process can host: "on" or "off"."""
HOSTED: Final = ("hosted",)
"""What is called when a run becomes hosted, for the keeper that waits."""
CLAIM: Final = "hosting "
"""Begins the name of a claim among the remembered values; the run's number ends it."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A run to drive: `researcher` is the key of whose it is, `authorisation` the hash of what allows it."""

    run: int
    researcher: bytes
    authorisation: str


def hosted(connection: Connection) -> list[Hosted]:
    """Return the hosted runs that go on, oldest first."""
    query = select(run.c.id, run.c.researcher, run.c.authorisation).where(
        run.c.state == RunState.RUNNING.value, run.c.hosted
    )
    return [Hosted(*row) for row in connection.execute(query.order_by(run.c.id))]


def free(connection: Connection, numbers: Iterable[int], place: Place, now: float) -> list[int]:
    """Return those of `numbers` that no other living process has claimed."""
    others = set(_living(connection, now)) - {_name(place)}
    held = connection.execute(select(meta.c.name).where(meta.c.name.startswith(CLAIM), meta.c.value.in_(others)))
    taken = set(held.scalars())
    return [number for number in numbers if f"{CLAIM}{number}" not in taken]


def claim(connection: Connection, numbers: Iterable[int], place: Place, now: float) -> set[int]:
    """Claim runs that no living process has, and return those of `numbers` that are this process's."""
    mine, living = _name(place), _living(connection, now)
    names = {f"{CLAIM}{number}": number for number in numbers}
    for name in names:
        entry = upsert(connection, meta).values(name=name, value=mine)
        free = meta.c.value.not_in(living)
        connection.execute(entry.on_conflict_do_update(index_elements=["name"], set_={"value": mine}, where=free))
    held = connection.execute(select(meta.c.name).where(meta.c.name.in_(list(names)), meta.c.value == mine))
    return {names[name] for name in held.scalars()}


def release(connection: Connection, place: Place, number: int | None = None) -> None:
    """Give the claim on a run back, or (None) on all of this process's."""
    which = meta.c.name.startswith(CLAIM) if number is None else meta.c.name == f"{CLAIM}{number}"
    connection.execute(delete(meta).where(which, meta.c.value == _name(place)))


def taken_over(connection: Connection, number: int, *, by_server: bool, now: float) -> None:
    """A driver takes a run: if it is not the server's own, the run is hosted no more, until its researcher asks.

    Raises Conflict if it is the server's and the run is not hosted (any more).
    """
    is_hosted = connection.execute(select(run.c.hosted).where(run.c.id == number)).scalar()
    if by_server and not is_hosted:
        raise Conflict(f"run {number} is not hosted any more")
    if is_hosted and not by_server:
        unhost(connection, number, reasons.DRIVEN(), now)


def unhost(connection: Connection, number: int, reason: str, now: float) -> None:
    """Let a run be hosted no more; whoever has the researcher's key may drive it."""
    if connection.execute(update(run).where(run.c.id == number, run.c.hosted).values(hosted=False)).rowcount:
        note(connection, now, "unhosted", news.UNHOSTED(run=number, why=reason), run=number)


def host(connection: Connection, number: int, researcher: bytes, now: float) -> None:
    """Let the server drive a run. Raises NotFound, NotAllowed, or Conflict if it has ended."""
    row = connection.execute(select(run.c.researcher, run.c.state, run.c.hosted).where(run.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no run {number}")
    if row.researcher != researcher:
        raise NotAllowed(f"run {number} belongs to another researcher")
    if RunState(row.state) not in OPEN_RUNS:
        raise Conflict(f"run {number} is {row.state}")
    if not row.hosted:
        connection.execute(update(run).where(run.c.id == number).values(hosted=True))
        note(connection, now, "hosted", news.HOSTED(run=number), run=number)


def _living(connection: Connection, now: float) -> list[str]:
    """Return how the claims of the processes that live are signed."""
    rows = connection.execute(select(process.c.id, process.c.started).where(process.c.seen >= now - GONE_S))
    return [_name(Place(row.id, row.started)) for row in rows]


def _name(place: Place) -> str:
    return f"{place.slot} {place.started!r}"
