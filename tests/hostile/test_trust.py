"""A hostile server, network and disk against the chain of trust, with everything as it travels.

A `Delivery` is all that a client gets from a server for one unit. `believe` is every check that stands between it
and running code. Each attack must end in its own error, and the same delivery untouched must be believed.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.errors import BadSignature, Expired, Revoked, RolledBack, TrustError, WrongPath, WrongRole, WrongServer
from dsage.trust.chain import Chain
from dsage.trust.documents import UnitDocument
from dsage.trust.envelope import Envelope, Signature, hash_of, seal
from dsage.trust.keys import PrivateKey, key_hash
from dsage.trust.merkle import tree
from dsage.trust.testing import DAY, NOW, World

WORLD = World()
OTHER_SERVER = World("server-two")
PIN = key_hash(WORLD.root_key.public)


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What travels."""

    root: Envelope
    manifest: Envelope
    authorisation: Envelope
    batch: Envelope
    document: bytes
    index: int
    path: list[bytes]


def deliver(world: World = WORLD, **changes: Any) -> Delivery:
    signed = world.sign_units([world.unit(n) for n in range(6)])
    delivery = Delivery(
        root=seal(world.root(), world.root_key),
        manifest=world.manifest(),
        authorisation=world.authorisation(),
        batch=signed.batch,
        document=signed.documents[2],
        index=2,
        path=signed.paths[2],
    )
    return msgspec.structs.replace(delivery, **changes)


def believe(delivery: Delivery, now: float = NOW) -> UnitDocument:
    """Return the unit if all of it holds: what a client that holds the invite's two facts does."""
    chain = Chain.first(delivery.root, server_id="server-one", root_key_hash=PIN, now=now)
    manifest = chain.manifest(delivery.manifest, now)
    app_hash = hash_of(delivery.manifest)
    authorisation = chain.authorisation(delivery.authorisation, manifest, app_hash, now)
    unit = chain.unit(delivery.document, delivery.index, delivery.path, delivery.batch, now)
    chain.check_unit_against(unit, authorisation, hash_of(delivery.authorisation))
    return unit


GOOD = deliver()
WIRE = {"json": msgspec.json.encode(GOOD), "msgpack": msgspec.msgpack.encode(GOOD)}


def read(data: bytes, form: str) -> Delivery:
    return (msgspec.json if form == "json" else msgspec.msgpack).decode(data, type=Delivery)


def refused(delivery: Delivery, error: type[TrustError], now: float = NOW) -> None:
    with pytest.raises(TrustError) as caught:
        believe(delivery, now)
    assert caught.type is error, caught.value


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_untouched_it_is_believed(form: str) -> None:
    assert believe(read(WIRE[form], form)).unit == 2


@given(st.integers(0, len(WIRE["msgpack"]) * 8 - 1))
@settings(max_examples=500, deadline=None)
def test_no_bit_of_a_delivery_can_be_flipped(bit: int) -> None:
    data = bytearray(WIRE["msgpack"])
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((TrustError, msgspec.DecodeError, UnicodeDecodeError)):
        believe(read(bytes(data), "msgpack"))


@given(st.integers(0, len(WIRE["json"]) * 8 - 1))
@settings(max_examples=500, deadline=None)
def test_a_flipped_bit_in_json_is_refused_or_means_the_same(bit: int) -> None:
    # base64's last character carries bits that mean nothing; only there may a flip go unnoticed.
    data = bytearray(WIRE["json"])
    data[bit // 8] ^= 1 << bit % 8
    try:
        delivery = read(bytes(data), "json")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if delivery != GOOD:
        with pytest.raises(TrustError):
            believe(delivery)


@given(st.integers(0, len(WIRE["msgpack"]) - 1), st.sampled_from(["msgpack", "json"]))
@settings(max_examples=100, deadline=None)
def test_a_truncated_delivery_is_not_read(length: int, form: str) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        read(WIRE[form][:length], form)


@pytest.mark.parametrize("name", ["root", "manifest", "authorisation", "batch"])
def test_every_signature_counts(name: str) -> None:
    envelope: Envelope = getattr(GOOD, name)
    damaged = msgspec.structs.replace(envelope, payload=envelope.payload.replace(b'":', b'": ', 1))
    refused(deliver(**{name: damaged}), BadSignature)
    refused(deliver(**{name: msgspec.structs.replace(envelope, signatures=[])}), WrongRole)
    empty = [Signature(signature.keyid, b"") for signature in envelope.signatures]
    refused(deliver(**{name: msgspec.structs.replace(envelope, signatures=empty)}), BadSignature)


@pytest.mark.parametrize("name", ["root", "manifest", "authorisation", "batch"])
@pytest.mark.parametrize("other", ["root", "manifest", "authorisation", "batch"])
def test_no_document_passes_for_another(name: str, other: str) -> None:
    if name != other:
        refused(deliver(**{name: getattr(GOOD, other)}), WrongRole)
        envelope: Envelope = getattr(GOOD, other)
        renamed = msgspec.structs.replace(envelope, payload_type=getattr(GOOD, name).payload_type)
        with pytest.raises((WrongRole, BadSignature)):
            believe(deliver(**{name: renamed}))


ROLES = {"root": WORLD.root_key, "code": WORLD.code_key, "unit": WORLD.unit_key, "thief": PrivateKey.generate()}


@pytest.mark.parametrize("role", ["code", "unit", "thief"])
def test_only_the_root_key_makes_a_root(role: str) -> None:
    refused(deliver(root=seal(WORLD.root(), ROLES[role])), WrongRole)


@pytest.mark.parametrize("role", ["root", "unit", "thief"])
def test_a_captured_server_cannot_bring_code_or_runs(role: str) -> None:
    refused(deliver(manifest=WORLD.manifest(ROLES[role])), WrongRole)
    refused(deliver(authorisation=WORLD.authorisation(ROLES[role])), WrongRole)


@pytest.mark.parametrize("role", ["root", "code", "thief"])
def test_only_the_unit_key_signs_units(role: str) -> None:
    signed = WORLD.sign_units([WORLD.unit(n) for n in range(6)], ROLES[role])
    refused(deliver(batch=signed.batch), WrongRole)


def test_a_captured_server_cannot_swap_the_app_under_a_run() -> None:
    refused(deliver(manifest=WORLD.manifest(title="another genuine app")), WrongRole)


def test_a_captured_server_cannot_widen_a_run() -> None:
    for changes in ({"cpu_s": 61.0}, {"memory_bytes": 1 << 40}, {"run": "00" * 32}, {"app": "00" * 32}):
        signed = WORLD.sign_units([WORLD.unit(n, **changes) for n in range(6)])
        attack = deliver(batch=signed.batch, document=signed.documents[2], path=signed.paths[2])
        refused(attack, WrongRole)


def test_a_captured_server_can_vary_arguments_and_nothing_else() -> None:
    signed = WORLD.sign_units([WORLD.unit(n, args=b"\xa4evil") for n in range(6)])
    attack = deliver(batch=signed.batch, document=signed.documents[2], path=signed.paths[2])
    assert believe(attack).args == b"\xa4evil"


@pytest.mark.parametrize("index", [0, 1, 3, 5, 6, -1, 2**63 - 1])
def test_a_unit_has_one_place(index: int) -> None:
    refused(deliver(index=index), WrongPath)


def test_a_path_cannot_be_bent() -> None:
    generator = random.Random(2)
    for level, step in enumerate(GOOD.path):
        for _ in range(8):
            bit = generator.randrange(256)
            flipped = (int.from_bytes(step) ^ 1 << bit).to_bytes(32)
            refused(deliver(path=[*GOOD.path[:level], flipped, *GOOD.path[level + 1 :]]), WrongPath)
    for path in ([], GOOD.path[:-1], [*GOOD.path, bytes(32)], GOOD.path[::-1], [b"", *GOOD.path[1:]]):
        refused(deliver(path=path), WrongPath)


def test_no_bit_of_a_unit_can_be_flipped() -> None:
    generator = random.Random(1)
    for position in range(len(GOOD.document)):
        document = bytearray(GOOD.document)
        document[position] ^= 1 << generator.randrange(8)
        refused(deliver(document=bytes(document)), WrongPath)


def test_duplicate_names_in_a_signed_unit_are_refused() -> None:
    document = GOOD.document.replace(b'"unit":2', b'"unit":2,"unit":3')
    root, _ = tree([document])
    signed = WORLD.sign_units([WORLD.unit(0)], root=root)
    refused(deliver(batch=signed.batch, document=document, index=0, path=[]), TrustError)


def test_another_servers_things_are_refused() -> None:
    """Same keys on two servers: a researcher's key may well be certified by both."""
    twin = World("server-two", WORLD.root_key, WORLD.code_key, WORLD.unit_key)
    theirs = deliver(twin)
    refused(theirs, WrongServer)
    refused(deliver(root=theirs.root), WrongServer)
    refused(deliver(authorisation=theirs.authorisation), WrongServer)
    refused(deliver(batch=theirs.batch, document=theirs.document, path=theirs.path), WrongServer)
    refused(deliver(OTHER_SERVER), WrongRole)


@pytest.mark.parametrize(
    ("days", "error"), [(6.9, None), (7.1, Expired), (31.0, Expired), (91.0, Expired), (-1.1, Expired)]
)
def test_time_runs_out(days: float, error: type[TrustError] | None) -> None:
    if error is None:
        assert believe(GOOD, NOW + days * DAY).unit == 2
    else:
        refused(GOOD, error, NOW + days * DAY)


def test_an_old_root_cannot_bring_a_revoked_app_back() -> None:
    app = hash_of(GOOD.manifest)
    chain = Chain.first(GOOD.root, server_id="server-one", root_key_hash=PIN, now=NOW)
    chain = chain.advance(seal(WORLD.root(version=2, revoked_apps=[app]), WORLD.root_key), NOW)
    with pytest.raises(Revoked):
        chain.manifest(GOOD.manifest, NOW)
    with pytest.raises(RolledBack):
        chain.advance(GOOD.root, NOW)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_noise_in_place_of_any_document_is_refused(noise: bytes) -> None:
    for name in ("root", "manifest", "authorisation", "batch"):
        envelope = msgspec.structs.replace(getattr(GOOD, name), payload=noise)
        with pytest.raises(BadSignature):
            believe(deliver(**{name: envelope}))
    if noise != GOOD.document:
        refused(deliver(document=noise), WrongPath)
