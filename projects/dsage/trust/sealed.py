"""Sealed files: records under a passphrase, one after the other, that nobody can read, change, reorder or cut short.

The key comes from the passphrase by scrypt with a salt of its own for each file. Each record is compressed and
sealed by ChaCha20-Poly1305; its nonce is its number and whether it is the last, and the header is authenticated
with it. This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar 2015), as the tool `age` uses it. The
code that ends the header tells a wrong passphrase from a damaged file.

    MAGIC, length of header (4 bytes), header (MessagePack), its code (32 bytes); then for each record
    length of what follows (4 bytes, big-endian; the top bit marks the last), ciphertext with its tag
"""

from __future__ import annotations

import hmac
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dsage.errors import DSageError, UsageError

MAGIC: Final = b"DSAGE-SEALED\n"
SCRYPT_LOG2_N: Final = 17
"""128 MiB of memory and some 0.4 s for each guess (OWASP's first choice for scrypt, 2023, with r = 8, p = 1)."""
MAX_LOG2_N: Final = 20
MAX_HEADER_BYTES: Final = 4096
MAX_RECORD_BYTES: Final = 128 << 20
MIN_PASSPHRASE: Final = 12
"""Characters; the file may lie where others can try passphrases at leisure."""
_LAST: Final = 1 << 31


class WrongPassphrase(DSageError):
    """The passphrase does not open this file."""

    code = "sealed.passphrase"
    status = 403
    exit_status = 4
    default_hint = "Give the passphrase that the file was made with; nobody can open it without."


class Damaged(DSageError):
    """A sealed file is cut short, was changed, or is not one."""

    code = "sealed.damaged"
    status = 400
    exit_status = 5
    default_hint = "Take another copy of it, or an older backup; nothing of this one was put in place."


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    salt: bytes
    log2_n: int = SCRYPT_LOG2_N
    r: int = 8
    p: int = 1


class SealedWriter:
    """Seals records into a file, which is good only after `close`."""

    def __init__(self, file: BinaryIO, passphrase: str, *, log2_n: int = SCRYPT_LOG2_N) -> None:
        """Write the header. Raises UsageError for a passphrase that is too short."""
        if len(passphrase) < MIN_PASSPHRASE:
            raise UsageError(
                f"a passphrase needs at least {MIN_PASSPHRASE} characters",
                hint="Take five or more words, or 32 random characters from a password manager.",
            )
        header = _Header(salt=os.urandom(16), log2_n=log2_n)
        encoded = msgspec.msgpack.encode(header)
        key, code = _derive(header, encoded, passphrase)
        file.write(MAGIC + len(encoded).to_bytes(4) + encoded + code)
        self._file = file
        self._cipher = ChaCha20Poly1305(key)
        self._header = encoded
        self._number = 0

    def write(self, record: bytes) -> None:
        """Seal one record of at most MAX_RECORD_BYTES."""
        if len(record) > MAX_RECORD_BYTES:
            raise UsageError(f"a record of {len(record)} bytes; at most {MAX_RECORD_BYTES} are sealed at once")
        self._seal(record, last=False)

    def close(self) -> None:
        """Seal the end: what lacks it is known to be cut short."""
        self._seal(b"", last=True)

    def _seal(self, record: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._number, last), zlib.compress(record, 1), self._header)
        self._file.write((len(sealed) | (_LAST if last else 0)).to_bytes(4) + sealed)
        self._number += 1


def records(file: BinaryIO, passphrase: str) -> Iterator[bytes]:
    """Yield the records of a sealed file in order; the file is whole only if this comes to its end.

    Raises WrongPassphrase, or Damaged when a byte was changed, a record is missing or the end is.
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise Damaged("this is not a sealed file of DSage", hint="Give a file that `dsage admin backup` made.")
    encoded = _read(file, int.from_bytes(_read(file, 4)), MAX_HEADER_BYTES)
    try:
        header = msgspec.msgpack.decode(encoded, type=_Header)
    except msgspec.DecodeError as error:
        raise Damaged(f"its header is damaged: {error}") from None
    if header.version != 1:
        raise Damaged(f"it has version {header.version} of the format", hint="Use a newer DSage to read it.")
    if not (1 <= header.log2_n <= MAX_LOG2_N and header.r == 8 and header.p == 1):
        raise Damaged("its header asks for impossible work")
    key, code = _derive(header, encoded, passphrase)
    if not hmac.compare_digest(code, _read(file, len(code))):
        raise WrongPassphrase("this is not the passphrase of the file, or the file's header was changed")
    cipher = ChaCha20Poly1305(key)
    number, last = 0, False
    while not last:
        length = int.from_bytes(_read(file, 4))
        last = bool(length & _LAST)
        sealed = _read(file, length & ~_LAST, MAX_RECORD_BYTES + (1 << 20))
        try:
            packed = cipher.decrypt(_nonce(number, last), sealed, encoded)
        except InvalidTag:
            raise Damaged(f"record {number} is not what was written") from None
        if not last:
            yield zlib.decompress(packed)
        number += 1
    if file.read(1):
        raise Damaged("something follows its end")


def _derive(header: _Header, encoded: bytes, passphrase: str) -> tuple[bytes, bytes]:
    """Return the key of the records, and the code that proves it over the header."""
    kdf = Scrypt(salt=header.salt, length=64, n=1 << header.log2_n, r=header.r, p=header.p)
    secret = kdf.derive(passphrase.encode())
    return secret[:32], hmac.digest(secret[32:], MAGIC + encoded, "sha256")


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])


def _read(file: BinaryIO, length: int, most: int = MAX_HEADER_BYTES) -> bytes:
    data = file.read(length) if length <= most else b""
    if len(data) != length or length > most:
        raise Damaged("it is cut short, or a length in it was changed")
    return data
