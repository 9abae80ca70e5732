"""What a researcher's key may have at a time, and what it has: open runs, open units, bytes among the blobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, select

from dsage.errors import QuotaExceeded
from dsage.states import OPEN_RUNS, OPEN_UNITS, UnitState
from dsage_server.settings import Quota
from dsage_server.store import blobs
from dsage_server.store.dialect import upsert
from dsage_server.store.schema import among, blob_upload, quota, run, tally

WORDS: Final = {
    "runs": ("open runs", "End some of them (`dsage cancel ID`)"),
    "open_units": ("units that have not ended", "Let some of them end before you make more, or cancel a run"),
    "blob_bytes": ("bytes of input files, answers and programs", "Retire runs that have ended (`dsage retire ID`)"),
}
"""What is counted, as people read it, and how there comes to be less of it."""
CANCELLED_PER_UNIT: Final = 4
"""So many units that were cancelled, in runs that go on, count as one that has not ended."""


def allowed(connection: Connection, researcher: bytes, default: Quota) -> Quota:
    """Return what a researcher may have: what the server's settings say, but for what was set for this key."""
    return dataclasses.replace(default, **own(connection, researcher))


def own(connection: Connection, researcher: bytes) -> dict[str, int]:
    """Return what was set for one key."""
    row = connection.execute(select(quota).where(quota.c.researcher == researcher)).mappings().first()
    return {} if row is None else {what: row[what] for what in WORDS if row[what] is not None}


def change(connection: Connection, researcher: bytes, limits: Mapping[str, int]) -> None:
    """Set some limits for one key; the others stay."""
    statement = upsert(connection, quota).values(researcher=researcher, **limits)
    connection.execute(statement.on_conflict_do_update(index_elements=["researcher"], set_=dict(limits)))


def clear(connection: Connection, researcher: bytes) -> None:
    """Let the server's settings hold for a key again."""
    connection.execute(delete(quota).where(quota.c.researcher == researcher))


def used(connection: Connection, researcher: bytes, what: str) -> int:
    """Return how much of `what` (a name in WORDS) a researcher has."""
    return _USED[what](connection, researcher)


def check(connection: Connection, researcher: bytes, what: str, more: int, default: Quota) -> int:
    """Return how much of `what` a researcher may still have, beyond `more` that are asked for now.

    Raises QuotaExceeded if `more` are too many.
    """
    limit = getattr(allowed(connection, researcher, default), what)
    has = used(connection, researcher, what)
    if has + more > limit:
        words, hint = WORDS[what]
        raise QuotaExceeded(
            f"{has:,} {words}, and {more:,} more would be above the {limit:,} that you may have",
            hint=f"{hint}, or ask the operator for more (`dsage admin quota`).",
        )
    return int(limit - has - more)


def check_again(connection: Connection, number: int, researcher: bytes, default: Quota) -> None:
    """Raise QuotaExceeded if a run that has ended, and is to go on, would be one too many, or its units too many."""
    state = connection.execute(select(run.c.state).where(run.c.id == number)).scalar()
    if state is not None and state not in OPEN_RUNS:
        back = connection.execute(
            _TALLIED.where(tally.c.run_id == number, _counted({UnitState.CANCELLED, UnitState.FAILED}))
        )
        check(connection, researcher, "runs", 1, default)
        check(connection, researcher, "open_units", int(back.scalar() or 0), default)


def check_run(connection: Connection, run_key: str, researcher: bytes, default: Quota) -> None:
    """Raise QuotaExceeded if a run with this key would be new, and one too many."""
    if connection.execute(select(run.c.id).where(run.c.run_key == run_key)).first() is None:
        check(connection, researcher, "runs", 1, default)


def _runs(connection: Connection, researcher: bytes) -> int:
    query = select(func.count()).select_from(run).where(run.c.researcher == researcher, among(run.c.state, OPEN_RUNS))
    return connection.execute(query).scalar_one()


def _open_units(connection: Connection, researcher: bytes) -> int:
    """Return the units that wait for an answer, and a share of those that were cancelled in runs that go on.

    Making units only to cancel them costs no volunteer any work, so nothing else would ever end it.
    """
    query = _TALLIED.where(run.c.researcher == researcher, among(run.c.state, OPEN_RUNS))
    waiting, cancelled = (
        connection.execute(query.where(_counted(states))).scalar() for states in (OPEN_UNITS, {UnitState.CANCELLED})
    )
    return int(waiting or 0) + int(cancelled or 0) // CANCELLED_PER_UNIT


def _counted(states: Iterable[UnitState]) -> ColumnElement[bool]:
    return tally.c.what.in_([f"unit.{state}" for state in states])


def _blob_bytes(connection: Connection, researcher: bytes) -> int:
    """Return the bytes of what the researcher's runs need, each blob once, and of uploads that are under way."""
    coming = connection.execute(select(func.sum(blob_upload.c.bytes)).where(blob_upload.c.owner == researcher)).scalar()
    return blobs.bytes_of(connection, researcher) + int(coming or 0)


_TALLIED = select(func.sum(tally.c.n)).join(run, run.c.id == tally.c.run_id)
_USED: Final[dict[str, Callable[[Connection, bytes], int]]] = {
    "runs": _runs, "open_units": _open_units, "blob_bytes": _blob_bytes,
}  # fmt: skip
