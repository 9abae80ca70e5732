"""Ed25519 keys: made, kept in files that only their owner may read, shown as text.

A private key is a PKCS #8 PEM file, so that other tools can read it too. A public key is its raw 32 bytes
everywhere inside DSage, and "dsage-ed25519:" with base64url wherever people see or type it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from dsage.errors import Conflict, NotFound, UsageError
from dsage.files import write_whole

TEXT_PREFIX: Final = "dsage-ed25519:"
PUBLIC_BYTES: Final = 32
MAX_KEY_FILE_BYTES: Final = 4096


class PrivateKey:
    """A signing key. `public` is its raw public half, 32 bytes."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> PrivateKey:
        """Read a key file. Raises NotFound, or UsageError if it is no key or others may read it."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(MAX_KEY_FILE_BYTES)
        except FileNotFoundError:
            raise NotFound(
                f"there is no key file {path}",
                hint="`dsage keys new` makes one; `dsage keys status` lists them.",
            ) from None
        except (PermissionError, IsADirectoryError) as error:
            raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from None
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(
                f"the key file {path} can be read by other users (mode {stat.S_IMODE(mode):04o})",
                hint=f"Run `chmod 600 {path}`; if others use this machine, revoke this key and make another.",
            )
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"{path} does not hold an unencrypted Ed25519 private key")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key to a new file, mode 0600. Raises Conflict if the file is already there."""
        if path.exists():
            raise Conflict(
                f"{path} already holds a key, and overwriting it would lose it",
                hint="Choose another --name, or move the old key away first.",
            )
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(path, pem, private=True)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"<PrivateKey {fingerprint(self.public)}>"


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Say whether `signature` is `public`'s over `data`; False too for anything that is not a key.

    By libsodium, which takes half the time of OpenSSL here and refuses keys of small order.
    """
    try:
        VerifyKey(public).verify(data, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def key_hash(public: bytes) -> str:
    """Return the SHA-256 of a raw public key in hexadecimal: how an invite pins the root key."""
    return hashlib.sha256(public).hexdigest()


def fingerprint(public: bytes) -> str:
    """Return the first 16 hexadecimal digits of a key's hash, in fours, for people to compare."""
    digits = key_hash(public)[:16]
    return "-".join(digits[i : i + 4] for i in range(0, 16, 4))


def public_text(public: bytes) -> str:
    """Return a public key as people see and type it."""
    return TEXT_PREFIX + base64.urlsafe_b64encode(public).decode().rstrip("=")


def parse_public(text: str) -> bytes:
    """Return the raw key that `public_text` wrote. Raises UsageError for anything else."""
    text = text.strip()
    try:
        raw = base64.b64decode(text.removeprefix(TEXT_PREFIX) + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != PUBLIC_BYTES or public_text(raw) != text:
        raise UsageError(
            f"{text[:60]!r} is not a public key",
            hint=f"It looks like {TEXT_PREFIX}AbC...; `dsage keys status` prints yours.",
        )
    return raw
