"""Keys in files and as text."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import Conflict, NotFound, UsageError
from dsage.trust.keys import PrivateKey, fingerprint, key_hash, parse_public, public_text, verify


def test_a_saved_key_signs_as_before_and_is_private(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    path = tmp_path / "new" / "root.key"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["root.key"]
    again = PrivateKey.load(path)
    assert again.public == key.public
    assert verify(key.public, again.sign(b"data"), b"data")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    first = PrivateKey.generate()
    first.save(tmp_path / "root.key")
    with pytest.raises(Conflict):
        PrivateKey.generate().save(tmp_path / "root.key")
    assert PrivateKey.load(tmp_path / "root.key").public == first.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "root.key"
    PrivateKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"{mode:04o}") as caught:
        PrivateKey.load(path)
    assert "chmod 600" in caught.value.hint


def test_what_is_not_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        PrivateKey.load(tmp_path / "none.key")
    path = tmp_path / "odd.key"
    path.touch(0o600)
    path.write_bytes(b"not a key")
    with pytest.raises(UsageError):
        PrivateKey.load(path)
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(UsageError):
        PrivateKey.load(path)


def test_a_known_signature() -> None:
    # RFC 8032, section 7.1, test 2.
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert verify(public, signature, b"\x72")
    assert not verify(public, signature, b"\x73")


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33)])
def test_what_is_not_a_public_key_verifies_nothing(public: bytes) -> None:
    assert not verify(public, bytes(64), b"")


def test_the_secret_is_not_shown() -> None:
    key = PrivateKey.generate()
    assert repr(key) == f"<PrivateKey {fingerprint(key.public)}>"
    assert key_hash(key.public).startswith(fingerprint(key.public).replace("-", ""))


@given(st.binary(min_size=32, max_size=32))
def test_public_text_round_trip(public: bytes) -> None:
    text = public_text(public)
    assert text.startswith("dsage-ed25519:")
    assert parse_public(f" {text}\n") == public


@given(st.text(max_size=80).map(lambda text: text.strip()))
def test_other_text_is_not_a_key(text: str) -> None:
    for candidate in (text, "dsage-ed25519:" + text):
        with pytest.raises(UsageError):
            parse_public(candidate)


def test_a_second_spelling_of_a_key_is_refused() -> None:
    text = public_text(bytes(32))
    with pytest.raises(UsageError):
        parse_public(text[:-1] + "B")
    with pytest.raises(UsageError):
        parse_public(text.removeprefix("dsage-ed25519:"))
