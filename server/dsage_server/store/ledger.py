"""Rows that correct the ledger: grants that are taken back, and an operator's own corrections.

Grants are inserted where a copy becomes valid (`units.Book`). Nothing here or there writes a sum of volunteers, hosts,
teams, apps or days: `credit.fold` does, from the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, case, func, insert, literal, literal_column, select

from dsage.errors import NotFound, UsageError
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.dialect import upsert
from dsage_server.store.schema import credit_entry, credit_house, replica, unit, volunteer
from dsage_server.store.schema import host as host_table
from dsage_server.store.tallies import add_up

MOST_MILLI: Final = 10**12
"""The most that one correction may give or take: a billion credits, far from the end of any sum."""
MOST_REASON: Final = 500
"""Characters of a reason."""


def reverse(connection: Connection, replicas: Iterable[int], reason: str, actor: str, now: float) -> list[int]:
    """Take back what was granted for replicas, each once, whatever is called how often; return those of which
    something was granted and is taken back now.

    The row takes the grant's amount from the grant's volunteer, host, team, run and app, at the weight and from the day
    of the grant's time. Whoever calls this wakes the projector (`Hub.ledger`). Raises UsageError without a reason.
    """
    return _add(connection, _COLUMNS, _REVERSED, replicas, reason, actor, now)


def taken_from(connection: Connection, host: int, taken_for: str) -> list[int]:
    """Return the copies whose credit was taken from a host for a reason, and not given back. Their units are locked:
    what is accepted of them stays so until the end of the commit."""
    rows = connection.execute(_TAKEN, {"host": host, "taken_for": taken_for}).all()
    connection.execute(_HELD, {"ids": numbers(connection, {row.unit_id for row in rows})})
    return [row.replica_id for row in rows]


def give_back(connection: Connection, replicas: Iterable[int], reason: str, actor: str, now: float) -> list[int]:
    """Give back what was taken for those of some replicas whose answer is the accepted one now, byte for byte, each
    once, whatever is called how often; return of which.

    The row is a correction that names the copy. Whoever calls this has locked the units, and wakes the projector
    (`Hub.ledger`). Raises UsageError without a reason.
    """
    return _add(connection, _GIVEN, _GIVEN_BACK, replicas, reason, actor, now)


def take_again(connection: Connection, units: Iterable[int], reason: str, actor: str, now: float) -> list[int]:
    """Take again what was given back for answers of units whose accepted answer does not hold, each once and for good;
    return of which copies. Locks, projector and reason as in `give_back`."""
    return _add(connection, _COLUMNS, _TAKEN_AGAIN, units, reason, actor, now)


def _add(
    connection: Connection, columns: Sequence[str], source: Select[Any], ids: Iterable[int],
    reason: str, actor: str, now: float,
) -> list[int]:  # fmt: skip
    """Add the rows that a query makes of those with some ids, and say of which copies; the run's sum is kept."""
    _check_reason(reason)
    wanted = sorted(set(ids))
    if not wanted:
        return []
    statement = upsert(connection, credit_entry).from_select(columns, source).on_conflict_do_nothing()
    given = {"ids": numbers(connection, wanted), "reason": reason[:MOST_REASON], "actor": actor, "now": now}
    rows = connection.execute(
        statement.returning(
            credit_entry.c.replica_id, credit_entry.c.run_id, credit_entry.c.amount_milli, credit_entry.c.house
        ),
        given,
    ).all()
    sums: Counter[tuple[int, str]] = Counter()
    for row in rows:
        sums[row.run_id, "credit"] += 0 if row.house else row.amount_milli
    add_up(connection, sums)
    return sorted(row.replica_id for row in rows)


def correct(connection: Connection, pseudonym: str, amount_milli: int, reason: str, actor: str, now: float) -> int:
    """Give (or, below 0, take) thousandths of credit that belong to no copy; return the row's id.

    Raises NotFound, UsageError.
    """
    _check_reason(reason)
    if not 0 < abs(amount_milli) <= MOST_MILLI:
        raise UsageError(
            f"a correction gives or takes 0.001 to {MOST_MILLI // 1000} credits, not {amount_milli / 1000}"
        )
    number = connection.execute(select(volunteer.c.id).where(volunteer.c.pseudonym == pseudonym)).scalar()
    if number is None:
        raise NotFound(f"there is no volunteer {pseudonym!r}", hint="Names are as on the volunteer's own computers.")
    row = {
        "volunteer_id": number, "project": "", "kind": "manual", "amount_milli": amount_milli, "granted": now,
        "reason": reason[:MOST_REASON], "actor": actor,
    }  # fmt: skip
    return int(connection.execute(insert(credit_entry).values(row).returning(credit_entry.c.id)).scalar_one())


def corrections(connection: Connection, number: int, most: int) -> list[Any]:
    """Return what was taken from a volunteer or corrected, newest first: kind, amount, time, project, reason."""
    query = select(
        credit_entry.c.kind, credit_entry.c.amount_milli, credit_entry.c.granted, credit_entry.c.project,
        credit_entry.c.reason,
    ).where(*_corrections_of(number))  # fmt: skip
    return list(connection.execute(query.order_by(credit_entry.c.id.desc()).limit(most)).all())


def standing(connection: Connection, number: int) -> tuple[int, int]:
    """Return what was taken back from a volunteer, and its house credit, both in thousandths."""
    taken = select(func.sum(case((credit_entry.c.kind == "reversal", -credit_entry.c.amount_milli), else_=0)))
    house = select(func.sum(credit_house.c.amount_milli)).where(credit_house.c.volunteer_id == number)
    return (
        int(connection.execute(taken.where(*_corrections_of(number))).scalar() or 0),
        int(connection.execute(house).scalar() or 0),
    )


def _corrections_of(number: int) -> tuple[Any, ...]:
    """Return the condition as the index on it is written."""
    return credit_entry.c.volunteer_id == number, credit_entry.c.kind != literal_column("'grant'")


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise UsageError("why? The volunteer reads the reason", hint="Say it in a sentence.")


_COPIED: Final = ("replica_id", "volunteer_id", "team_id", "host_id", "app", "project", "run_id", "house")
_LATER = credit_entry.alias("later")
_COLUMNS: Final = (*_COPIED, "kind", "amount_milli", "granted", "reverses", "reason", "actor")
_REVERSED = select(
    *[credit_entry.c[name] for name in _COPIED], literal("reversal"), -credit_entry.c.amount_milli,
    bindparam("now"), credit_entry.c.id, bindparam("reason"), bindparam("actor"),
).where(credit_entry.c.kind == "grant", among_ids(credit_entry.c.replica_id))  # fmt: skip
_TAKEN = (
    select(credit_entry.c.replica_id, replica.c.unit_id)
    .join(replica, replica.c.id == credit_entry.c.replica_id)
    .where(
        credit_entry.c.volunteer_id == select(host_table.c.volunteer_id).where(host_table.c.id == bindparam("host"))
        .scalar_subquery(),
        credit_entry.c.kind != literal_column("'grant'"), credit_entry.c.kind == "reversal",
        credit_entry.c.host_id == bindparam("host"), credit_entry.c.reason == bindparam("taken_for"),
        ~select(_LATER.c.id)
        .where(_LATER.c.replica_id == credit_entry.c.replica_id, _LATER.c.kind == "manual").exists(),
    )
)  # fmt: skip
"""What was taken back from a host for one reason, by the index on what was taken from its volunteer."""
_HELD = select(unit.c.id).where(among_ids(unit.c.id)).order_by(unit.c.id).with_for_update()
_ACCEPTED = replica.alias("accepted")
_GIVEN: Final = (*_COPIED, "kind", "amount_milli", "granted", "reason", "actor")
_GIVEN_BACK = (
    select(
        *[credit_entry.c[name] for name in _COPIED], literal("manual"), -credit_entry.c.amount_milli,
        bindparam("now"), bindparam("reason"), bindparam("actor"),
    )
    .join(replica, replica.c.id == credit_entry.c.replica_id)
    .join(unit, unit.c.id == replica.c.unit_id)
    .join(_ACCEPTED, _ACCEPTED.c.id == unit.c.canonical_id)
    .where(
        among_ids(credit_entry.c.replica_id), credit_entry.c.kind == "reversal",
        replica.c.value_hash == _ACCEPTED.c.value_hash,
    )
)  # fmt: skip
_TAKEN_AGAIN = (
    select(
        *[credit_entry.c[name] for name in _COPIED], literal("retaken"), -credit_entry.c.amount_milli,
        bindparam("now"), credit_entry.c.id, bindparam("reason"), bindparam("actor"),
    )
    .join(replica, replica.c.id == credit_entry.c.replica_id)
    .where(among_ids(replica.c.unit_id), credit_entry.c.kind == "manual")
)  # fmt: skip
