"""Which certificate the machine API shows, and on whose word clients take it.

By default both are the server's own: links pin its CA, and the certificate is renewed here. `--tls-cert` and
`--tls-key` show an operator's certificate instead. `--tls-ca` says whom clients believe: one CA, which links pin, or
"system" for those that every computer trusts, also when it is a proxy that shows the certificate.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509

from dsage.errors import BadSignature, DSageError, UsageError
from dsage.trust import tls
from dsage.trust.invite import SYSTEM_CA
from dsage_server.addresses import certificate_names
from dsage_server.locking import one_by_one
from dsage_server.settings import Settings

LOOK_S: Final = 60.0
WARN_S: Final = 14 * 86400.0
AGAIN_S: Final = 86400.0
"""How often it is said that a certificate is about to run out."""
NOT_YET, EXPIRED, WRONG_NAME, WRONG_ADDRESS = 9, 10, 62, 64
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID, CERT_HAS_EXPIRED, HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH (x509_vfy.h)."""

log = logging.getLogger(__name__)


def authority(settings: Settings) -> str:
    """Return what links are to pin: "system", the hash of a CA's key, or nothing for the server's own CA.

    Raises UsageError if the settings do not go together, or the CA's certificate is none.
    """
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise UsageError("a certificate and its key go together", hint="Give both --tls-cert and --tls-key.")
    named = settings.tls_ca or (SYSTEM_CA if settings.tls_cert else "")
    if named in ("", SYSTEM_CA):
        return named
    try:
        return tls.spki_hash(Path(named).read_bytes())
    except OSError as error:
        raise UsageError(
            f"{named} cannot be read: {error.strerror}",
            hint="--tls-ca takes the word system, or the file of a CA's certificate.",
        ) from None
    except BadSignature:
        raise UsageError(
            f"{named} is not one certificate in PEM", hint="Name the file of the root CA alone, without any chain."
        ) from None


def authority_file(folder: Path, settings: Settings) -> Path:
    """Return the certificate that /v1/ca hands out."""
    return folder / "ca.pem" if settings.tls_ca in ("", SYSTEM_CA) else Path(settings.tls_ca)


def context(folder: Path, settings: Settings, name: str) -> ssl.SSLContext:
    """Return the server's side of TLS. An operator's certificate is first tried as clients who want `name` will.

    Raises UsageError that says what is wrong: the key, the date, the name, or who vouches for it.
    """
    made = tls.context_of(*_files(folder, settings))
    if settings.tls_cert:
        _try(made, folder, settings, name)
    return made


async def keep_current(folder: Path, settings: Settings, shown: ssl.SSLContext, name: str) -> None:
    """Show what was renewed, whoever did it: this process, another one of the same home, the operator's program."""
    files = _files(folder, settings)
    seen, warned = _stamp(*files), 0.0
    while True:
        if not settings.tls_cert:
            async with one_by_one(settings.folder):
                await asyncio.to_thread(tls.make_leaf, folder, certificate_names(settings))
        if _stamp(*files) != seen:
            seen = _stamp(*files)
            await _take_over(folder, settings, shown, name)
        if settings.tls_cert and warned < time.time() - AGAIN_S and _left_s(files[0]) < WARN_S:
            warned = time.time()
            log.warning("the certificate in %s runs out in %.0f days", files[0], max(_left_s(files[0]), 0) / 86400)
        await asyncio.sleep(LOOK_S)


async def _take_over(folder: Path, settings: Settings, shown: ssl.SSLContext, name: str) -> None:
    """Show the files as they are now. That is done where connections begin, so that none meets the new certificate
    with the old key."""
    cert, key = _files(folder, settings)
    try:
        await asyncio.to_thread(context, folder, settings, name)
        shown.load_cert_chain(cert, key)
    except (DSageError, OSError) as error:  # two files, written one after the other: the next look sees both
        log.warning("the certificate in %s has changed and is not shown: %s", cert, error)
        return
    log.info("the certificate in %s was renewed and is shown from now on", cert)


def _files(folder: Path, settings: Settings) -> tuple[Path, Path]:
    if settings.tls_cert:
        return Path(settings.tls_cert), Path(settings.tls_key)
    return folder / "tls.pem", folder / "tls.key"


def _stamp(*files: Path) -> list[tuple[int, int, int] | None]:
    return [_stamp_of(path) for path in files]


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _try(shown: ssl.SSLContext, folder: Path, settings: Settings, name: str) -> None:
    ca = authority(settings)
    if ca == SYSTEM_CA:
        client = ssl.create_default_context()
    else:
        client = tls.pinned_context(authority_file(folder, settings).read_bytes(), ca or _own(folder))
    try:
        tls.shake_hands(shown, client, name)
    except ssl.SSLCertVerificationError as error:
        _refuse(error, Path(settings.tls_cert), name, ca)


def _own(folder: Path) -> str:
    return tls.spki_hash((folder / "ca.pem").read_bytes())


def _refuse(error: ssl.SSLCertVerificationError, cert: Path, name: str, ca: str) -> NoReturn:
    leaf = _leaf(cert)
    if error.verify_code == EXPIRED:
        raise UsageError(
            f"the certificate in {cert}, or one in its chain, has expired: it holds until {_day(leaf)}",
            hint="Renew it, then start again.",
        ) from None
    if error.verify_code == NOT_YET:
        raise UsageError(f"the certificate in {cert} does not hold yet", hint="Check this computer's clock.") from None
    if error.verify_code in (WRONG_NAME, WRONG_ADDRESS):
        raise UsageError(
            f"the certificate in {cert} is not for {name}: it names {_names(leaf)}",
            hint="Give the name under which volunteers come with --public https://NAME:PORT.",
        ) from None
    who = "no authority that computers trust by themselves vouches"
    if ca != SYSTEM_CA:
        who = "the authority in --tls-ca does not vouch"
    raise UsageError(
        f"{who} for the certificate in {cert}: {error.verify_message}",
        hint="The file holds the whole chain, the server's certificate first; a CA of your own is named by --tls-ca.",
    ) from None


def _leaf(cert: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(cert.read_bytes())[0]


def _left_s(cert: Path) -> float:
    try:
        return _leaf(cert).not_valid_after_utc.timestamp() - time.time()
    except (OSError, ValueError):
        return WARN_S  # `_take_over` says what is wrong with it


def _day(leaf: x509.Certificate) -> str:
    return leaf.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")


def _names(leaf: x509.Certificate) -> str:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "nothing"
    return ", ".join(str(each.value) for each in names)
