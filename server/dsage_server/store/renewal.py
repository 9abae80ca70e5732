"""Units that wait longer than their signature holds, or whose key was replaced: signed again before they go out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from dsage.states import OPEN_RUNS
from dsage.trust.documents import Authorisation, UnitDocument
from dsage.trust.envelope import Envelope, signers
from dsage_server.signing import SignedUnits
from dsage_server.store import runs
from dsage_server.store.bulk import chunks, insert_rows
from dsage_server.store.schema import among, batch, run, signed_unit, unit


def stale(connection: Connection, key: bytes, before: float) -> dict[int, list[UnitDocument]]:
    """Return, by run, the ready units whose batch expires before a time or was signed by another key than `key`."""
    in_use = (
        select(signed_unit.c.batch_id)
        .join(unit, unit.c.id == signed_unit.c.unit_id)
        .where(unit.c.run_id.in_(_GOES_ON), unit.c.state == "ready")
        .distinct()
    )
    rows = connection.execute(select(batch).where(batch.c.id.in_(in_use)))
    old = [
        row.id
        for row in rows
        if row.expires < before or key not in signers(msgspec.msgpack.decode(row.envelope, type=Envelope))
    ]
    found: dict[int, list[UnitDocument]] = {}
    for part in chunks(old):
        query = (
            select(unit.c.run_id, signed_unit.c.document)
            .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
            .where(unit.c.run_id.in_(_GOES_ON), unit.c.state == "ready", signed_unit.c.batch_id.in_(part))
        )
        for row in connection.execute(query):
            found.setdefault(row.run_id, []).append(msgspec.json.decode(row.document, type=UnitDocument))
    return found


def authorisation_of(connection: Connection, number: int) -> Authorisation:
    """Return what a run's researcher allowed."""
    name = connection.execute(select(run.c.authorisation).where(run.c.id == number)).scalar_one()
    return msgspec.json.decode(runs.find_document(connection, name).payload, type=Authorisation)


def replace(connection: Connection, signed: SignedUnits) -> None:
    """Put the new signatures in place, for units that still wait."""
    first = connection.info["ids"].take(connection, "batch", len(signed.batches)).start
    sealed = [(first + n, envelope, signed.expires) for n, envelope in enumerate(signed.batches)]
    insert_rows(connection, batch, ("id", "envelope", "expires"), sealed)
    rows: Sequence[dict[str, object]] = [
        {
            "b_id": leaf.unit, "b_document": leaf.document, "b_batch": first + leaf.batch,
            "b_index": leaf.index, "b_path": leaf.path,
        }
        for leaf in signed.leaves
    ]  # fmt: skip
    connection.execute(_REPLACE, rows)


_GOES_ON = select(run.c.id).where(among(run.c.state, OPEN_RUNS)).scalar_subquery()
"""A paused run's units must be good when it goes on."""
_REPLACE = (
    update(signed_unit)
    .where(
        signed_unit.c.unit_id == bindparam("b_id"),
        select(unit.c.id).where(unit.c.id == signed_unit.c.unit_id, unit.c.state == "ready").exists(),
    )
    .values(
        document=bindparam("b_document"), batch_id=bindparam("b_batch"), leaf_index=bindparam("b_index"),
        path=bindparam("b_path"),
    )
)  # fmt: skip
