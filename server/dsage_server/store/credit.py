"""The ledger's sums: one projector folds new credit rows; nothing else adds to a sum (`recount` repairs, if asked).

The recent average has a half-life of seven days and is stored as one number that never decays: a grant g at time
t adds g * 2^((t - EPOCH) / half-life) to the score. Everyone decays alike, so ordering by score is ordering by
recent average at any moment. A double holds this for about 19 years from EPOCH. A reversal takes away what its grant
added: by the weight of the grant's time, from the day of the grant.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Table, bindparam, cast, delete, func, insert, select, update

from dsage_server.store import daybook
from dsage_server.store.bulk import add_rows, among_ids, insert_rows, numbers
from dsage_server.store.schema import (
    credit_app,
    credit_daily,
    credit_entry,
    credit_host,
    credit_house,
    credit_sum,
    credit_team,
    credit_team_daily,
    credit_unfolded,
    ledger_span,
    people_sum,
    run_credit,
)
from dsage_server.store.tallies import add_up

EPOCH: Final = 1_790_000_000.0
"""September 2026; the score's time zero."""
HALF_LIFE_S: Final = 7 * 86400.0
MAX_HALF_LIVES: Final = 900.0
"""Where a clock that is set wrong stops to matter: far from the ends of a double."""
FOLD: Final = 1000
"""Rows per fold: one transaction stays short."""
FOLD_SHARED: Final = 5000
"""The same on a database that has a thread to wait for it: sums are written less often for as many rows."""
COUNTED: Final = {"grant": 1, "reversal": -1}
"""What a row of a kind adds to the number of valid answers."""

Sums = dict[Any, list[Any]]
"""Amounts (thousandths), numbers of valid answers, and scores, by key."""


def recent_average(score: float, now: float) -> float:
    """Return the recent average in credits a day that a stored score means at `now`."""
    return score * math.log(2) / 7 / weight(now)


def weight(granted: float) -> float:
    """Return what one credit granted at this time adds to the score."""
    return math.exp2(min(max((granted - EPOCH) / HALF_LIFE_S, -MAX_HALF_LIVES), MAX_HALF_LIVES))


def fold(connection: Connection, most: int = FOLD) -> int:
    """Fold up to `most` unfolded rows into the sums; returns how many were folded. Several may fold at once."""
    number = daybook.open_number(connection)
    ids = sorted(connection.execute(_TAKE, {"most": most}).scalars())
    if not ids:
        return 0
    insert_rows(connection, ledger_span, daybook.SPAN, daybook.spans(number, ids))
    sums: defaultdict[Table, Sums] = defaultdict(dict)
    for row in connection.execute(_ALIKE, {"ids": numbers(connection, ids)}).all():
        volunteer, host, team, run, app, project, kind, at, house, amount, rows = row
        valid = rows * COUNTED.get(kind, 0)
        if house:
            _put(sums[credit_house], (volunteer, project), amount, valid)
            continue
        score = amount * weight(at) / 1000
        _put(sums[credit_sum], (volunteer,), amount, valid, score)
        _put(sums[credit_daily], (volunteer, int(at // 86400), app), amount, valid)
        _put(sums[credit_app], (app,), amount, valid, score)
        if host is not None:
            _put(sums[credit_host], (host,), amount, valid, score)
        if team is not None:
            _put(sums[credit_team], (team,), amount, valid, score)
            _put(sums[credit_team_daily], (team, int(at // 86400)), amount, valid)
        if run is not None:
            _put(sums[run_credit], (run, volunteer), amount, valid)
    add(connection, sums)
    return len(ids)


def _put(sums: Sums, key: tuple[Any, ...], amount: int, valid: int, *score: float) -> None:
    kept = sums.get(key)
    if kept is None:
        sums[key] = [amount, valid, *score]
        return
    kept[0] += amount
    kept[1] += valid
    if score:
        kept[2] += score[0]


def add(connection: Connection, sums: Mapping[Table, Sums]) -> None:
    """Add to the sums, table by table and in the order of keys: two who do never wait for each other in a circle."""
    worth = sums.get(credit_app, {})
    _add(connection, credit_app, worth, keys=("app",))
    if worth:
        short: dict[str, int] = dict(connection.execute(_APPS, {"apps": [app for (app,) in worth]}).all())
        daily = {(who, day, short[app]): added for (who, day, app), added in sums.get(credit_daily, {}).items()}
        _add(connection, credit_daily, daily)
    for table in (credit_host, credit_house, credit_team, credit_team_daily):
        _add(connection, table, sums.get(table, {}))
    people, runs = sums.get(credit_sum, {}), sums.get(run_credit, {})
    _add(connection, credit_sum, people)
    wanted = {*(number for (number,) in people), *(number for _, number in runs)}
    public: dict[int, bool] = dict(connection.execute(_LISTED, {"ids": numbers(connection, wanted)}).all())
    _add(connection, run_credit, runs, public={key: public[key[1]] for key in runs})
    _count(connection, runs, public)
    for listed in (False, True):
        theirs = [earned for (number,), earned in people.items() if public[number] is listed]
        if theirs:
            amount, valid, score = (sum(column) for column in zip(*theirs, strict=True))
            _add_people(connection, listed, amount_milli=amount, valid=valid, score=score)


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


def _count(connection: Connection, runs: Sums, public: Mapping[int, bool]) -> None:
    """Bring the tallies of runs up to what was added by run and volunteer: who has nothing but that is new there, and
    who has nothing any more is gone."""
    sums: Counter[tuple[int, str]] = Counter()
    times: dict[int, dict[int, int]] = {}
    for (run, number), (amount, valid) in runs.items():
        sums[run, "unlisted"] += 0 if public[number] else amount
        times.setdefault(run, {})[number] = valid
    for run, here in times.items():
        for number, valid in connection.execute(_PAID, {"run": run, "ids": numbers(connection, here)}):
            sums[run, "volunteers"] += (valid > 0) - (valid - here[number] > 0)
    add_up(connection, sums)


def _add_people(connection: Connection, public: bool, **more: float) -> None:
    row = {"people": 0, "amount_milli": 0, "valid": 0, "score": 0.0, **more}
    values = (public, connection.info.get("slot", 0), *row.values())
    add_rows(connection, people_sum, ("public", "slot", *row), [values], keys=("public", "slot"))


def _add(
    connection: Connection,
    table: Table,
    sums: Sums,
    *,
    keys: tuple[str, ...] = (),
    public: Mapping[Any, bool] | None = None,
) -> None:
    keys = keys or tuple(column.name for column in table.primary_key)
    names = (*keys, *(name for name in ("amount_milli", "valid", "score") if name in table.c))
    rows: Iterable[tuple[Any, ...]] = ((*key, *added) for key, added in sorted(sums.items()))
    if public is not None:
        names, rows = (*names, "public"), ((*key, *added, public[key]) for key, added in sorted(sums.items()))
    add_rows(connection, table, names, list(rows), keys=keys, once=("public",))


_LISTED = select(credit_sum.c.volunteer_id, credit_sum.c.public).where(among_ids(credit_sum.c.volunteer_id))
_PAID = select(run_credit.c.volunteer_id, run_credit.c.valid).where(
    run_credit.c.run_id == bindparam("run"), among_ids(run_credit.c.volunteer_id)
)
_REVERSED = credit_entry.alias("reversed")
_COMMON = (
    credit_entry.c.volunteer_id, credit_entry.c.host_id, credit_entry.c.team_id, credit_entry.c.run_id,
    credit_entry.c.app, credit_entry.c.project, credit_entry.c.kind,
    func.coalesce(_REVERSED.c.granted, credit_entry.c.granted).label("at"), credit_entry.c.house,
)  # fmt: skip
"""What rows have in common that were granted by one call."""
_ALIKE = (
    select(*_COMMON, cast(func.sum(credit_entry.c.amount_milli), BigInteger), func.count())
    .outerjoin_from(credit_entry, _REVERSED, _REVERSED.c.id == credit_entry.c.reverses)
    .where(among_ids(credit_entry.c.id))
    .group_by(*_COMMON)
)
_NEXT = (
    select(credit_unfolded.c.entry_id)
    .order_by(credit_unfolded.c.entry_id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    delete(credit_unfolded)
    .where(credit_unfolded.c.entry_id.in_(_NEXT.scalar_subquery()))
    .returning(credit_unfolded.c.entry_id)
)
_APPS = select(credit_app.c.app, credit_app.c.id).where(credit_app.c.app.in_(bindparam("apps", expanding=True)))
