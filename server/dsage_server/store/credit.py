"""The ledger's sums: one projector folds new credit rows; nothing else ever writes a sum.

The recent average has a half-life of seven days and is stored as one number that never decays: a grant g at time
t adds g * 2^((t - EPOCH) / half-life) to the score. Everyone decays alike, so ordering by score is ordering by
recent average at any moment. A double holds this for about 19 years from EPOCH.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, false, insert, select, update

from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.dialect import upsert
from dsage_server.store.schema import credit_entry, credit_sum, people_sum, run_credit
from dsage_server.store.units import add_up

EPOCH: Final = 1_790_000_000.0
"""September 2026; the score's time zero."""
HALF_LIFE_S: Final = 7 * 86400.0
MAX_HALF_LIVES: Final = 900.0
"""Where a clock that is set wrong stops to matter: far from the ends of a double."""
FOLD: Final = 500
"""Rows per fold: one transaction stays short."""
FOLD_SHARED: Final = 5000
"""The same on a database that has a thread to wait for it: sums are written less often for as many rows."""


def recent_average(score: float, now: float) -> float:
    """Return the recent average in credits a day that a stored score means at `now`."""
    return score * math.log(2) / 7 / weight(now)


def weight(granted: float) -> float:
    """Return what one credit granted at this time adds to the score."""
    return math.exp2(min(max((granted - EPOCH) / HALF_LIFE_S, -MAX_HALF_LIVES), MAX_HALF_LIVES))


def fold(connection: Connection, most: int = FOLD) -> int:
    """Fold up to `most` unfolded rows into the sums; returns how many were folded. Several may fold at once."""
    rows = connection.execute(_TAKE, {"most": most}).all()
    if not rows:
        return 0
    people: dict[int, tuple[int, int, float]] = {}
    runs: dict[tuple[int, int], tuple[int, int]] = {}
    weights = {granted: weight(granted) / 1000 for granted in {row[3] for row in rows}}
    for person, run, milli, granted in rows:
        amount, valid, score = people.get(person, (0, 0, 0.0))
        people[person] = (amount + milli, valid + 1, score + milli * weights[granted])
        earned, times = runs.get((run, person), (0, 0))
        runs[run, person] = (earned + milli, times + 1)
    _add(
        connection, credit_sum,
        [
            {"volunteer_id": number, "amount_milli": amount, "valid": valid, "score": score}
            for number, (amount, valid, score) in sorted(people.items())
        ],
    )  # fmt: skip
    public = dict(connection.execute(_LISTED, {"ids": numbers(connection, people)}).all())
    _add(
        connection, run_credit,
        [
            {"run_id": run, "volunteer_id": number, "amount_milli": amount, "valid": valid, "public": public[number]}
            for (run, number), (amount, valid) in sorted(runs.items())
        ],
    )  # fmt: skip
    _count(connection, runs, public)
    for listed in sorted(set(public.values())):
        theirs = [people[number] for number in people if public[number] is listed]
        amount, valid, score = (sum(column) for column in zip(*theirs, strict=True))
        _add_people(connection, listed, amount_milli=amount, valid=valid, score=score)
    return len(rows)


def enter(connection: Connection, volunteer: int, public: bool) -> None:
    """A new volunteer has earned nothing yet."""
    connection.execute(
        insert(credit_sum).values(volunteer_id=volunteer, amount_milli=0, valid=0, score=0.0, public=public)
    )
    _add_people(connection, public, people=1)


def show(connection: Connection, volunteer: int, public: bool) -> None:
    """List a volunteer on the boards from now on, or do not: what they have earned moves from one sum to the other."""
    row = connection.execute(select(credit_sum).where(credit_sum.c.volunteer_id == volunteer).with_for_update()).one()
    if row.public is public:
        return
    connection.execute(update(credit_sum).where(credit_sum.c.volunteer_id == volunteer).values(public=public))
    earned = {"amount_milli": row.amount_milli, "valid": row.valid, "score": row.score, "people": 1}
    for listed in (False, True):
        sign = 1 if listed is public else -1
        _add_people(connection, listed, **{name: sign * amount for name, amount in earned.items()})
    mine = run_credit.c.volunteer_id == volunteer
    runs = connection.execute(select(run_credit.c.run_id, run_credit.c.amount_milli).where(mine)).all()
    connection.execute(update(run_credit).where(mine).values(public=public))
    sign = -1 if public else 1
    add_up(connection, Counter({(run, "unlisted"): sign * amount for run, amount in runs}))


def _count(connection: Connection, runs: dict[tuple[int, int], tuple[int, int]], public: dict[int, bool]) -> None:
    """Bring the tallies of runs up to (amount, times) by run and volunteer: who has all of it from now is new there."""
    sums: Counter[tuple[int, str]] = Counter()
    times: dict[int, dict[int, int]] = {}
    for (run, number), (amount, valid) in runs.items():
        sums[run, "unlisted"] += 0 if public[number] else amount
        times.setdefault(run, {})[number] = valid
    for run, here in times.items():
        rows = connection.execute(_PAID, {"run": run, "ids": numbers(connection, here)})
        sums[run, "volunteers"] += sum(valid == here[number] for number, valid in rows)
    add_up(connection, sums)


def _add_people(connection: Connection, public: bool, **more: float) -> None:
    row = {"people": 0, "amount_milli": 0, "valid": 0, "score": 0.0, **more}
    _add(connection, people_sum, [{"public": public, "slot": connection.info.get("slot", 0), **row}])


def _add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Add to the sums of a table; rows in the order of their keys, so that two who add never wait for each other."""
    statement = upsert(connection, table)
    keys = [column.name for column in table.primary_key]
    more = {name: table.c[name] + statement.excluded[name] for name in rows[0] if name not in (*keys, "public")}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), rows)


_LISTED = select(credit_sum.c.volunteer_id, credit_sum.c.public).where(among_ids(credit_sum.c.volunteer_id))
_PAID = select(run_credit.c.volunteer_id, run_credit.c.valid).where(
    run_credit.c.run_id == bindparam("run"), among_ids(run_credit.c.volunteer_id)
)
_NEXT = (
    select(credit_entry.c.id)
    .where(credit_entry.c.folded == false())
    .order_by(credit_entry.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(credit_entry)
    .where(credit_entry.c.id.in_(_NEXT.scalar_subquery()))
    .values(folded=True)
    .returning(
        credit_entry.c.volunteer_id, credit_entry.c.run_id, credit_entry.c.amount_milli, credit_entry.c.granted
    )
)  # fmt: skip
