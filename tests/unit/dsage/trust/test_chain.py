"""What a client believes, and the own error of everything that it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dsage.errors import BadSignature, Expired, Revoked, RolledBack, TrustError, WrongPath, WrongRole, WrongServer
from dsage.trust.chain import CLOCK_SKEW_S, Chain, check_dates
from dsage.trust.documents import Authorisation, CodeKey
from dsage.trust.envelope import hash_of, seal
from dsage.trust.keys import PrivateKey, key_hash
from dsage.trust.testing import DAY, NOW, World

WORLD = World()
STRANGER = PrivateKey.generate()


def believe(world: World = WORLD, chain: Chain | None = None, now: float = NOW, **changes: Any) -> None:
    """Check everything that a client checks before it runs a unit; `changes` are made to the unit."""
    chain = chain or world.chain()
    manifest = chain.manifest(world.manifest(), now)
    authorisation = chain.authorisation(world.authorisation(), manifest, hash_of(world.manifest()), now)
    signed = world.sign_units([world.unit(n, **changes) for n in range(5)])
    for index, document in enumerate(signed.documents):
        unit = chain.unit(document, index, signed.paths[index], signed.batch, now)
        assert unit.unit == index
        chain.check_unit_against(unit, authorisation, hash_of(world.authorisation()))


def test_the_whole_chain_holds() -> None:
    believe()


def first(
    world: World, *keys: PrivateKey, pin: PrivateKey | None = None, server: str | None = None, **changes: Any
) -> Chain:
    return Chain.first(
        seal(world.root(**changes), *(keys or (world.root_key,))),
        server_id=server,
        root_key_hash=key_hash((pin or world.root_key).public),
        now=NOW,
    )


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda: first(WORLD, STRANGER), WrongRole),
        (lambda: first(WORLD, WORLD.code_key), WrongRole),
        (lambda: first(WORLD, WORLD.unit_key), WrongRole),
        (lambda: first(WORLD, pin=STRANGER), WrongRole),
        (lambda: first(WORLD, root_key=STRANGER.public), WrongRole),
        (lambda: first(WORLD, server="server-two"), WrongServer),
        (lambda: first(WORLD, expires=NOW - DAY), Expired),
        (lambda: first(WORLD, issued=NOW + DAY), Expired),
        (lambda: first(WORLD, unit_keys=[WORLD.code_key.public]), WrongRole),
        (lambda: first(WORLD, unit_keys=[WORLD.root_key.public]), WrongRole),
        (lambda: first(WORLD, revoked_keys=[WORLD.root_key.public]), Revoked),
        (lambda: first(WORLD, version=0), TrustError),
    ],
)
def test_a_first_root_that_is_refused(attempt: Callable[[], Chain], error: type[TrustError]) -> None:
    with pytest.raises(TrustError) as caught:
        attempt()
    assert caught.type is error


def test_a_stored_root_is_read_whatever_its_date_but_not_used() -> None:
    envelope = seal(WORLD.root(expires=NOW - DAY), WORLD.root_key)
    chain = Chain.first(envelope, server_id=None, root_key_hash=key_hash(WORLD.root_key.public), now=None)
    with pytest.raises(Expired, match=r"root\.json"):
        chain.manifest(WORLD.manifest(), NOW)
    with pytest.raises(Expired, match=r"root\.json"):
        believe(chain=chain)
    signed = WORLD.sign_units([WORLD.unit(0)])
    with pytest.raises(Expired, match=r"root\.json"):
        chain.unit(signed.documents[0], 0, signed.paths[0], signed.batch, NOW)


def test_versions_go_up_only() -> None:
    chain = WORLD.chain(version=3)
    assert chain.advance(seal(WORLD.root(version=4), WORLD.root_key), NOW).root.version == 4
    assert chain.advance(seal(WORLD.root(version=3), WORLD.root_key), NOW) == chain
    with pytest.raises(RolledBack, match="version 2"):
        chain.advance(seal(WORLD.root(version=2), WORLD.root_key), NOW)
    with pytest.raises(RolledBack, match="two different"):
        chain.advance(seal(WORLD.root(version=3, ca_keys=[]), WORLD.root_key), NOW)


@pytest.mark.parametrize(
    ("keys", "changes", "error"),
    [
        ([STRANGER], {}, WrongRole),
        ([WORLD.code_key], {}, WrongRole),
        ([WORLD.unit_key], {}, WrongRole),
        ([WORLD.root_key], {"server_id": "server-two"}, WrongServer),
        ([WORLD.root_key], {"expires": NOW - DAY}, Expired),
        ([WORLD.root_key], {"unit_keys": [WORLD.code_key.public]}, WrongRole),
        ([WORLD.root_key], {"root_key": STRANGER.public}, WrongRole),
        ([STRANGER], {"root_key": STRANGER.public}, WrongRole),
    ],
)
def test_a_next_root_that_is_refused(keys: list[PrivateKey], changes: dict[str, Any], error: type[TrustError]) -> None:
    with pytest.raises(TrustError) as caught:
        WORLD.chain().advance(seal(WORLD.root(version=2, **changes), *keys), NOW)
    assert caught.type is error


def test_a_new_root_key_needs_both_signatures() -> None:
    following = seal(WORLD.root(version=2, root_key=STRANGER.public), WORLD.root_key, STRANGER)
    chain = WORLD.chain().advance(following, NOW)
    assert chain.root.root_key == STRANGER.public
    with pytest.raises(WrongRole):
        chain.advance(seal(WORLD.root(version=3), WORLD.root_key), NOW)
    by_old_invite = Chain.first(following, server_id=None, root_key_hash=key_hash(WORLD.root_key.public), now=NOW)
    assert by_old_invite == chain


@pytest.mark.parametrize("key", [WORLD.unit_key, WORLD.root_key, STRANGER])
def test_only_code_keys_sign_code(key: PrivateKey) -> None:
    with pytest.raises(WrongRole):
        WORLD.chain().manifest(WORLD.manifest(key), NOW)
    manifest = WORLD.chain().manifest(WORLD.manifest(), NOW)
    with pytest.raises(WrongRole):
        WORLD.chain().authorisation(WORLD.authorisation(key), manifest, hash_of(WORLD.manifest()), NOW)


@pytest.mark.parametrize("key", [WORLD.code_key, WORLD.root_key, STRANGER])
def test_only_unit_keys_sign_units(key: PrivateKey) -> None:
    signed = WORLD.sign_units([WORLD.unit(0)], key)
    with pytest.raises(WrongRole):
        WORLD.chain().unit(signed.documents[0], 0, signed.paths[0], signed.batch, NOW)


def test_a_code_key_of_another_project() -> None:
    bob = CodeKey(key=STRANGER.public, name="bob", projects=["primes"], expires=NOW + DAY)
    chain = WORLD.chain(code_keys=[*WORLD.root().code_keys, bob])
    assert chain.manifest(WORLD.manifest(STRANGER, project="primes"), NOW).project == "primes"
    with pytest.raises(WrongRole, match="bob is not certified for the project curves"):
        chain.manifest(WORLD.manifest(STRANGER), NOW)
    manifest = chain.manifest(WORLD.manifest(), NOW)
    with pytest.raises(WrongRole):
        chain.authorisation(WORLD.authorisation(STRANGER), manifest, hash_of(WORLD.manifest()), NOW)


def test_a_run_is_of_its_apps_project_even_if_one_key_may_sign_for_both() -> None:
    both = CodeKey(key=WORLD.code_key.public, name="anna", projects=["curves", "primes"], expires=NOW + DAY)
    chain = WORLD.chain(code_keys=[both])
    manifest = chain.manifest(WORLD.manifest(), NOW)
    with pytest.raises(WrongRole, match="primes"):
        chain.authorisation(WORLD.authorisation(project="primes"), manifest, hash_of(WORLD.manifest()), NOW)


def test_a_code_keys_certificate_runs_out() -> None:
    with pytest.raises(Expired, match="anna"):
        WORLD.chain(expires=NOW + 99 * DAY).manifest(WORLD.manifest(), NOW + 61 * DAY)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"server_id": "server-two"}, WrongServer),
        ({"app": "00" * 32}, WrongRole),
        ({"project": "primes"}, WrongRole),
        ({"expires": NOW - DAY}, Expired),
        ({"issued": NOW + DAY}, Expired),
    ],
)
def test_an_authorisation_for_something_else(changes: dict[str, Any], error: type[TrustError]) -> None:
    chain = WORLD.chain()
    manifest = chain.manifest(WORLD.manifest(), NOW)
    with pytest.raises(TrustError) as caught:
        chain.authorisation(WORLD.authorisation(**changes), manifest, hash_of(WORLD.manifest()), NOW)
    assert caught.type is error


def test_an_authorisation_does_not_pass_to_another_app_of_the_project() -> None:
    chain = WORLD.chain()
    other = WORLD.manifest(title="Other")
    with pytest.raises(WrongRole):
        chain.authorisation(WORLD.authorisation(), chain.manifest(other, NOW), hash_of(other), NOW)


@pytest.mark.parametrize(
    ("unit", "batch", "error"),
    [
        ({"server_id": "server-two"}, {}, WrongServer),
        ({}, {"server_id": "server-two"}, WrongServer),
        ({"expires": NOW - DAY}, {}, Expired),
        ({}, {"expires": NOW - DAY}, Expired),
        ({}, {"issued": NOW + DAY}, Expired),
        ({}, {"root": bytes(32)}, WrongPath),
        ({}, {"count": 1}, WrongPath),
        ({}, {"count": 2**62}, WrongPath),
    ],
)
def test_a_unit_that_is_refused(unit: dict[str, Any], batch: dict[str, Any], error: type[TrustError]) -> None:
    signed = WORLD.sign_units([WORLD.unit(n, **unit) for n in range(3)], **batch)
    with pytest.raises(TrustError) as caught:
        WORLD.chain().unit(signed.documents[1], 1, signed.paths[1], signed.batch, NOW)
    assert caught.type is error


@pytest.mark.parametrize("name", ["cpu_s", "wall_s", "memory_bytes", "disk_bytes", "output_bytes"])
def test_a_unit_stays_within_its_run(name: str) -> None:
    allowed = getattr(_authorisation(), name)
    believe(**{name: allowed})
    for asked in (allowed + 1, 0, -1):
        with pytest.raises(WrongRole, match=name):
            believe(**{name: asked})


def _authorisation() -> Authorisation:
    chain = WORLD.chain()
    manifest = chain.manifest(WORLD.manifest(), NOW)
    return chain.authorisation(WORLD.authorisation(), manifest, hash_of(WORLD.manifest()), NOW)


@pytest.mark.parametrize("changes", [{"run": "00" * 32}, {"app": "00" * 32}])
def test_a_unit_of_another_run(changes: dict[str, str]) -> None:
    with pytest.raises(WrongRole, match="does not belong"):
        believe(**changes)


def test_a_unit_and_its_run_are_of_one_server() -> None:
    with pytest.raises(WrongRole, match="does not belong"):
        WORLD.chain().check_unit_against(WORLD.unit(1, server_id="server-two"), _authorisation(), WORLD.unit(1).run)


def test_revoked_apps_and_keys() -> None:
    app = hash_of(WORLD.manifest())
    revoked = WORLD.chain().advance(seal(WORLD.root(version=2, revoked_apps=[app]), WORLD.root_key), NOW)
    manifest = WORLD.chain().manifest(WORLD.manifest(), NOW)
    signed = WORLD.sign_units([WORLD.unit(0)])
    with pytest.raises(Revoked):
        revoked.manifest(WORLD.manifest(), NOW)
    with pytest.raises(Revoked):
        revoked.authorisation(WORLD.authorisation(), manifest, app, NOW)
    with pytest.raises(Revoked):
        revoked.unit(signed.documents[0], 0, signed.paths[0], signed.batch, NOW)
    no_code = WORLD.chain(revoked_keys=[WORLD.code_key.public])
    with pytest.raises(Revoked):
        no_code.manifest(WORLD.manifest(), NOW)
    for unit_keys in ([WORLD.unit_key.public], []):
        no_units = WORLD.chain(revoked_keys=[WORLD.unit_key.public], unit_keys=unit_keys)
        with pytest.raises(Revoked):
            no_units.unit(signed.documents[0], 0, signed.paths[0], signed.batch, NOW)


def test_a_revoked_code_key_does_not_become_a_unit_key() -> None:
    chain = WORLD.chain(code_keys=[], revoked_keys=[WORLD.code_key.public])
    signed = WORLD.sign_units([WORLD.unit(0)], WORLD.code_key)
    with pytest.raises(Revoked):
        chain.unit(signed.documents[0], 0, signed.paths[0], signed.batch, NOW)


def test_a_revoked_key_does_not_lend_its_projects_to_a_second_signer() -> None:
    bob = CodeKey(key=STRANGER.public, name="bob", projects=["primes"], expires=NOW + DAY)
    chain = WORLD.chain(code_keys=[*WORLD.root().code_keys, bob], revoked_keys=[WORLD.code_key.public])
    with pytest.raises(WrongRole, match="bob"):
        chain.manifest(WORLD.manifest(WORLD.code_key, STRANGER), NOW)


def test_authorities_are_those_of_the_root() -> None:
    chain = WORLD.chain(ca_keys=["ab" * 32])
    assert chain.accepts_ca("ab" * 32)
    assert not chain.accepts_ca("cd" * 32)
    assert not chain.accepts_ca("system")
    assert WORLD.chain(ca_keys=["system"]).accepts_ca("system")


def test_five_minutes_are_forgiven_and_no_more() -> None:
    check_dates("it", NOW + CLOCK_SKEW_S, NOW + 1e6, NOW)
    check_dates("it", None, NOW - CLOCK_SKEW_S, NOW)
    with pytest.raises(Expired, match="only valid from 2027-01-15 08:05"):
        check_dates("it", NOW + CLOCK_SKEW_S + 1, NOW + 1e6, NOW)
    with pytest.raises(Expired) as caught:
        check_dates("it", None, NOW - DAY, NOW)
    assert "2027-01-14 08:00" in caught.value.message
    assert "2027-01-15 08:00" in caught.value.message
    assert "clock" in caught.value.hint


def test_a_damaged_signature_is_told_apart_from_a_strangers() -> None:
    manifest = WORLD.manifest()
    forged = type(manifest)(manifest.payload_type, manifest.payload + b" ", manifest.signatures)
    with pytest.raises(BadSignature):
        WORLD.chain().manifest(forged, NOW)
