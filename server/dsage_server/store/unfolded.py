"""Answers for a run's driver: of units that ended and that no step has folded yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, func, select

from dsage import wire
from dsage.trust.documents import UnitDocument
from dsage_server.store import steps, tallies
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import among, answer, blob, replica, run, signed_unit, unit

MAX_ANSWERS: Final = 200
"""Answers per call; a driver folds them in one step."""
MAX_ANSWER_BYTES: Final = wire.MAX_BODY_BYTES // 4
"""What one reply may hold of them; values and arguments are counted in the form that they are stored in."""


def answers(connection: Connection, number: int) -> wire.Answers:
    """Return ended units that no step has folded, oldest first, and how many units are still open.

    Answers that are to be taken back come first, and alone. At most MAX_ANSWERS and MAX_ANSWER_BYTES of either, but
    always one. Large values are counted and left empty, as no
    value is: `large_answers` says which blobs they are.
    """
    retracted = steps.retracted(connection, number, MAX_ANSWERS, MAX_ANSWER_BYTES)
    found: list[wire.Answer] = []
    size = 0
    for row in connection.execute(_UNFOLDED, {"run": number}) if not retracted else ():
        size += len(row.document) + len(row.value or b"") + (row.bytes or 0)
        if found and size > MAX_ANSWER_BYTES:
            break
        args = msgspec.json.decode(row.document, type=UnitDocument).args
        failed = row.reason or "given up" if row.state == "failed" else ""
        found.append(
            wire.Answer(
                unit=row.id, key=row.key, group=row.grp, args=args, value=row.value, failed=failed, code=row.code,
                cpu_s=row.cpu_s or 0.0, wall_s=row.wall_s or 0.0, replica=row.canonical_id or 0,
            )
        )  # fmt: skip
    state = connection.execute(select(run.c.state).where(run.c.id == number)).scalar_one()
    return wire.Answers(
        answers=found, open_units=tallies.open_units(connection, number), state_of_run=state, retracted=retracted
    )


def large_answers(connection: Connection, wanted: Sequence[int]) -> dict[int, str]:
    """Return the blobs that hold the answers of units as `answers` tells them, by unit, for those that are in one."""
    rows = connection.execute(_LARGE, {"ids": numbers(connection, wanted)})
    return {row.id: row.blob for row in rows}


_UNFOLDED = (
    select(
        unit.c.id,
        unit.c.key,
        unit.c.grp,
        signed_unit.c.document,
        unit.c.state,
        unit.c.reason,
        unit.c.code,
        unit.c.canonical_id,
        answer.c.value,
        blob.c.bytes,
        replica.c.cpu_s,
        replica.c.wall_s,
    )
    .join(signed_unit, signed_unit.c.unit_id == unit.c.id)
    .outerjoin(replica, replica.c.id == unit.c.canonical_id)
    .outerjoin(answer, answer.c.replica_id == unit.c.canonical_id)
    .outerjoin(blob, blob.c.sha256 == answer.c.blob)
    .where(unit.c.run_id == bindparam("run"), among(unit.c.state, ["valid", "failed"]), unit.c.folded_step.is_(None))
    .order_by(unit.c.finished, unit.c.id)
    .limit(MAX_ANSWERS)
)

_LARGE = (
    select(unit.c.id, answer.c.blob)
    .join(answer, answer.c.replica_id == func.coalesce(unit.c.refused_id, unit.c.canonical_id))
    .where(among_ids(unit.c.id), answer.c.blob.is_not(None))
)
