"""What a researcher does with a run of theirs: pause it, let it go on, try failed units again, retire it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from dsage.errors import Conflict
from dsage.states import RunState, UnitState, move
from dsage_server.sentences import news
from dsage_server.sentences.sentence import Sentence
from dsage_server.store import projects, runs, steps, units
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.events import note
from dsage_server.store.schema import among, archive, run, unit
from dsage_validator import life


def pause(connection: Connection, number: int, researcher: bytes, now: float) -> bool:
    """Let a run give out no more work; say whether it did until now. Raises Conflict if it has ended."""
    return _turn(connection, number, researcher, RunState.PAUSED, news.PAUSED, now)


def resume(connection: Connection, number: int, researcher: bytes, now: float) -> bool:
    """Let a paused run go on; say whether it was paused.

    Raises Conflict if it has ended, NotAllowed if it waits for approval.
    """
    projects.check_approved(connection, number)
    changed = _turn(connection, number, researcher, RunState.RUNNING, news.RESUMED, now)
    if connection.info.get("slot"):
        connection.execute(_UNCLAIM, {"run": number})
    return changed


def retry(
    connection: Connection, number: int, researcher: bytes, chosen: Sequence[int], now: float
) -> list[units.Changed]:
    """Try failed units again: the chosen ones, or all whose failure no step has folded; a failed run goes on.

    Then what its end cancelled is open again, too. A chosen unit whose failure was folded is heard of once more.
    Raises Conflict if the run cannot go on, or a chosen unit has not failed.
    """
    projects.check_approved(connection, number)
    row = _locked(connection, number, researcher)
    if row.state in (RunState.DONE, RunState.CANCELLED):
        raise Conflict(f"run {number} is {row.state}", hint="Submit it again: only what failed can be tried again.")
    if connection.execute(select(archive.c.run_id).where(archive.c.run_id == number)).first() is not None:
        raise Conflict(f"the units of run {number} lie in an archive", hint="Submit it again.")
    wanted = _failed(connection, number, chosen)
    again = len(wanted)
    if row.state == RunState.FAILED:
        wanted += _cancelled_at(connection, number, row.finished)
        state = move(RunState(row.state), RunState.RUNNING)
        values = {"state": state.value, "reason": "", "finished": None, "retired": None}
        connection.execute(update(run).where(run.c.id == number).values(**values))
    if chosen:
        connection.execute(_UNFOLD, {"ids": numbers(connection, wanted[:again])})
    if again or row.state == RunState.FAILED:
        sentence = news.TAKEN_UP if row.state == RunState.FAILED else news.RETRIED
        note(connection, now, "retried", sentence(run=number, n=again), run=number)
    book = units.Book.of(connection, wanted)
    for unit_id, current in book.now.items():
        book.now[unit_id] = life.retried(current)
    return book.write(now)


def retire(connection: Connection, number: int, researcher: bytes, now: float) -> bool:
    """Ask for a run's rows to be archived as soon as can be; say whether that is news. Raises Conflict if it has not
    ended."""
    row = _locked(connection, number, researcher)
    if row.finished is None:
        raise Conflict(f"run {number} is {row.state}", hint=f"`dsage cancel {number}` ends it.")
    filed = connection.execute(select(archive.c.cleared).where(archive.c.run_id == number)).first()
    if row.retired is not None or (filed is not None and filed.cleared is not None):
        return False
    connection.execute(update(run).where(run.c.id == number).values(retired=now))
    note(connection, now, "retired", news.RETIRED(run=number), run=number)
    return True


def _turn(connection: Connection, number: int, researcher: bytes, to: RunState, sentence: Sentence, now: float) -> bool:
    row = _locked(connection, number, researcher)
    if row.state == to:
        return False
    if row.finished is not None:
        raise Conflict(f"run {number} is {row.state}", hint=f"`dsage show {number}` says more.")
    state = move(RunState(row.state), to)
    connection.execute(update(run).where(run.c.id == number).values(state=state.value))
    kind = "paused" if to is RunState.PAUSED else "resumed"
    note(connection, now, kind, sentence(run=number), run=number)
    return True


def _locked(connection: Connection, number: int, researcher: bytes) -> Any:
    runs.check_owner(connection, number, researcher)
    query = select(run.c.state, run.c.finished, run.c.retired).where(run.c.id == number)
    return connection.execute(query.with_for_update(key_share=True)).one()


def _failed(connection: Connection, number: int, chosen: Sequence[int]) -> list[int]:
    if not chosen:
        return list(connection.execute(_UNFOLDED_FAILURES, {"run": number}).scalars())
    query = select(unit.c.id).where(
        among_ids(unit.c.id), unit.c.run_id == number, unit.c.state == UnitState.FAILED.value, steps.IS_LIVE
    )
    found = set(connection.execute(query, {"ids": numbers(connection, chosen)}).scalars())
    other = sorted(set(chosen) - found)
    if other:
        raise Conflict(f"unit {other[0]} is no failed unit of run {number}", hint="Name failed units, or none for all.")
    return sorted(found)


def _cancelled_at(connection: Connection, number: int, finished: float) -> list[int]:
    """Return the units that were cancelled because the run ended, and not by an earlier step of its driver."""
    cancelled = unit.c.state == UnitState.CANCELLED.value
    query = select(unit.c.id).where(
        unit.c.run_id == number, cancelled, unit.c.finished == finished, unit.c.folded_step.is_(None)
    )
    return list(connection.execute(query).scalars())


_UNFOLDED_FAILURES = select(unit.c.id).where(
    unit.c.run_id == bindparam("run"),
    among(unit.c.state, ["valid", "failed"]),
    unit.c.state == UnitState.FAILED.value,
    unit.c.folded_step.is_(None),
)
_UNCLAIM = (
    update(unit)
    .where(unit.c.run_id == bindparam("run"), unit.c.state == "ready", unit.c.claimed_until.is_not(None))
    .values(claimed_until=None)
)
"""The processes that had claimed units of a run forgot them when it was paused."""
_UNFOLD = update(unit).where(among_ids(unit.c.id)).values(folded_step=None)
