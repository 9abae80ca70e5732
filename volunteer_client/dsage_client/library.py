"""From a lease to checked source on this disk: everything that must hold before a unit may run.

Documents and bundles are kept by hash, so a client that starts while its server is away can still go on. Kept or
fetched, they are checked each time a client starts: hash, signature, role, dates, limits.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dsage import bundle
from dsage.codec import digest
from dsage.errors import Expired, Revoked, TooLarge, TrustError, UnitFailed, WrongRole
from dsage.files import keeping, write_whole
from dsage.sandbox.offers import available
from dsage.trust.chain import Chain
from dsage.trust.documents import Authorisation, Manifest, UnitDocument
from dsage.trust.envelope import Envelope, hash_of
from dsage_client.held import Lease
from dsage_client.session import Session

MAX_REMEMBERED: Final = 64
"""Documents kept in memory: far more runs than one client works for at a time."""

_HASH = re.compile(r"[0-9a-f]{64}")


class MissingNeed(UnitFailed):
    """The app needs a module, program or set of instructions that this host does not have."""

    code = "host.needs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A unit that may run here: its documents held when they were checked."""

    lease: Lease
    unit: UnitDocument
    manifest: Manifest
    authorisation: Authorisation
    manifest_envelope: Envelope
    authorisation_envelope: Envelope
    app_dir: Path


class Library:
    """Checks leases; keeps what they rest on under `folder`, and unpacks sources under `apps`."""

    def __init__(self, session: Session, folder: Path, apps: Path) -> None:
        self._session = session
        self._folder = folder
        self._apps = apps
        self._documents: dict[str, Envelope] = {}
        self._unpacked: dict[str, Path] = {}
        self._unpacking = asyncio.Lock()

    @property
    def server_id(self) -> str:
        """The server whose units these are."""
        return self._session.server_id

    async def prove(self, lease: Lease) -> Proven:
        """Return the unit if the whole chain holds: unit, run authorisation, app, limits, bundle.

        Raises the TrustError of the first link that does not hold, BundleError or MissingNeed for an app that
        cannot run here, StorageFull, and what `Session` raises while fetching.
        """
        now, chain = self._session.clock(), self._session.chain
        unit = chain.unit(lease.document, lease.index, lease.path, lease.batch, now)
        app, manifest = await self._manifest(unit.app, chain, now)
        allowed = await self._document(unit.run)
        authorisation = chain.authorisation(allowed, manifest, unit.app, now)
        chain.check_unit_against(unit, authorisation, hash_of(allowed))
        self._remember(unit.app, app)
        self._remember(unit.run, allowed)
        for name in manifest.needs:
            if not available(name):
                raise MissingNeed(f"this computer has no {name}, which {manifest.title or unit.app[:12]} needs")
        return Proven(
            lease=lease,
            unit=unit,
            manifest=manifest,
            authorisation=authorisation,
            manifest_envelope=app,
            authorisation_envelope=allowed,
            app_dir=await self._app(manifest),
        )

    def recheck(self, proven: Proven) -> None:
        """Judge a unit again by the chain of now. Raises TrustError, Revoked among others."""
        now, chain, lease = self._session.clock(), self._session.chain, proven.lease
        chain.unit(lease.document, lease.index, lease.path, lease.batch, now)
        manifest = chain.manifest(proven.manifest_envelope, now)
        chain.authorisation(proven.authorisation_envelope, manifest, proven.unit.app, now)

    async def _manifest(self, sha256: str, chain: Chain, now: float) -> tuple[Envelope, Manifest]:
        """Return an app version that is believed now; another key may have signed the same since it was kept."""
        kept = await self._document(sha256)
        try:
            return kept, chain.manifest(kept, now)
        except (Revoked, WrongRole, Expired):
            if sha256 in chain.root.revoked_apps:
                raise
            fresh = await self._session.document(sha256)
            manifest = chain.manifest(fresh, now)
            self._documents.pop(sha256, None)
            with keeping(self._folder):
                (self._folder / "documents" / sha256).unlink(missing_ok=True)
            return fresh, manifest

    async def _document(self, sha256: str) -> Envelope:
        """Return a document that was kept, or fetch it. Nobody has vouched for it yet: it is not kept here."""
        _check_name(sha256)
        found = self._documents.get(sha256) or _stored(self._folder / "documents" / sha256, sha256)
        return found or await self._session.document(sha256)

    def _remember(self, sha256: str, envelope: Envelope) -> None:
        """Keep a document whose signature holds."""
        if sha256 in self._documents:
            return
        file = self._folder / "documents" / sha256
        if not file.exists():
            _keep(file, msgspec.msgpack.encode(envelope))
        while len(self._documents) >= MAX_REMEMBERED:
            del self._documents[next(iter(self._documents))]
        self._documents[sha256] = envelope

    async def _app(self, manifest: Manifest) -> Path:
        """Return the folder with the app's source, unpacked afresh once in a client's life."""
        name = manifest.bundle
        _check_name(name)
        async with self._unpacking:
            if name in self._unpacked:
                return self._unpacked[name]
            if manifest.bundle_bytes > bundle.MAX_BUNDLE_BYTES:
                most = bundle.MAX_BUNDLE_BYTES
                raise TooLarge(f"the app's bundle has {manifest.bundle_bytes} bytes; {most} are allowed")
            file, folder = self._folder / "bundles" / name, self._apps / name
            data = file.read_bytes() if file.exists() else b""
            if digest(data) != name:
                with keeping(file.parent):
                    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                await self._session.bundle(name, manifest.bundle_bytes, file)
                data = file.read_bytes()
            with keeping(folder):
                shutil.rmtree(folder, ignore_errors=True)
                bundle.unpack(data, folder, expected_sha256=name)
            self._unpacked[name] = folder
            return folder


def _check_name(sha256: str) -> None:
    """Raise TrustError for a name that is no hash: names become paths here."""
    if not _HASH.fullmatch(sha256):
        raise TrustError(f"{sha256[:80]!r} is not the hash of a document")


def _stored(file: Path, sha256: str) -> Envelope | None:
    try:
        envelope = msgspec.msgpack.decode(file.read_bytes(), type=Envelope)
    except (OSError, msgspec.DecodeError):
        return None
    return envelope if hash_of(envelope) == sha256 else None


def _keep(file: Path, data: bytes) -> None:
    with keeping(file):
        write_whole(file, data, private=True, durable=False)
