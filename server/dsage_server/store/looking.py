"""What a researcher sees of a run: its units, the copies of them with what those printed, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal_column, select

from dsage import wire
from dsage.errors import NotFound, UsageError
from dsage.states import OPEN_UNITS, ReplicaState, UnitState
from dsage.trust.documents import UnitDocument
from dsage_server.store import steps
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import among, answer, blob, host, printed, replica, signed_unit, unit

MAX_UNITS: Final = 1000
"""Units of one page, whatever is asked for."""
MAX_ATTEMPTS: Final = 200
"""Copies in one reply: with what they printed a few megabytes at most."""
MAX_SENT: Final = 5000
"""Copies whose end is counted."""
MAX_BYTES: Final = wire.MAX_BODY_BYTES // 4
"""What a page holds of values and arguments, or of units that are left; one is always in it."""
FIRST: Final = 100
"""Units that wait which are looked at for copies: those that failed before come first, being the oldest."""


def unit_page(
    connection: Connection, number: int, after: int, limit: int, state: str
) -> tuple[wire.UnitPage, dict[int, str]]:
    """Return units of a run by id above `after`, of one state or (empty) all, but none that a replay put aside. Raises
    UsageError for no state.

    Large values are left empty, as no value is; with the page come the blobs that they are, by unit.
    """
    known = [each.value for each in UnitState]
    if state and state not in known:
        raise UsageError(f"units are never {state[:40]!r}", hint=f"States are {', '.join(known)}.")
    most = max(1, min(limit, MAX_UNITS))
    rows = _by_id(connection, _PAGE, number, after, most + 1, [state] if state else known)
    page, large = wire.UnitPage(more=len(rows) > most), dict[int, str]()
    size = 0
    for row in rows[:most]:
        size += len(row.document) + len(row.value or b"") + (row.bytes or 0)
        if page.units and size > MAX_BYTES:
            page.more = True
            break
        page.units.append(_view(row))
        if row.blob is not None:
            large[row.id] = row.blob
    sent = _sent(connection, [view.unit for view in page.units])
    for view in page.units:
        view.attempts = sent.get(view.unit, 0)
    return page, large


def attempts(connection: Connection, number: int, of: int = 0) -> list[wire.Attempt]:
    """Return copies of one unit of a run, or (0) of those units that people look at first; newest first, and before
    them those that failed. Raises NotFound for a unit that the run does not have."""
    if of and connection.execute(select(unit.c.run_id).where(unit.c.id == of)).scalar() != number:
        raise NotFound(f"run {number} has no unit {of}")
    wanted = [of] if of else _interesting(connection, number)
    rows = connection.execute(_ATTEMPTS, {"ids": numbers(connection, wanted)}).all()
    words = connection.execute(_PRINTED, {"ids": numbers(connection, [row.id for row in rows])})
    said = {row.replica_id: row.output for row in words}
    return [_attempt(row, said.get(row.id, b"")) for row in rows]


class Sent(NamedTuple):
    """A copy that was sent out: to which host, and how it ended; `code` is the reason as one word."""

    unit: int
    host: int
    platform: str
    state: str
    code: str


def sent(connection: Connection, number: int) -> list[Sent]:
    """Return how the newest copies ended of those units of a run that people look at first."""
    found = connection.execute(_SENT_OUT, {"ids": numbers(connection, _interesting(connection, number))})
    return [Sent(row.unit_id, row.host_id, row.platform, row.state, row.reason.partition(":")[0]) for row in found]


def remainder(connection: Connection, number: int, after: int) -> wire.Remainder:
    """Return the units of a run that no step has folded, by id above `after`, as their driver made them."""
    rows = _by_id(connection, _LEFT, number, after, MAX_UNITS + 1, OPEN_UNITS)
    waiting = _LEFT.where(unit.c.run_id == number, unit.c.id > after, *_UNFOLDED)
    rows += connection.execute(waiting.order_by(unit.c.id).limit(MAX_UNITS + 1)).all()
    rows.sort(key=lambda row: row.id)
    left = wire.Remainder(last=after)
    size = 0
    for row in rows:
        size += len(row.document)
        if left.units and (size > MAX_BYTES or len(left.units) == MAX_UNITS):
            left.more = True
            break
        left.units.append(_made(row))
        left.last = row.id
    return left


def _by_id(
    connection: Connection, query: Select[Any], number: int, after: int, most: int, states: Iterable[str]
) -> list[Any]:
    """Return the first units of a run above an id: of each state by the index of that, put together."""
    query = query.where(unit.c.run_id == number, unit.c.id > after).order_by(unit.c.id).limit(most)
    rows = [row for state in states for row in connection.execute(query.where(_is(state)))]
    return sorted(rows, key=lambda row: row.id)[:most]


def _view(row: Any) -> wire.UnitView:
    return wire.UnitView(
        unit=row.id, key=row.key, group=row.grp, state=row.state, args=_document(row).args, value=row.value,
        failed=(row.reason or "given up") if row.state == UnitState.FAILED else "", code=row.code,
        cpu_s=row.cpu_s or 0.0, wall_s=row.wall_s or 0.0,
    )  # fmt: skip


def _made(row: Any) -> wire.NewUnit:
    signed = _document(row)
    return wire.NewUnit(
        key=row.key, args=signed.args, group=row.grp, credit_milli=signed.credit_milli, quorum=row.quorum,
        deadline_s=row.deadline_s, cpu_s=signed.cpu_s, wall_s=signed.wall_s, memory_bytes=signed.memory_bytes,
        disk_bytes=signed.disk_bytes, output_bytes=signed.output_bytes, splits=row.splits,
        retries=row.retries, adaptive=row.adaptive,
        inputs={name: file.sha256 for name, file in signed.inputs.items()},
    )  # fmt: skip


def _attempt(row: Any, output: bytes) -> wire.Attempt:
    code, _, detail = row.reason.partition(": ")
    ended = row.reported
    if ended is None and row.state != ReplicaState.LEASED:
        ended = row.deadline if row.state == ReplicaState.EXPIRED else row.finished or row.leased
    return wire.Attempt(
        unit=row.unit_id, replica=row.id, state=row.state, started=row.leased, ended=ended, reason=code,
        detail=detail, output=output, cpu_s=row.cpu_s, wall_s=row.wall_s, platform=row.platform,
    )  # fmt: skip


def _document(row: Any) -> UnitDocument:
    return msgspec.json.decode(row.document, type=UnitDocument)


def _sent(connection: Connection, wanted: Sequence[int]) -> dict[int, int]:
    """Return how many copies of units were sent."""
    return {row.unit_id: row.n for row in connection.execute(_SENT, {"ids": numbers(connection, wanted)})}


def _interesting(connection: Connection, number: int) -> set[int]:
    """Return the units of a run whose copies are news: given up, under way, ended last, and waiting again."""

    def some(state: UnitState, most: int, *, newest: bool = True) -> list[int]:
        query = select(unit.c.id).where(unit.c.run_id == number, unit.c.id > 0, _is(state), steps.IS_LIVE)
        return list(connection.execute(query.order_by(unit.c.id.desc() if newest else unit.c.id).limit(most)).scalars())

    found = {one for state in UnitState if state is not UnitState.READY for one in some(state, MAX_ATTEMPTS)}
    return found.union(some(UnitState.READY, FIRST, newest=False))


def _is(state: str) -> ColumnElement[bool]:
    """Return the condition for a state, with the words of the partial index that holds its units."""
    condition = unit.c.state == literal_column(f"'{UnitState(state).value}'")
    shared = next((states for states in (OPEN_UNITS, _ENDED) if state in states and state != UnitState.READY), None)
    return condition if shared is None else and_(among(unit.c.state, shared), condition)


_ENDED: Final = frozenset({UnitState.VALID, UnitState.CANCELLED})
_PAGE = (
    select(
        unit.c.id, unit.c.key, unit.c.grp, unit.c.state, unit.c.reason, unit.c.code, signed_unit.c.document,
        answer.c.value, answer.c.blob, blob.c.bytes, replica.c.cpu_s, replica.c.wall_s,
    )
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .outerjoin(replica, replica.c.id == unit.c.canonical_id)
    .outerjoin(answer, answer.c.replica_id == unit.c.canonical_id)
    .outerjoin(blob, blob.c.sha256 == answer.c.blob)
    .where(steps.IS_LIVE)
)  # fmt: skip

_SENT = (
    select(replica.c.unit_id, func.count().label("n"))
    .where(among_ids(replica.c.unit_id))
    .group_by(replica.c.unit_id)
)  # fmt: skip

_ATTEMPTS = (
    select(
        replica.c.id, replica.c.unit_id, replica.c.state, replica.c.leased, replica.c.reported, replica.c.deadline,
        replica.c.reason, replica.c.cpu_s, replica.c.wall_s, host.c.platform, unit.c.finished,
    )
    .join(unit, unit.c.id == replica.c.unit_id)
    .join(host, host.c.id == replica.c.host_id)
    .where(among_ids(replica.c.unit_id))
    .order_by((replica.c.state == ReplicaState.ERROR.value).desc(), replica.c.id.desc())
    .limit(MAX_ATTEMPTS)
)  # fmt: skip

_SENT_OUT = (
    select(
        replica.c.unit_id, replica.c.host_id, replica.c.state, func.substr(replica.c.reason, 1, 60).label("reason"),
        host.c.platform,
    )
    .join(host, host.c.id == replica.c.host_id)
    .where(among_ids(replica.c.unit_id))
    .order_by(replica.c.id.desc())
    .limit(MAX_SENT)
)  # fmt: skip
"""The beginning of a reason is its code; the rest may be a long traceback."""

_PRINTED = select(printed.c.replica_id, printed.c.output).where(among_ids(printed.c.replica_id))

_UNFOLDED: Final = (among(unit.c.state, (UnitState.VALID, UnitState.FAILED)), unit.c.folded_step.is_(None))
_LEFT = select(
    unit.c.id,
    unit.c.key,
    unit.c.grp,
    unit.c.quorum,
    unit.c.deadline_s,
    unit.c.splits,
    unit.c.retries,
    unit.c.adaptive,
    signed_unit.c.document,
).join(signed_unit, signed_unit.c.unit_id == unit.c.id)
