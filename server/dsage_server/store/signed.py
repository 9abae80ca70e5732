"""Units as they are signed: documents with their paths, and the batches that they are leaves of."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, select

from dsage.trust.documents import UnitDocument
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import batch, signed_unit


def signed_units(
    connection: Connection, wanted: Iterable[int]
) -> tuple[dict[int, tuple[bytes, int, int, bytes]], dict[int, bytes]]:
    """Return document, batch, leaf index and Merkle path of units, by id, and the envelopes of those batches."""
    rows = connection.execute(_SIGNED, {"ids": numbers(connection, wanted)}).all()
    used = numbers(connection, {row[2] for row in rows})
    envelopes = {row[0]: row[1] for row in connection.execute(_BATCHES, {"ids": used}).all()}
    return {number: (document, of, index, path) for number, document, of, index, path in rows}, envelopes


def args_of(connection: Connection, number: int) -> bytes:
    """Return the arguments of a unit, in the form that they are stored in."""
    document = connection.execute(select(signed_unit.c.document).where(signed_unit.c.unit_id == number)).scalar_one()
    return msgspec.json.decode(document, type=UnitDocument).args


_SIGNED = select(
    signed_unit.c.unit_id, signed_unit.c.document, signed_unit.c.batch_id, signed_unit.c.leaf_index, signed_unit.c.path
).where(among_ids(signed_unit.c.unit_id))
_BATCHES = select(batch.c.id, batch.c.envelope).where(among_ids(batch.c.id))
