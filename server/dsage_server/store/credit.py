"""The ledger's sums: one projector folds new credit rows; nothing else ever writes a sum.

The recent average has a half-life of seven days and is stored as one number that never decays: a grant g at time
t adds g * 2^((t - EPOCH) / half-life) to the score. Everyone decays alike, so ordering by score is ordering by
recent average at any moment. A double holds this for about 19 years from EPOCH.
"""

from __future__ import annotations

import math
from typing import Final

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dsage_server.store.schema import credit_entry, credit_sum

EPOCH: Final = 1_790_000_000.0
"""September 2026; the score's time zero."""
HALF_LIFE_S: Final = 7 * 86400.0
MAX_HALF_LIVES: Final = 900.0
"""Where a clock that is set wrong stops to matter: far from the ends of a double."""
FOLD: Final = 1000
"""Rows per fold: one transaction stays short."""


def recent_average(score: float, now: float) -> float:
    """Return the recent average in credits a day that a stored score means at `now`."""
    return score * math.log(2) / 7 / weight(now)


def weight(granted: float) -> float:
    """Return what one credit granted at this time adds to the score."""
    return math.exp2(min(max((granted - EPOCH) / HALF_LIFE_S, -MAX_HALF_LIVES), MAX_HALF_LIVES))


def fold(connection: Connection) -> int:
    """Fold up to FOLD unfolded rows into the sums; returns how many were folded."""
    rows = connection.execute(
        select(credit_entry.c.id, credit_entry.c.volunteer_id, credit_entry.c.amount_milli, credit_entry.c.granted)
        .where(credit_entry.c.folded.is_(False))
        .order_by(credit_entry.c.id)
        .limit(FOLD)
    ).all()
    if not rows:
        return 0
    sums: dict[int, tuple[int, int, float]] = {}
    for row in rows:
        amount, valid, score = sums.get(row.volunteer_id, (0, 0, 0.0))
        gain = row.amount_milli / 1000 * weight(row.granted)
        sums[row.volunteer_id] = (amount + row.amount_milli, valid + 1, score + gain)
    statement = upsert(credit_sum)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["volunteer_id"],
            set_={
                "amount_milli": credit_sum.c.amount_milli + statement.excluded.amount_milli,
                "valid": credit_sum.c.valid + statement.excluded.valid,
                "score": credit_sum.c.score + statement.excluded.score,
            },
        ),
        [
            {"volunteer_id": number, "amount_milli": amount, "valid": valid, "score": score}
            for number, (amount, valid, score) in sums.items()
        ],
    )
    connection.execute(
        update(credit_entry)
        .where(credit_entry.c.id >= rows[0].id, credit_entry.c.id <= rows[-1].id)
        .values(folded=True)
    )
    return len(rows)
