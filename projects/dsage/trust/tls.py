"""TLS without ceremony: a certificate authority of the server's own, a leaf, and clients that pin the authority.

Files in the folder: `ca.key`, `ca.pem`, `tls.key`, `tls.pem`; keys have mode 0600. EC P-256 throughout, which
every TLS library supports.
"""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dsage.errors import BadSignature, NotFound, UsageError
from dsage.files import write_whole

AUTHORITY_DAYS: Final = 3650
LEAF_DAYS: Final = 90
RENEW_DAYS: Final = 30
BACKDATE: Final = timedelta(hours=24)
"""New certificates begin in the past, so that a client whose clock is behind can still read the error about it."""


def make_authority(folder: Path, name: str = "DSage project server") -> None:
    """Make the CA, 10 years valid and able to sign leaves only. Does nothing if its certificate is there."""
    if (folder / "ca.pem").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:60] or "DSage")])
    certificate = (
        _builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder, "ca", key, certificate)


def make_leaf(folder: Path, names: list[str]) -> bool:
    """Make the server's certificate for these DNS names and IP addresses, 90 days valid; True if one was made.

    The present one stays if it covers the names and has 30 days left. Raises NotFound if the CA's key is gone.
    """
    if _leaf_serves(folder, names):
        return False
    try:
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except FileNotFoundError as error:
        raise NotFound(
            f"the server's certificate must be renewed, but {error.filename} is missing",
            hint="Put the file back from your backup, or move both CA files away and start again.",
        ) from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise NotFound(f"{folder / 'ca.key'} is not the key that DSage made")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:60])])
    certificate = (
        _builder(subject, authority.subject, key.public_key(), LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(folder, "tls", key, certificate)
    return True


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the server's side: TLS 1.2 at least, 1.3 preferred. Loading a renewed leaf into it is allowed."""
    return context_of(folder / "tls.pem", folder / "tls.key")


def context_of(cert: Path, key: Path) -> ssl.SSLContext:
    """Return the server's side for a certificate (with its chain) and its key. Raises UsageError if they do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint="Name a file that is there.") from None
    try:
        context.load_cert_chain(cert, key, password=b"")  # without a password OpenSSL would ask on the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"the key in {key} does not belong to the certificate in {cert}",
                hint="In a file with a chain the server's own certificate stands first.",
            ) from None
        raise UsageError(
            f"{cert} and {key} are not a certificate and a key that can be used: {error.reason or error}",
            hint="Both are PEM, and the key has no password.",
        ) from None
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Let a client that wants `name` meet the server in memory. Raises ssl.SSLError if it turns away."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name.strip("[]")),
        server.wrap_bio(there, back, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue


def spki_hash(cert_pem: bytes) -> str:
    """Return the SHA-256 of the certificate's public key (DER SubjectPublicKeyInfo) in hexadecimal.

    Raises BadSignature unless there is exactly one certificate.
    """
    return _spki(_single(cert_pem))


def pinned_context(ca_pem: bytes, spki: str) -> ssl.SSLContext:
    """Return a client's side that trusts this CA alone and checks host names.

    `ca_pem` may come from anywhere: its key must have the hash `spki`. Raises BadSignature if it has another.
    """
    certificate = _single(ca_pem)
    if _spki(certificate) != spki:
        raise BadSignature("the server's certificate authority is not the one that the invite link names")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=certificate.public_bytes(serialization.Encoding.DER))
    return context


def expiry(cert_pem: bytes) -> datetime:
    """Return when a certificate runs out (UTC)."""
    return _single(cert_pem).not_valid_after_utc


def _leaf_serves(folder: Path, names: list[str]) -> bool:
    try:
        leaf = _single((folder / "tls.pem").read_bytes())
        authority = _single((folder / "ca.pem").read_bytes())
        leaf.verify_directly_issued_by(authority)
        key = serialization.load_pem_private_key((folder / "tls.key").read_bytes(), None)
        covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, BadSignature, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    enough = leaf.not_valid_after_utc - datetime.now(UTC) >= timedelta(days=RENEW_DAYS)
    fits = key.public_key() == leaf.public_key()
    return enough and fits and {_general_name(name) for name in names} <= set(covered)


def _single(pem: bytes) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    if len(found) != 1:
        raise BadSignature("what stands for the certificate authority is not one certificate")
    return found[0]


def _spki(certificate: x509.Certificate) -> str:
    return hashlib.sha256(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).hexdigest()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise UsageError(
            f"{name!r} cannot stand in a certificate", hint="Write the host name in its xn-- form."
        ) from None


def _write(folder: Path, stem: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(folder / f"{stem}.key", pem, private=True)
    write_whole(folder / f"{stem}.pem", certificate.public_bytes(serialization.Encoding.PEM))
