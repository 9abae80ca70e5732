"""Envelopes: what is signed comes back, anything else is refused with its own error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.errors import BadSignature, TrustError, WrongRole
from dsage.trust.documents import Document, Login, Manifest
from dsage.trust.envelope import (
    MAX_SIGNATURES,
    Envelope,
    Signature,
    hash_of,
    open_as,
    pae,
    seal,
    seal_bytes,
    signers,
)
from dsage.trust.keys import PrivateKey

KEY = PrivateKey.generate()
OTHER = PrivateKey.generate()
LOGIN = Login(server_id="server-one", challenge=b"\x00\xff" * 16, ca="", key=KEY.public, role="host")
SEALED = seal(LOGIN, KEY)


def test_the_published_example_of_pae() -> None:
    # DSSE protocol.md: type "http://example.com/HelloWorld", body "hello world".
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == expected


def test_lengths_in_pae_are_of_bytes() -> None:
    assert pae("é", b"x") == b"DSSEv1 2 \xc3\xa9 1 x"


@given(server=st.text(max_size=40), challenge=st.binary(max_size=80), role=st.text(max_size=10), by_json=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_sealed_comes_back_from_both_encodings(server: str, challenge: bytes, role: str, by_json: bool) -> None:
    login = Login(server_id=server, challenge=challenge, ca="", key=KEY.public, role=role)
    sealed = seal(login, KEY)
    wire = msgspec.json if by_json else msgspec.msgpack
    back = wire.decode(wire.encode(sealed), type=Envelope)
    assert back == sealed
    assert hash_of(back) == hash_of(sealed)
    assert open_as(back, Login, [KEY.public]) == login


def test_json_uses_the_names_of_dsse() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(SEALED))
    assert set(plain) == {"payloadType", "payload", "signatures"}
    assert set(plain["signatures"][0]) == {"keyid", "sig"}


def flips(data: bytes) -> list[bytes]:
    return [
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :] for bit in range(len(data) * 8)
    ]


def test_every_flipped_bit_of_the_payload_is_a_bad_signature() -> None:
    for payload in flips(SEALED.payload):
        with pytest.raises(BadSignature):
            open_as(msgspec.structs.replace(SEALED, payload=payload), Login, [KEY.public])


def test_every_flipped_bit_of_the_signature_is_a_bad_signature() -> None:
    for sig in flips(SEALED.signatures[0].sig):
        forged = msgspec.structs.replace(SEALED, signatures=[Signature(KEY.public, sig)])
        with pytest.raises(BadSignature):
            open_as(forged, Login, [KEY.public])


def test_every_flipped_bit_of_the_key_is_a_stranger() -> None:
    for keyid in flips(KEY.public):
        forged = msgspec.structs.replace(SEALED, signatures=[Signature(keyid, SEALED.signatures[0].sig)])
        with pytest.raises(WrongRole):
            open_as(forged, Login, [KEY.public])


@pytest.mark.parametrize("cut", [0, 1, 31, -1])
def test_truncation_is_refused(cut: int) -> None:
    with pytest.raises(BadSignature):
        open_as(msgspec.structs.replace(SEALED, payload=SEALED.payload[:cut]), Login, [KEY.public])
    short = [Signature(KEY.public, SEALED.signatures[0].sig[:cut])]
    with pytest.raises(BadSignature):
        open_as(msgspec.structs.replace(SEALED, signatures=short), Login, [KEY.public])


def test_a_truncated_message_is_not_an_envelope() -> None:
    data = msgspec.msgpack.encode(SEALED)
    for cut in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            msgspec.msgpack.decode(data[:cut], type=Envelope)


def test_another_type_is_the_wrong_role() -> None:
    with pytest.raises(WrongRole):
        open_as(SEALED, Manifest, [KEY.public])


def test_a_type_renamed_after_signing_is_a_bad_signature() -> None:
    renamed = msgspec.structs.replace(SEALED, payload_type=Manifest.payload_type)
    with pytest.raises(BadSignature):
        open_as(renamed, Manifest, [KEY.public])


def test_a_strangers_signature_is_the_wrong_role() -> None:
    with pytest.raises(WrongRole):
        open_as(SEALED, Login, [OTHER.public])
    with pytest.raises(WrongRole):
        open_as(SEALED, Login, [])
    with pytest.raises(WrongRole, match="nobody"):
        open_as(msgspec.structs.replace(SEALED, signatures=[]), Login, [KEY.public])


def test_one_good_signature_among_several_is_enough() -> None:
    both = seal(LOGIN, OTHER, KEY)
    assert open_as(both, Login, [KEY.public]) == LOGIN
    assert signers(both) == [OTHER.public, KEY.public]


def test_the_number_of_signatures_is_bounded() -> None:
    many = msgspec.structs.replace(SEALED, signatures=SEALED.signatures * (MAX_SIGNATURES + 1))
    with pytest.raises(BadSignature, match="more than"):
        open_as(many, Login, [KEY.public])


GOOD = msgspec.json.encode(LOGIN)


@pytest.mark.parametrize(
    "payload",
    [
        GOOD.replace(b'"role":"host"', b'"role":"host","role":"researcher"'),
        GOOD.replace(b'"role":"host"', b'"role":"host","extra":1'),
        GOOD.replace(b',"role":"host"', b""),
        GOOD.replace(b'"role":"host"', b'"role":1'),
        GOOD + b" {}",
        GOOD[:-1],
        b"",
        b"null",
        b"\xff",
        b'{"x":' * 5000,
        b'{"server_id":' + b"9" * 6000 + b"}",
    ],
    ids=["duplicate", "unknown", "missing", "type", "trailing", "cut", "empty", "null", "binary", "deep", "long"],
)
def test_signed_nonsense_is_refused_all_the_same(payload: bytes) -> None:
    with pytest.raises(TrustError) as caught:
        open_as(seal_bytes(Login.payload_type, payload, KEY), Login, [KEY.public])
    assert caught.type is TrustError


def test_every_document_has_a_type_of_its_own() -> None:
    kinds = Document.__subclasses__()
    assert len({kind.payload_type for kind in kinds}) == len(kinds) >= 8


def test_a_refusal_calls_the_document_what_people_call_it() -> None:
    with pytest.raises(
        WrongRole, match=r"^login\.json is signed by ....-.*, which is not a key that may sign it here$"
    ):
        open_as(SEALED, Login, [OTHER.public])
