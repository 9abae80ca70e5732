"""Signing units when they are made: Merkle batches under one signature of the unit key, off the request path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import msgspec

from dsage import wire
from dsage.errors import NotFound, UsageError
from dsage.inputs import InputFile
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
    """Units ready to be stored: batch envelopes (MessagePack) and their leaves in the order given. `known` are those of
    units whose answer is known, each with the number of the unit that was answered."""

    batches: list[bytes]
    leaves: list[Leaf]
    expires: float
    known: tuple[tuple[int, Leaf], ...] = ()


def sign_units(
    key: PrivateKey,
    authorisation: Authorisation,
    run_hash: str,
    first: int,
    new: Sequence[wire.NewUnit],
    now: float,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> SignedUnits:
    """Return the units numbered from `first`, signed; `sizes` are the bytes of their inputs, by hash.

    Raises UsageError if a unit asks for what cannot be, NotFound for an input that is not in `sizes`.
    """
    expires = min(now + UNIT_VALID_S, authorisation.expires)
    documents = [
        _document(authorisation, run_hash, first + offset, entry, expires, sizes) for offset, entry in enumerate(new)
    ]
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


def parted(signed: SignedUnits, places: Mapping[int, int]) -> SignedUnits:
    """Return signed units of which some are known: `places` says where, and which units were answered."""
    new = [leaf for place, leaf in enumerate(signed.leaves) if place not in places]
    return replace(signed, leaves=new, known=tuple([(of, signed.leaves[place]) for place, of in places.items()]))


def renewed(documents: Sequence[UnitDocument], authorisation: Authorisation, now: float) -> list[UnitDocument]:
    """Return the same units with a new expiry."""
    expires = min(now + UNIT_VALID_S, authorisation.expires)
    return [msgspec.structs.replace(document, expires=expires) for document in documents]


def _document(
    authorisation: Authorisation,
    run_hash: str,
    number: int,
    entry: wire.NewUnit,
    expires: float,
    sizes: Mapping[str, int],
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
        credit_milli=entry.credit_milli, expires=expires, inputs=_inputs(entry, sizes) if entry.inputs else {},
        **{name: getattr(entry, name) for name in LIMITS},
    )  # fmt: skip


def _inputs(entry: wire.NewUnit, sizes: Mapping[str, int]) -> dict[str, InputFile]:
    """Return the inputs of a unit with their lengths, which together may be as much as it may have on disk."""
    missing = [f"{name!r} ({sha256[:12]})" for name, sha256 in entry.inputs.items() if sha256 not in sizes]
    if missing:
        raise NotFound(
            f"unit {entry.key!r} has inputs that this server does not have: {', '.join(missing[:5])}",
            hint="Send the files to the server first.",
        )
    files = {name: InputFile(sha256=sha256, bytes=sizes[sha256]) for name, sha256 in sorted(entry.inputs.items())}
    total = sum({file.sha256: file.bytes for file in files.values()}.values())
    if total > entry.disk_bytes:
        raise UsageError(
            f"the inputs of unit {entry.key!r} have {total} bytes; its disk_bytes are {entry.disk_bytes}",
            hint="Submit the run with a higher limit disk_bytes, or give each unit less to read.",
        )
    return files
