"""Discoveries: declared by a step, confirmed by a second volunteer, published by their researcher.

A discovery rests on the accepted answer of one unit of its run, and is named by that unit and its title: declared
again, after a replay or with a fresh answer, it is the same one. If its answer falls it goes back to being a candidate
that nobody declares; one that was published stays on the page, with a correction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, bindparam, case, func, insert, select, update

from dsage import wire
from dsage.discoveries import declared
from dsage.errors import Conflict, NotAllowed, NotFound, TooLarge
from dsage_server.sentences import news, reasons
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.events import note
from dsage_server.store.schema import discovery, replica, run, unit, volunteer
from dsage_server.store.steps import ASIDE_STEP

CANDIDATE: Final = "candidate"
CONFIRMED: Final = "confirmed"
PUBLISHED: Final = "published"
MOST_OF_A_RUN: Final = 10_000
"""More than this are no discoveries, but the run's answer."""
NOBODY: Final = "a volunteer"
"""How those are called who have not agreed to be named."""
FELL: Final = reasons.FELL()
WENT_BACK: Final = reasons.WENT_BACK()
CHANGED: Final = reasons.CHANGED()


# -- what a run's steps say ---------------------------------------------------------------------------------------


def declare(connection: Connection, number: int, step: wire.Step, now: float) -> None:
    """Keep what a step declares, each once.

    Raises Conflict for a unit without a folded answer that holds, UsageError for what cannot be shown in a line, and
    TooLarge beyond MOST_OF_A_RUN.
    """
    wanted = {(each.unit, each.title): each for each in step.discoveries}
    _check_answers(connection, number, {of for of, _ in wanted})
    for each in wanted.values():
        said = declared(each.unit, each.title, each.facts, each.check)
        facts = msgspec.json.encode(said.facts, order="sorted").decode()
        same = (discovery.c.run_id == number, discovery.c.unit_id == said.unit, discovery.c.title == said.title)
        known = connection.execute(select(discovery).where(*same)).first()
        if known is None:
            row = {"run_id": number, "unit_id": said.unit, "title": said.title, "state": CANDIDATE, "declared": now}
            connection.execute(insert(discovery).values(row | _said(facts, said.check, step.step)))
        elif (known.facts, known.check_line) == (facts, said.check):
            fixed = {} if known.state == CANDIDATE else {"correction": ""}
            connection.execute(update(discovery).where(*same).values(step=step.step, reason="", **fixed))
        else:
            correction = "" if known.published is None else CHANGED
            again = {"state": CANDIDATE, "confirmed": None, "people": "[]", "reason": "", "correction": correction}
            connection.execute(update(discovery).where(*same).values(again | _said(facts, said.check, step.step)))
    count = connection.execute(select(func.count()).where(discovery.c.run_id == number)).scalar_one()
    if count > MOST_OF_A_RUN:
        raise TooLarge(
            f"run {number} declares more than {MOST_OF_A_RUN:,} discoveries", hint="Declare those that are news."
        )


def fell(connection: Connection, units: Iterable[int], now: float) -> None:
    """Take back what rests on the answers of these units, which do not hold any more."""
    ids = {"ids": numbers(connection, units)}
    for row in connection.execute(_PUBLISHED_OF, ids).all():
        note(connection, now, "correction", news.TAKEN_BACK(number=row.id, why=FELL), run=row.run_id)
    connection.execute(_FELL, ids)


def gone_back(connection: Connection, number: int, to: int) -> None:
    """Take back what steps after `to` declared: the run goes on from there, and declares it again if it still holds."""
    connection.execute(_GONE_BACK, {"b_run": number, "b_to": to})


# -- confirming ---------------------------------------------------------------------------------------------------


def candidates(connection: Connection, after: int, most: int) -> Sequence[Any]:
    """Return (id, run_id, unit_id, state of the run, reason) of discoveries that wait to be confirmed, by rising id."""
    return connection.execute(_CANDIDATES, {"after": after, "most": most}).all()


def confirm(connection: Connection, number: int, supporters: Sequence[int], *, proven: bool, now: float) -> None:
    """Confirm a discovery by copies of its unit that say the same, or prove it; the first that came in found it."""
    rows = connection.execute(_IN_ORDER, {"ids": numbers(connection, supporters)}).scalars()
    people = msgspec.json.encode(list(dict.fromkeys(rows))).decode()
    values = {"state": CONFIRMED, "confirmed": now, "people": people, "proven": proven, "reason": ""}
    still = discovery.c.state == CANDIDATE, discovery.c.step.is_not(None)
    connection.execute(update(discovery).where(discovery.c.id == number, *still).values(values))


def explain(connection: Connection, number: int, reason: str) -> None:
    """Say why a discovery is not confirmed yet."""
    connection.execute(update(discovery).where(discovery.c.id == number).values(reason=reason))


# -- publishing and looking ---------------------------------------------------------------------------------------


def publish(connection: Connection, number: int, researcher: bytes, now: float) -> wire.DiscoveryView:
    """Show a confirmed discovery to everybody; asking twice is asking once.

    Raises NotFound, NotAllowed for another researcher's, Conflict for one that is not confirmed.
    """
    row = connection.execute(_ROWS.where(discovery.c.id == number).with_for_update(of=discovery)).first()
    if row is None:
        raise NotFound(f"there is no discovery {number}")
    if row.researcher != researcher:
        raise NotAllowed(f"discovery {number} belongs to another researcher")
    state = _state(row)
    if state == CANDIDATE:
        why = f": {row.reason}" if row.reason else ""
        raise Conflict(
            f"discovery {number} is not confirmed yet{why}", hint="Another volunteer's answer is asked for by itself."
        )
    if state == CONFIRMED:
        values = {"state": PUBLISHED, "published": now, "correction": ""}
        connection.execute(update(discovery).where(discovery.c.id == number).values(values))
        note(connection, now, "discovery", news.PUBLISHED(number=number, title=row.title), run=row.run_id)
    return _views(connection, connection.execute(_ROWS.where(discovery.c.id == number)).all())[0]


def of_researcher(connection: Connection, researcher: bytes, most: int = 1000) -> list[wire.DiscoveryView]:
    """Return a researcher's discoveries, newest first, whatever their state."""
    query = _ROWS.where(run.c.researcher == researcher).order_by(discovery.c.id.desc()).limit(most)
    return _views(connection, connection.execute(query).all())


def public(
    connection: Connection, *, limit: int = 100, offset: int = 0, number: int | None = None, of_run: int | None = None
) -> list[wire.DiscoveryView]:
    """Return what was published, newest first; of one that does not hold any more the correction, and nobody's name."""
    query = _ROWS.where(discovery.c.published.is_not(None))
    query = query if number is None else query.where(discovery.c.id == number)
    query = query if of_run is None else query.where(discovery.c.run_id == of_run)
    query = query.order_by(discovery.c.published.desc(), discovery.c.id.desc()).limit(limit).offset(offset)
    views = _views(connection, connection.execute(query).all())
    for view in views:
        if view.state != PUBLISHED:
            view.correction = view.correction or view.reason or WENT_BACK
            view.finder, view.confirmers, view.reason = "", [], ""
    return views


def count_public(connection: Connection) -> int:
    """Return how many were published."""
    return int(connection.execute(select(func.count()).where(discovery.c.published.is_not(None))).scalar_one())


def _check_answers(connection: Connection, number: int, wanted: set[int]) -> None:
    found = connection.execute(_RESTS, {"run": number, "ids": numbers(connection, wanted)}).scalars()
    missing = sorted(wanted - set(found))
    if missing:
        raise Conflict(
            f"a discovery names unit {missing[0]}, which is no folded answer of run {number}",
            hint="Declare it in process_result, with the unit that is folded there.",
        )


def _said(facts: str, check: str, step: int) -> dict[str, Any]:
    return {"facts": facts, "check_line": check, "step": step}


def _state(row: Any) -> str:
    """Return the state of a discovery: one that nobody declares any more is a candidate."""
    return CANDIDATE if row.step is None else str(row.state)


def _views(connection: Connection, rows: Sequence[Any]) -> list[wire.DiscoveryView]:
    people = {row.id: msgspec.json.decode(row.people, type=list[int]) for row in rows}
    everybody = {"ids": numbers(connection, {each for some in people.values() for each in some})}
    names = {row.id: row.pseudonym for row in connection.execute(_NAMED, everybody)}
    found = []
    for row in rows:
        called = [names.get(each, NOBODY) for each in people[row.id]] if row.step is not None else []
        state = _state(row)
        found.append(
            wire.DiscoveryView(
                id=row.id, run=row.run_id, unit=row.unit_id, project=row.project, title=row.title,
                facts=msgspec.json.decode(row.facts, type=dict[str, str]), check=row.check_line, state=state,
                declared=row.declared, confirmed=None if state == CANDIDATE else row.confirmed,
                published=row.published, reason=row.reason, correction=row.correction, proven=row.proven,
                finder=called[0] if called else "", confirmers=called[1:],
            )
        )  # fmt: skip
    return found


_ROWS: Final[Select[Any]] = select(discovery, run.c.project, run.c.researcher).join(run, run.c.id == discovery.c.run_id)
_RESTS: Final = select(unit.c.id).where(
    among_ids(unit.c.id),
    unit.c.run_id == bindparam("run"),
    unit.c.state == "valid",
    unit.c.folded_step != ASIDE_STEP,
    unit.c.refused_id.is_(None),
)
_PUBLISHED_OF: Final = select(discovery.c.id, discovery.c.run_id).where(
    among_ids(discovery.c.unit_id), discovery.c.state == PUBLISHED
)
_PUBLIC_WORDS: Final = case((discovery.c.published.is_not(None), FELL), else_="")
_FELL: Final = (
    update(discovery)
    .where(among_ids(discovery.c.unit_id))
    .values(
        state=CANDIDATE, step=None, confirmed=None, proven=False, people="[]", reason=FELL, correction=_PUBLIC_WORDS
    )
)
_GONE_BACK: Final = (
    update(discovery)
    .where(discovery.c.run_id == bindparam("b_run"), discovery.c.step > bindparam("b_to"))
    .values(
        step=None, reason=WENT_BACK, correction=case((discovery.c.published.is_not(None), WENT_BACK), else_="")
    )
)  # fmt: skip
_CANDIDATES: Final = (
    select(discovery.c.id, discovery.c.run_id, discovery.c.unit_id, discovery.c.reason, run.c.state)
    .join(run, run.c.id == discovery.c.run_id)
    .where(discovery.c.state == CANDIDATE, discovery.c.step.is_not(None), discovery.c.id > bindparam("after"))
    .order_by(discovery.c.id)
    .limit(bindparam("most"))
)
_IN_ORDER: Final = (
    select(replica.c.volunteer_id).where(among_ids(replica.c.id)).order_by(replica.c.reported, replica.c.id)
)
_NAMED: Final = select(volunteer.c.id, volunteer.c.pseudonym).where(
    among_ids(volunteer.c.id), volunteer.c.public, volunteer.c.gone.is_(None)
)
