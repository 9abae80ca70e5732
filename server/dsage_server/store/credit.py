"""The ledger's sums: one projector folds new credit rows; nothing else ever writes a sum.

The recent average has a half-life of seven days and is stored as one number that never decays: a grant g at time
t adds g * 2^((t - EPOCH) / half-life) to the score. Everyone decays alike, so ordering by score is ordering by
recent average at any moment. A double holds this for about 19 years from EPOCH.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sqlalchemy import Connection, Table, false, select, update

from dsage_server.store.dialect import upsert
from dsage_server.store.schema import credit_entry, credit_sum, run_credit

EPOCH: Final = 1_790_000_000.0
"""September 2026; the score's time zero."""
HALF_LIFE_S: Final = 7 * 86400.0
MAX_HALF_LIVES: Final = 900.0
"""Where a clock that is set wrong stops to matter: far from the ends of a double."""
FOLD: Final = 500
"""Rows per fold: one transaction stays short."""


def recent_average(score: float, now: float) -> float:
    """Return the recent average in credits a day that a stored score means at `now`."""
    return score * math.log(2) / 7 / weight(now)


def weight(granted: float) -> float:
    """Return what one credit granted at this time adds to the score."""
    return math.exp2(min(max((granted - EPOCH) / HALF_LIFE_S, -MAX_HALF_LIVES), MAX_HALF_LIVES))


def fold(connection: Connection) -> int:
    """Fold up to FOLD unfolded rows into the sums; returns how many were folded. Several may fold at once."""
    rows = connection.execute(_TAKE).all()
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
    _add(
        connection, run_credit,
        [
            {"run_id": run, "volunteer_id": number, "amount_milli": amount, "valid": valid}
            for (run, number), (amount, valid) in sorted(runs.items())
        ],
    )  # fmt: skip
    return len(rows)


def _add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Add to the sums of a table; rows in the order of their keys, so that two who add never wait for each other."""
    statement = upsert(connection, table)
    keys = [column.name for column in table.primary_key]
    more = {column.name: column + statement.excluded[column.name] for column in table.columns if not column.primary_key}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), rows)


_NEXT = (
    select(credit_entry.c.id)
    .where(credit_entry.c.folded == false())
    .order_by(credit_entry.c.id)
    .limit(FOLD)
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
