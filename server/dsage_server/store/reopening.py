"""Answers that were accepted and do not hold: their units are asked again, and their runs taken back to before them.

An answer that was contested, and has more against it by now, gives way to the other one at once.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select, update

from dsage import wire
from dsage.errors import Conflict, NotFound
from dsage.states import OPEN_RUNS, OPEN_UNITS, RunState, UnitState, move
from dsage_server.sentences import news, reasons
from dsage_server.store import discoveries, ledger, runs, steps, tallies, units
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.events import note
from dsage_server.store.schema import among, archive, replica, run, unit
from dsage_validator import contest, life
from dsage_validator.reputation import supporters
from dsage_validator.unit import Unit

FELL: Final = reasons.FELL()
OVERRULED: Final = "others answered this unit later, and agree on another answer than yours"


def reopen(
    connection: Connection,
    number: int,
    chosen: Sequence[int],
    now: float,
    how: Callable[[Unit], Unit] = life.reopened,
) -> list[units.Changed]:
    """Refuse the accepted answers of units of a run, with all that agree with them: they are computed again by others,
    or (`how`) another answer is accepted at once.

    An answer that a step has folded stays known until the run's driver has taken it back, and a run that was done is
    taken up again for that, with what its end had cancelled; its old result stays to be seen until the new one is
    there. A unit that nobody waits for any more (its run is done without it, or has gone back to before it) is not
    computed again. Units that are open already stay as they are. Credit that was granted for refused answers is not
    taken back here; what was given back for them is taken again.

    Raises NotFound; Conflict for a unit that was given up or cancelled, and for a run that failed, was cancelled or is
    archived.
    """
    state = _state(connection, number)
    rows = _chosen(connection, number, chosen)
    folded = [row.id for row in rows if row.folded_step and row.refused_id is None]
    again = state is RunState.DONE and bool(folded)
    if again:
        values = {"state": move(state, RunState.RUNNING).value, "finished": None, "retired": None}
        connection.execute(update(run).where(run.c.id == number).values(**values))
    connection.execute(_REFUSE, {"ids": numbers(connection, folded)})
    discoveries.fell(connection, [row.id for row in rows], now)
    ledger.take_again(connection, [row.id for row in rows], FELL, "validator", now)
    book = units.Book.of(connection, [row.id for row in rows])
    for row in rows:
        unit_id, idle = row.id, row.folded_step == steps.ASIDE_STEP or (state is RunState.DONE and not row.folded_step)
        current = how(book.now[unit_id])
        book.now[unit_id] = life.cancel(current, checked=False) if idle else current
    changed = book.write(now)
    aside = sum(row.folded_step == steps.ASIDE_STEP and not _accepted(book.now[row.id]) for row in rows)
    tallies.add_up(connection, Counter({(number, "aside.valid"): -aside, (number, "aside.cancelled"): aside}))
    if again:
        changed += steps.opened_again(connection, _cancelled_by_the_end(connection, number), now)
    _tell(connection, number, rows, again, now)
    return changed


def contested(connection: Connection) -> list[int]:
    """Return the accepted units whose answer is contested (by the partial index on copies that have no verdict)."""
    return sorted(connection.execute(_CONTESTED).scalars())


def decide(connection: Connection, contested: Sequence[int], now: float) -> list[units.Changed]:
    """Decide what can be decided of accepted units whose answers are contested: those that were outvoted give way, with
    the credit that was paid for them, and where nobody needs the answer any more nothing is asked."""
    book = units.Book.of(connection, contested)
    idle: list[int] = []
    changed: list[units.Changed] = []
    for number, current in book.now.items():
        of = book.heads[number].run
        if not _goes_on(connection, of):
            idle.append(number)
        elif contest.outvoted(current):
            behind = supporters(current)
            changed += reopen(connection, of, [number], now, life.overruled)
            ledger.reverse(connection, [r.id for r in behind], OVERRULED, "validator", now)
    for number in idle:
        book.now[number] = contest.uncontested(book.now[number])
    return changed + book.write(now)


def _goes_on(connection: Connection, number: int) -> bool:
    """Whether the answers of a run may still change."""
    try:
        _state(connection, number)
    except Conflict:
        return False
    return True


def _accepted(current: Unit) -> bool:
    return current.state is UnitState.VALID


def replay(
    connection: Connection, number: int, researcher: bytes, fence: int, now: float
) -> tuple[wire.Drive, list[units.Changed]]:
    """Take a run back to the newest kept state from before the first step that folded an answer which does not hold.

    What later steps folded waits to be folded again, and what they cancelled is open again. The units that they made
    are put aside: they come back, with their answers, when the run makes the same ones again. Step numbers go on. Where
    nothing is to be taken back nothing changes, so a driver that lost the reply may ask again.

    Raises Conflict for an older fence, and if no state from before is kept.
    """
    runs.check_owner(connection, number, researcher)
    query = select(run.c.state, run.c.step).where(run.c.id == number).with_for_update(key_share=True)
    row = connection.execute(query).one()
    runs.check_driver(connection, number, researcher, fence)
    first = steps.first_refused(connection, number)
    changed: list[units.Changed] = []
    if first is not None and row.state in OPEN_RUNS:
        to, driver_state = steps.kept_before(connection, number, first)
        changed = _put_later_units_aside(connection, number, to, now) + _unfold(connection, number, to, now)
        steps.forget_after(connection, number, to)
        discoveries.gone_back(connection, number, to)
        connection.execute(update(run).where(run.c.id == number).values(driver_state=driver_state, driver_seen=now))
        note(connection, now, "replayed", news.REPLAYED(run=number, step=row.step, to=to), run=number)
    return runs.standing(connection, number), changed


def _state(connection: Connection, number: int) -> RunState:
    query = select(run.c.state).where(run.c.id == number).with_for_update(key_share=True)
    found = connection.execute(query).scalar()
    if found is None:
        raise NotFound(f"there is no run {number}")
    state = RunState(found)
    if state in (RunState.FAILED, RunState.CANCELLED):
        raise Conflict(f"run {number} is {state}", hint=f"`dsage retry {number}` first, if it failed.")
    if connection.execute(select(archive.c.run_id).where(archive.c.run_id == number)).first() is not None:
        raise Conflict(f"the units of run {number} lie in an archive", hint="Submit it again.")
    return state


def _chosen(connection: Connection, number: int, chosen: Sequence[int]) -> list[Any]:
    """Return those of the chosen units that have an accepted answer. Raises NotFound, Conflict."""
    rows = connection.execute(_CHOSEN, {"run": number, "ids": numbers(connection, chosen)}).all()
    missing = sorted(set(chosen) - {row.id for row in rows})
    if missing:
        raise NotFound(f"run {number} has no unit {missing[0]}")
    other = [row for row in rows if row.state in (UnitState.FAILED, UnitState.CANCELLED)]
    if other:
        raise Conflict(f"unit {other[0].id} is {other[0].state}", hint="Only an accepted answer can be refused.")
    return [row for row in rows if row.state == UnitState.VALID]


def _cancelled_by_the_end(connection: Connection, number: int) -> list[int]:
    """Return the units that no step cancelled: the end of the run did."""
    cancelled = unit.c.state == UnitState.CANCELLED.value
    query = select(unit.c.id).where(unit.c.run_id == number, cancelled, unit.c.folded_step.is_(None))
    return list(connection.execute(query).scalars())


def _tell(connection: Connection, number: int, rows: Sequence[Any], again: bool, now: float) -> None:
    for row in rows:
        note(connection, now, "reopened", news.REOPENED(unit=row.id), run=number, unit=row.id)
    if again:
        note(connection, now, "correcting", news.CORRECTING(run=number), run=number)


def _put_later_units_aside(connection: Connection, number: int, to: int, now: float) -> list[units.Changed]:
    rows = connection.execute(_MADE_LATER, {"run": number, "to": to}).all()
    if not rows:
        return []
    changed = _cancelled(connection, number, [row.id for row in rows if row.state in OPEN_UNITS], now)
    steps.put_aside(connection, number, [row.id for row in rows], secrets.token_hex(6))
    return changed


def _cancelled(connection: Connection, number: int, wanted: Sequence[int], now: float) -> list[units.Changed]:
    book = units.Book.of(connection, wanted)
    checked = runs.info(connection, number).has_check if wanted else False
    for unit_id, current in book.now.items():
        book.now[unit_id] = life.cancel(current, checked=checked)
    return book.write(now)


def _unfold(connection: Connection, number: int, to: int, now: float) -> list[units.Changed]:
    """Let the answers wait again that steps after `to` folded, and open again what they cancelled."""
    found = list(connection.execute(_FOLDED_LATER, {"run": number, "to": to}).scalars())
    connection.execute(_UNFOLD, {"ids": numbers(connection, found)})
    return steps.opened_again(connection, found, now)


_CONTESTED = (
    select(replica.c.unit_id)
    .join(unit, unit.c.id == replica.c.unit_id)
    .where(among(replica.c.state, ["reported"]), replica.c.camp.is_not(None), unit.c.state == UnitState.VALID.value)
    .distinct()
)
_CHOSEN = (
    select(unit.c.id, unit.c.state, unit.c.folded_step, unit.c.refused_id)
    .where(among_ids(unit.c.id), unit.c.run_id == bindparam("run"))
    .order_by(unit.c.id)
)
_REFUSE = update(unit).where(among_ids(unit.c.id)).values(refused_id=unit.c.canonical_id)
_MADE_LATER = select(unit.c.id, unit.c.state).where(
    unit.c.run_id == bindparam("run"),
    unit.c.made_step > bindparam("to"),
    steps.IS_LIVE,
)
_FOLDED_LATER = select(unit.c.id).where(
    unit.c.run_id == bindparam("run"),
    func.coalesce(unit.c.made_step, 0) <= bindparam("to"),
    unit.c.folded_step > bindparam("to"),
)
_UNFOLD = update(unit).where(among_ids(unit.c.id)).values(folded_step=None, refused_id=None)
