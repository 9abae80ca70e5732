"""What a client or validator believes: the chain root -> code key -> app and run -> unit.

A `Chain` holds one verified root.json and judges everything else by it. It is pure: every question takes `now`
(Unix seconds), and a newer root.json makes a new chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from dsage.errors import Expired, Revoked, RolledBack, TrustError, WrongPath, WrongRole, WrongServer
from dsage.trust.documents import Authorisation, CodeKey, Manifest, Root, UnitBatch, UnitDocument
from dsage.trust.envelope import D, Envelope, hash_of, open_as, parse, verified_signers
from dsage.trust.keys import fingerprint, key_hash
from dsage.trust.merkle import root_of

CLOCK_SKEW_S: Final = 300.0
"""How far two honest clocks may be apart; Kerberos allows the same five minutes (RFC 4120, section 8.2)."""

LIMITS: Final = ("cpu_s", "wall_s", "memory_bytes", "disk_bytes", "output_bytes")


@dataclass(frozen=True, slots=True)
class Chain:
    """A verified root.json and the judgements that follow from it."""

    root: Root

    @classmethod
    def first(cls, envelope: Envelope, *, server_id: str | None, root_key_hash: str, now: float | None) -> Self:
        """Believe a root.json that the root key with this SHA-256 signed.

        After a root key change a root.json signed by the pinned and by the new key is believed too. `now` None
        skips the dates: for the copy that a client kept on disk, whose version still counts and whose dates are
        checked whenever it is used. Raises WrongRole, BadSignature, WrongServer, Expired.
        """
        pinned = [s.keyid for s in envelope.signatures if key_hash(s.keyid) == root_key_hash]
        root = open_as(envelope, Root, pinned)
        verified_signers(envelope, [root.root_key])
        if server_id is not None and root.server_id != server_id:
            raise WrongServer(f"root.json is of server {root.server_id}, not of {server_id}")
        _check_roles(root)
        if now is not None:
            check_dates("root.json", root.issued, root.expires, now)
        return cls(root)

    def advance(self, envelope: Envelope, now: float) -> Chain:
        """Return the chain with a newer root.json; the same version again changes nothing.

        Raises WrongRole or BadSignature unless the present root key signed it (and the next one, if it names
        another), RolledBack, WrongServer, Expired.
        """
        root = open_as(envelope, Root, [self.root.root_key])
        verified_signers(envelope, [root.root_key])
        if root.server_id != self.root.server_id:
            raise WrongServer(f"root.json is of server {root.server_id}, not of {self.root.server_id}")
        if root.version < self.root.version:
            raise RolledBack(f"root.json has version {root.version}, and version {self.root.version} was already seen")
        if root.version == self.root.version and root != self.root:
            raise RolledBack(f"there are two different root.json of version {root.version}")
        _check_roles(root)
        check_dates("root.json", root.issued, root.expires, now)
        return Chain(root)

    def manifest(self, envelope: Envelope, now: float) -> Manifest:
        """Return the app version. Raises Revoked, WrongRole, BadSignature, Expired."""
        self._check_app(hash_of(envelope))
        manifest, certificates = self._open_code(envelope, Manifest)
        self._check_certified(certificates, manifest.project, now)
        return manifest

    def authorisation(self, envelope: Envelope, manifest: Manifest, app_hash: str, now: float) -> Authorisation:
        """Return what a researcher allows a run of the app `app_hash`, whose manifest is `manifest`, to do.

        Raises WrongServer, WrongRole (another app or project, or no certified key), BadSignature, Expired,
        Revoked.
        """
        authorisation, certificates = self._open_code(envelope, Authorisation)
        self._check_server(authorisation.server_id, "the run")
        self._check_certified(certificates, authorisation.project, now)
        self._check_app(app_hash)
        if authorisation.app != app_hash or authorisation.project != manifest.project:
            raise WrongRole(
                f"the run {authorisation.run_key} was allowed for app {authorisation.app[:12]} of project "
                f"{authorisation.project}, not for {app_hash[:12]} of {manifest.project}"
            )
        check_dates("the run's authorisation", authorisation.issued, authorisation.expires, now)
        return authorisation

    def unit(self, document: bytes, index: int, path: list[bytes], batch: Envelope, now: float) -> UnitDocument:
        """Return unit number `index` of a signed batch. Its run is checked by `check_unit_against`.

        Raises WrongRole, BadSignature, WrongPath, WrongServer, Expired, Revoked.
        """
        signed, _ = self._open(batch, UnitBatch, self.root.unit_keys)
        self._check_server(signed.server_id, "the batch of units")
        self.check_root(now)
        check_dates("the batch of units", signed.issued, signed.expires, now)
        if root_of(document, index, signed.count, path) != signed.root:
            raise WrongPath(f"unit {index} of {signed.count} is not in the batch that was signed")
        unit = parse(document, UnitDocument)
        self._check_server(unit.server_id, f"unit {unit.unit}")
        self._check_app(unit.app)
        check_dates(f"unit {unit.unit}", None, unit.expires, now)
        return unit

    def check_unit_against(self, unit: UnitDocument, authorisation: Authorisation, run_hash: str) -> None:
        """Raise WrongRole unless the unit belongs to this authorised run and stays within its limits.

        `run_hash` is the hash of the envelope that `authorisation` was read from.
        """
        if unit.run != run_hash or unit.app != authorisation.app or unit.server_id != authorisation.server_id:
            raise WrongRole(f"unit {unit.unit} does not belong to the run {authorisation.run_key}")
        for name in LIMITS:
            asked, allowed = getattr(unit, name), getattr(authorisation, name)
            if not 0 < asked <= allowed:
                raise WrongRole(f"unit {unit.unit} asks for {name} = {asked}; its run allows up to {allowed}")
        read = sum({file.sha256: file.bytes for file in unit.inputs.values()}.values())
        if read > unit.disk_bytes:
            raise WrongRole(f"unit {unit.unit} has inputs of {read} bytes; its disk_bytes are {unit.disk_bytes}")

    def accepts_ca(self, spki_sha256: str) -> bool:
        """Say whether root.json names this CA key (or the word "system", if that is what is asked for)."""
        return spki_sha256 in self.root.ca_keys

    def check_root(self, now: float) -> None:
        """Raise Expired unless root.json is in force: nothing that rests on it is believed then."""
        check_dates("root.json", self.root.issued, self.root.expires, now)

    def _open(self, envelope: Envelope, kind: type[D], allowed: list[bytes]) -> tuple[D, set[bytes]]:
        """Return the document and those of the `allowed` keys, not revoked, that signed it."""
        revoked = set(self.root.revoked_keys)
        document = open_as(envelope, kind, [*allowed, *revoked])
        good = set(verified_signers(envelope, [*allowed, *revoked]))
        if good <= revoked:
            names = ", ".join(map(fingerprint, good))
            raise Revoked(f"a {kind.__name__} is signed by {names}, which was revoked")
        return document, good - revoked

    def _open_code(self, envelope: Envelope, kind: type[D]) -> tuple[D, list[CodeKey]]:
        document, good = self._open(envelope, kind, [c.key for c in self.root.code_keys])
        return document, [certificate for certificate in self.root.code_keys if certificate.key in good]

    def _check_certified(self, certificates: list[CodeKey], project: str, now: float) -> None:
        self.check_root(now)
        fitting = [certificate for certificate in certificates if project in certificate.projects]
        if not fitting:
            names = ", ".join(certificate.name for certificate in certificates)
            raise WrongRole(f"the code key {names} is not certified for the project {project}")
        latest = max(fitting, key=lambda certificate: certificate.expires)
        check_dates(f"the certificate of the code key {latest.name}", None, latest.expires, now)

    def _check_app(self, app_hash: str) -> None:
        if app_hash in self.root.revoked_apps:
            raise Revoked(f"the app version {app_hash[:12]} was revoked")

    def _check_server(self, server_id: str, what: str) -> None:
        if server_id != self.root.server_id:
            raise WrongServer(f"{what} is of server {server_id}, not of {self.root.server_id}")


def check_dates(what: str, issued: float | None, expires: float, now: float) -> None:
    """Raise Expired if `what` has run out, or was issued in the future, by more than CLOCK_SKEW_S."""
    if now > expires + CLOCK_SKEW_S:
        raise Expired(f"{what} expired on {_date(expires)}; the clock of the computer that checks it says {_date(now)}")
    if issued is not None and issued > now + CLOCK_SKEW_S:
        raise Expired(
            f"{what} is only valid from {_date(issued)}; the clock of the computer that checks it says {_date(now)}"
        )


def _check_roles(root: Root) -> None:
    roles = [{root.root_key}, set(root.unit_keys), {certificate.key for certificate in root.code_keys}]
    if sum(map(len, roles)) != len(set().union(*roles)):
        raise WrongRole("root.json gives one key two roles")
    if root.root_key in root.revoked_keys:
        raise Revoked("the root key was revoked by its own signature")
    if root.version < 1:
        raise TrustError(f"root.json has the impossible version {root.version}")


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"
