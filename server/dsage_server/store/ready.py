"""Ready units from the tables for the queue, run by run, oldest first."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from dsage.states import UnitState
from dsage_server.scheduling.terms import ReadyUnit, RunTerms
from dsage_server.store import kinship
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import host, replica, unit
from dsage_server.store.units import Book, Changed, Head
from dsage_validator import issuing, life
from dsage_validator.unit import Unit


def ready_units(connection: Connection, terms: RunTerms, above: int, limit: int) -> tuple[list[ReadyUnit], bool]:
    """Return up to `limit` ready units of a run with an id above `above`, and whether there are no more of them."""
    rows = connection.execute(_READY, {"run": terms.run, "above": above, "limit": limit}).all()
    sent = {row.unit_id for row in connection.execute(_SENT, {"ids": numbers(connection, (row.id for row in rows))})}
    book = Book.of(connection, sent, lock=False)
    found: list[ReadyUnit] = []
    for row in rows:
        if row.id in sent:
            if book.now[row.id].unsent:
                found.append(as_ready(book.entry(row.id), terms, *wanted_of(connection, book.now[row.id], terms)))
        else:
            fresh = life.created(row.id, row.quorum, splits=row.splits, retries=row.retries, adaptive=row.adaptive)
            head = Head(
                terms.run, row.credit_milli, row.deadline_s, row.memory_bytes, row.disk_bytes, row.output_bytes,
                row.wall_s, terms.project, "", row.inputs,
            )  # fmt: skip
            found.append(as_ready(Changed(fresh, fresh, head), terms))
    return found, len(rows) < limit


def as_ready(changed: Changed, terms: RunTerms, kind: str = "", kin: frozenset[str] = kinship.NOBODY) -> ReadyUnit:
    """Return a unit that has copies to send as the queue wants to know it; `kind` and `kin` as `wanted_of` says.

    Of a unit whose copies are to be of one kind a single one goes out until the kind is known.
    """
    current, head = changed.unit, changed.head
    return ReadyUnit(
        unit=current.id, run=head.run, unsent=min(1, current.unsent) if terms.homogeneous and not kind
        else current.unsent, credit_milli=head.credit_milli,
        deadline_s=head.deadline_s, freed=len(current.replicas) + current.unsent > current.quorum,
        needs=terms.needs(
            memory_bytes=head.memory_bytes, disk_bytes=head.disk_bytes, wall_s=head.wall_s, inputs=head.inputs,
            kind=kind,
        ),
        barred=frozenset([r.volunteer for r in current.replicas if not issuing.may_take(current, r.volunteer)]),
        kin=kin, accepted=current.state is UnitState.VALID,
    )  # fmt: skip


def wanted_of(connection: Connection, current: Unit, terms: RunTerms) -> tuple[str, frozenset[str]]:
    """Return the kind of computers that a unit's further copies are for, as `kind_of` says, and to whom nobody may be
    kin who gets one."""
    return kind_of(connection, current, terms), kin_of(connection, current)


def kin_of(connection: Connection, current: Unit) -> frozenset[str]:
    """Return what nobody may have who takes another copy of a unit."""
    partners = kinship.partners(current)
    return kinship.barred(current, kinship.of(connection, partners)) if partners else kinship.NOBODY


def kind_of(connection: Connection, current: Unit, terms: RunTerms) -> str:
    """Return the kind of computers that a unit's further copies are for; empty: any, or not known yet."""
    first = issuing.first_host(current) if terms.homogeneous else 0
    return (connection.scalar(select(host.c.platform).where(host.c.id == first)) or "") if first else ""


_READY = (
    select(
        unit.c.id,
        unit.c.credit_milli,
        unit.c.deadline_s,
        unit.c.memory_bytes,
        unit.c.disk_bytes,
        unit.c.output_bytes,
        unit.c.wall_s,
        unit.c.inputs,
        unit.c.splits,
        unit.c.retries,
        unit.c.quorum,
        unit.c.adaptive,
    )
    .where(unit.c.state == "ready", unit.c.run_id == bindparam("run"), unit.c.id > bindparam("above"))
    .order_by(unit.c.id)
    .limit(bindparam("limit"))
)
_SENT = select(replica.c.unit_id).where(among_ids(replica.c.unit_id)).distinct()
