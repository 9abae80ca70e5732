"""A whole, small world of trust for tests: every key, and one of every document they sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from dsage import codec
from dsage.trust.chain import Chain
from dsage.trust.documents import Authorisation, CodeKey, Manifest, Root, UnitBatch, UnitDocument
from dsage.trust.envelope import Envelope, hash_of, seal
from dsage.trust.keys import PrivateKey, key_hash
from dsage.trust.merkle import tree

NOW: Final = 1_800_000_000.0
DAY: Final = 86400.0


@dataclass(frozen=True)
class SignedUnits:
    """Some units as a server hands them out: leaf bytes, their paths, and the signed root of the batch."""

    documents: list[bytes]
    paths: list[list[bytes]]
    batch: Envelope


@dataclass(frozen=True)
class World:
    """A root, a code and a unit key, and methods that sign what they are meant to sign, with any field changed."""

    server_id: str = "server-one"
    root_key: PrivateKey = field(default_factory=PrivateKey.generate)
    code_key: PrivateKey = field(default_factory=PrivateKey.generate)
    unit_key: PrivateKey = field(default_factory=PrivateKey.generate)

    def root(self, **changes: Any) -> Root:
        """Return root.json's contents, version 1: the code key may sign for the project "curves"."""
        root = Root(
            server_id=self.server_id,
            version=1,
            issued=NOW - DAY,
            expires=NOW + 90 * DAY,
            root_key=self.root_key.public,
            unit_keys=[self.unit_key.public],
            code_keys=[CodeKey(key=self.code_key.public, name="anna", projects=["curves"], expires=NOW + 60 * DAY)],
            ca_keys=["ab" * 32],
        )
        return msgspec.structs.replace(root, **changes)

    def chain(self, **changes: Any) -> Chain:
        """Return the chain of a client that pinned this world's root key."""
        return Chain.first(
            seal(self.root(**changes), self.root_key),
            server_id=self.server_id,
            root_key_hash=key_hash(self.root_key.public),
            now=NOW,
        )

    def manifest(self, *keys: PrivateKey, **changes: Any) -> Envelope:
        """Return an app version, signed by the code key unless `keys` are given."""
        manifest = Manifest(
            project="curves", title="Curves", entry="curves:Curves", bundle="cd" * 32, bundle_bytes=1000
        )
        return seal(msgspec.structs.replace(manifest, **changes), *(keys or (self.code_key,)))

    def authorisation(self, *keys: PrivateKey, **changes: Any) -> Envelope:
        """Return a run that the code key allows for this world's app."""
        authorisation = Authorisation(
            server_id=self.server_id,
            project="curves",
            run_key="run-1",
            app=hash_of(self.manifest()),
            cpu_s=60.0,
            wall_s=120.0,
            memory_bytes=1 << 30,
            disk_bytes=1 << 20,
            output_bytes=1 << 16,
            issued=NOW - DAY,
            expires=NOW + 30 * DAY,
        )
        return seal(msgspec.structs.replace(authorisation, **changes), *(keys or (self.code_key,)))

    def unit(self, number: int, **changes: Any) -> UnitDocument:
        """Return one unit of that run, within its limits."""
        unit = UnitDocument(
            server_id=self.server_id,
            unit=number,
            run=hash_of(self.authorisation()),
            app=hash_of(self.manifest()),
            args=codec.encode(number),
            credit_milli=1000,
            cpu_s=60.0,
            wall_s=120.0,
            memory_bytes=1 << 28,
            disk_bytes=1 << 20,
            output_bytes=1 << 16,
            expires=NOW + 7 * DAY,
        )
        return msgspec.structs.replace(unit, **changes)

    def sign_units(self, units: list[UnitDocument], *keys: PrivateKey, **changes: Any) -> SignedUnits:
        """Return units in one signed batch, `changes` being made to the batch."""
        documents = [msgspec.json.encode(unit) for unit in units]
        root, paths = tree(documents)
        batch = UnitBatch(
            server_id=self.server_id, root=root, count=len(units), issued=NOW - DAY, expires=NOW + 7 * DAY
        )
        envelope = seal(msgspec.structs.replace(batch, **changes), *(keys or (self.unit_key,)))
        return SignedUnits(documents, paths, envelope)
