"""What a client reports of one copy, as it counts: a computer's word, which may hold anything."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from dsage.states import ReplicaState, UnitState
from dsage.trust.documents import SignedResult
from dsage.wire import Report
from dsage_server.store.bulk import among_ids, numbers
from dsage_server.store.schema import among, replica, unit
from dsage_validator import life
from dsage_validator.unit import Unit

MAX_REASON: Final = 4000
"""Characters kept of why a copy failed: the end of it, where the error stands."""
MAX_LINE: Final = 400
"""Characters of its last line that are told when the unit is given up."""
_CODE = re.compile(r"[a-z][a-z.-]{0,39}")
"""Reasons that a client may give, which people see: the codes of errors and of sandboxes, and no prose."""


def counted(signed: SignedResult, report: Report, output_bytes: int) -> SignedResult:
    """Return a result as it counts: an answer longer than its unit allows is a failure, as it is in the sandbox."""
    if report.value is not None and len(report.value) > output_bytes:
        return msgspec.structs.replace(signed, status="failed", reason="output")
    if not signed.reason or _CODE.fullmatch(signed.reason):
        return signed
    return msgspec.structs.replace(signed, reason="")


def ended(current: Unit, signed: SignedResult, detail: str) -> Unit:
    """Return the unit after what a client reported of one copy."""
    if signed.status == "done":
        # What proves itself may be copied once its run shows it, which is why siblings are cancelled: it is no proof of
        # work any more, so only the share that it shows is paid.
        return life.report(current, signed.replica, partial=current.state is UnitState.CANCELLED)
    if signed.status == "aborted" and signed.value and current.final:
        return life.report(current, signed.replica, partial=True)
    if signed.status == "failed":
        return life.give_up(current, signed.replica, ReplicaState.ERROR, signed.reason, _last_line(detail))
    stopped = signed.status == "aborted" and current.final
    return life.give_up(current, signed.replica, ReplicaState.ABORTED if stopped else ReplicaState.RETURNED)


def why(signed: SignedResult, report: Report) -> str:
    """Return why a copy failed, as it is kept: its reason as a word, and the end of what the client says of it."""
    code = signed.reason if _CODE.fullmatch(signed.reason) else ""
    reason = code if not report.detail else f"{code}: {report.detail[-2000:]}"
    return reason[-MAX_REASON:]


def welcome(connection: Connection, host: int, claimed: Sequence[tuple[int, bytes, int]]) -> set[int]:
    """Return those of some copies that a host may answer: (copy, lease, bytes of the answer) as it says."""
    rows = connection.execute(_WELCOME, {"ids": numbers(connection, [copy for copy, _, _ in claimed])})
    known = {row.id: row for row in rows if row.host_id == host}
    return {
        copy
        for copy, lease, size in claimed
        if copy in known and hmac.compare_digest(known[copy].lease, lease) and size <= known[copy].output_bytes
    }


def _last_line(detail: str) -> str:
    """Return where a failure says what it is, fit to be shown: a computer's word, which may hold anything."""
    lines = detail[-MAX_REASON:].strip().splitlines() or [""]
    return "".join([c if c.isprintable() else " " for c in lines[-1]])[:MAX_LINE].strip()


_WELCOME = (
    select(replica.c.id, replica.c.host_id, replica.c.lease, unit.c.output_bytes)
    .join(unit, unit.c.id == replica.c.unit_id)
    .where(
        among_ids(replica.c.id), replica.c.value_hash.is_(None), among(replica.c.state, ["leased", "expired"])
    )
)  # fmt: skip
