"""Signing units when they are made: Merkle batches under one signature of the unit key, off the request path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from dsage import wire
from dsage.errors import UsageError
from dsage.trust import merkle
from dsage.trust.documents import Authorisation, UnitBatch, UnitDocument
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey

BATCH: Final = 256
"""Leaves under one signature: eight hashes a unit, and about a millisecond of work."""
UNIT_VALID_S: Final = 30 * 86400.0

ALLOWED: Final = {"quorum": 100, "deadline_s": 365 * 86400.0, "credit_milli": 10**9}
"""The most of what is not limited by the run: beyond any use, and far from what would break the arithmetic."""
LIMITS: Final = ("cpu_s", "wall_s", "memory_bytes", "disk_bytes", "output_bytes")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One signed unit: its exact bytes, and where it hangs in which batch."""

    unit: int
    document: bytes
    batch: int
    index: int
    path: bytes


@dataclass(frozen=True, slots=True)
class SignedUnits:
    """Units ready to be stored: batch envelopes (MessagePack) and their leaves in the order given."""

    batches: list[bytes]
    leaves: list[Leaf]
    expires: float


def sign_units(
    key: PrivateKey,
    authorisation: Authorisation,
    run_hash: str,
    first: int,
    new: Sequence[wire.NewUnit],
    now: float,
) -> SignedUnits:
    """Return the units numbered from `first`, signed. Raises UsageError if a unit asks for what cannot be."""
    expires = min(now + UNIT_VALID_S, authorisation.expires)
    documents = [_document(authorisation, run_hash, first + offset, entry, expires) for offset, entry in enumerate(new)]
    return sign_documents(key, documents, now)


def sign_documents(key: PrivateKey, documents: Sequence[UnitDocument], now: float) -> SignedUnits:
    """Return units of one server and one expiry, signed in batches."""
    server_id, expires = documents[0].server_id, documents[0].expires
    batches: list[bytes] = []
    leaves: list[Leaf] = []
    for start in range(0, len(documents), BATCH):
        part = [msgspec.json.encode(document) for document in documents[start : start + BATCH]]
        root, paths = merkle.tree(part)
        sealed = seal(UnitBatch(server_id=server_id, root=root, count=len(part), issued=now, expires=expires), key)
        batches.append(msgspec.msgpack.encode(sealed))
        leaves += [
            Leaf(documents[start + index].unit, leaf, len(batches) - 1, index, msgspec.msgpack.encode(path))
            for index, (leaf, path) in enumerate(zip(part, paths, strict=True))
        ]
    return SignedUnits(batches, leaves, expires)


def renewed(documents: Sequence[UnitDocument], authorisation: Authorisation, now: float) -> list[UnitDocument]:
    """Return the same units with a new expiry."""
    expires = min(now + UNIT_VALID_S, authorisation.expires)
    return [msgspec.structs.replace(document, expires=expires) for document in documents]


def _document(
    authorisation: Authorisation, run_hash: str, number: int, entry: wire.NewUnit, expires: float
) -> UnitDocument:
    allowed = {name: getattr(authorisation, name) for name in LIMITS} | ALLOWED
    for name, most in allowed.items():
        if not 0 < getattr(entry, name) <= most:
            raise UsageError(
                f"unit {entry.key!r} asks for {name} = {getattr(entry, name)}; it must be above 0 and at most {most}",
                hint="Submit the run with higher limits, or make the unit smaller.",
            )
    return UnitDocument(
        server_id=authorisation.server_id, unit=number, run=run_hash, app=authorisation.app, args=entry.args,
        credit_milli=entry.credit_milli, expires=expires, **{name: getattr(entry, name) for name in LIMITS},
    )  # fmt: skip
