"""First keys, and the next versions of root.json."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from dsage.errors import BadSignature, Conflict, NotFound, UsageError, WrongRole
from dsage.home import Home
from dsage.trust import ceremony, tls
from dsage.trust.ceremony import DAY_S, FirstKeys, first_keys, load_root, sign_root
from dsage.trust.chain import Chain
from dsage.trust.documents import Manifest
from dsage.trust.envelope import seal
from dsage.trust.invite import Link
from dsage.trust.keys import PrivateKey

NAMES = ["localhost", "127.0.0.1"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def start(home: Home, *projects: str) -> FirstKeys:
    return first_keys(home, NAMES, "a lab", list(projects or ["lab", "factor"]))


def contents(home: Home) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}


def test_a_first_start_makes_a_chain_that_a_volunteer_believes(home: Home) -> None:
    keys = start(home)
    link = Link.parse(str(keys.link("https://127.0.0.1:8470", "code")))
    chain = Chain.first(keys.envelope, server_id=link.server_id, root_key_hash=link.root, now=time.time())
    assert chain.root.version == 1
    assert chain.accepts_ca(link.ca)
    tls.pinned_context((home.tls / "ca.pem").read_bytes(), link.ca)
    assert chain.root.unit_keys == [keys.unit_key.public]
    lab = PrivateKey.load(home.code_key("lab"))
    for project in ("lab", "factor"):
        manifest = Manifest(project=project, title="T", entry="a:B", bundle="00" * 32, bundle_bytes=1)
        assert chain.manifest(seal(manifest, lab), time.time()).project == project
    assert keys.root_key == home.root_key
    assert {path.name for path in keys.made} == {
        "root.key",
        "code-lab.key",
        "unit.key",
        "ca.pem",
        "tls.pem",
        "root.json",
    }


def test_a_second_start_changes_nothing(home: Home) -> None:
    first = start(home)
    before = contents(home)
    second = start(home)
    assert second.made == ()
    assert contents(home) == before
    assert second.envelope == first.envelope


@pytest.mark.parametrize(
    "gone",
    [["server/root.json"], ["server/root.json", "server/tls/ca.pem"], ["server/tls/tls.pem"], ["server/unit.key"]],
)
def test_a_first_start_that_was_cut_short_goes_on(home: Home, gone: list[str]) -> None:
    first = start(home)
    for name in gone:
        (home.folder / name).unlink()
    again = start(home)
    assert again.root.root_key == first.root.root_key
    assert again.unit_key.public in again.root.unit_keys
    assert again.ca in again.root.ca_keys


def test_a_new_project_of_the_gallery_is_certified_by_a_lab(home: Home) -> None:
    start(home, "lab")
    root = start(home, "lab", "render").root
    assert root.version == 2
    assert [entry.projects for entry in root.code_keys] == [["lab", "render"]]
    assert start(home, "lab").root.version == 2


def test_a_lab_renews_by_itself(home: Home) -> None:
    start(home)
    sign_root(home)
    path = home.root_file
    key = PrivateKey.load(home.root_key)
    old = ceremony.read(load_root(path))
    soon = msgspec.structs.replace(old, expires=time.time() + 59 * DAY_S)
    path.write_bytes(msgspec.json.encode(seal(soon, key)))
    root = start(home).root
    assert root.version == old.version + 1
    assert root.expires > time.time() + 364 * DAY_S


def test_without_the_root_key_nothing_is_signed(home: Home) -> None:
    start(home)
    home.root_key.rename(home.folder / "away.key")
    assert start(home).root_key is None
    with pytest.raises(NotFound, match="root key"):
        sign_root(home)
    assert start(home, "lab", "factor", "render").root.version == 1
    home.unit_key.unlink()
    with pytest.raises(UsageError, match="unit_keys"):
        start(home)
    assert sign_root(home, root_key=home.folder / "away.key").payload


def test_a_lost_root_file_is_not_replaced_by_a_new_identity(home: Home) -> None:
    start(home)
    home.root_key.rename(home.folder / "away.key")
    home.root_file.unlink()
    with pytest.raises(UsageError, match="new server"):
        start(home)
    assert not home.root_key.exists()


def test_nothing_is_built_on_a_root_that_the_key_did_not_sign(home: Home) -> None:
    keys = start(home)
    thief = PrivateKey.generate()
    forged = msgspec.structs.replace(keys.root, unit_keys=[thief.public])
    home.root_file.write_bytes(msgspec.json.encode(seal(forged, thief)))
    with pytest.raises(WrongRole):
        sign_root(home)
    own = msgspec.structs.replace(forged, root_key=thief.public)
    home.root_file.write_bytes(msgspec.json.encode(seal(own, thief)))
    with pytest.raises(WrongRole):
        ceremony.open_root(home)
    payload = keys.envelope.payload.replace(b'"version":1', b'"version":9')
    home.root_file.write_bytes(msgspec.json.encode(msgspec.structs.replace(keys.envelope, payload=payload)))
    with pytest.raises(BadSignature):
        sign_root(home)
    with pytest.raises(BadSignature):
        start(home)
    home.root_file.write_bytes(b"{")
    with pytest.raises(UsageError, match="damaged"):
        sign_root(home)


def test_a_key_is_certified_again_for_more(home: Home) -> None:
    root = start(home, "lab").root
    public = PrivateKey.generate().public
    entries = ceremony.certified(root, public, "anna", ["curves"], 10)
    root = msgspec.structs.replace(root, code_keys=entries)
    entries = ceremony.certified(root, public, "anna", ["primes"], 20)
    assert [entry.name for entry in entries] == ["lab", "anna"]
    assert entries[1].projects == ["curves", "primes"]
    assert entries[1].expires == pytest.approx(time.time() + 20 * DAY_S, abs=60)
    with pytest.raises(Conflict, match="named 'anna'"):
        ceremony.certified(root, PrivateKey.generate().public, "anna", ["curves"], 10)


def test_a_revoked_key_stays_revoked(home: Home) -> None:
    keys = start(home)
    lab = PrivateKey.load(home.code_key("lab")).public
    sign_root(home, **ceremony.without_key(keys.root, lab))
    root = start(home).root
    assert root.code_keys == []
    assert root.revoked_keys == [lab]
    with pytest.raises(Conflict, match="revoked"):
        ceremony.certified(root, lab, "lab", ["lab"], 10)
    with pytest.raises(UsageError):
        ceremony.without_key(root, root.root_key)
    sign_root(home, **ceremony.without_key(root, keys.unit_key.public))
    with pytest.raises(UsageError, match="revoked"):
        start(home)
