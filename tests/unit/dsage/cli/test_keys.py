"""`dsage keys`, as a person at a terminal and as a program reading JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from dsage.cli.keys import keys
from dsage.errors import BadSignature, Conflict, DSageError, NotFound, UsageError, WrongRole
from dsage.home import Home
from dsage.trust import ceremony, proving, tls
from dsage.trust.ceremony import DAY_S, first_keys
from dsage.trust.chain import Chain
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey, key_hash, parse_public, public_text
from dsage.trust.sealed import Damaged, WrongPassphrase


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path / "home"))
    return Home()


@pytest.fixture
def lab(home: Home) -> Home:
    first_keys(home, ["localhost"], "a lab", ["lab"])
    return home


def run(*arguments: str | Path, expect: type[DSageError] | None = None) -> Result:
    result = CliRunner().invoke(keys, [str(argument) for argument in arguments])
    if expect is None:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert type(result.exception) is expect, (result.output, result.exception)
    return result


def data(*arguments: str | Path) -> Any:
    document = json.loads(run(*arguments, "--json").stdout)
    assert document.keys() == {"schema", "data"}
    assert document["schema"] == "dsage.keys/1"
    return document["data"]


def believed(home: Home) -> Chain:
    """Return what a volunteer who pinned the root key believes now."""
    envelope = ceremony.load_root(home.root_file)
    pin = key_hash(ceremony.read(envelope).root_key)
    return Chain.first(envelope, server_id=None, root_key_hash=pin, now=time.time())


@pytest.mark.parametrize(
    "words",
    [[], ["new"], ["certify"], ["status"], ["revoke"], ["revoke", "app"], ["revoke", "key"], ["export-root"]],
)
def test_every_command_explains_itself(words: list[str]) -> None:
    text = run(*words, "--help").stdout
    assert "Usage:" in text
    assert len(text.splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["root"], "keys/root.key"),
        (["unit"], "server/unit.key"),
        (["code"], "keys/code-lab.key"),
        (["code", "--name", "anna"], "keys/code-anna.key"),
    ],
)
def test_new_prints_the_public_half_and_keeps_the_other(home: Home, arguments: list[str], file: str) -> None:
    result = run("new", *arguments)
    assert parse_public(result.stdout) == PrivateKey.load(home.folder / file).public
    assert file in result.stderr
    run("new", *arguments, expect=Conflict)


@pytest.mark.parametrize("arguments", [["root", "--name", "x"], ["code", "--name", "../x"], ["code", "--name", "a b"]])
def test_new_refuses_odd_names(home: Home, arguments: list[str]) -> None:
    run("new", *arguments, expect=UsageError)


def test_a_server_has_one_root_key(lab: Home, tmp_path: Path) -> None:
    run("export-root", tmp_path / "away.key")
    run("new", "root", expect=Conflict)
    assert not lab.root_key.exists()


def test_prove_prints_a_line_that_one_server_takes_for_the_key_of_a_name(home: Home) -> None:
    public = parse_public(data("new", "code", "--name", "curie")["public"])
    line = run("prove", "their-server", "--name", "curie").stdout.strip()
    assert proving.proven(line, "their-server", time.time()).key == public
    with pytest.raises(WrongRole):
        proving.proven(line, "another-server", time.time())
    assert parse_public(data("prove", "their-server", "--name", "curie")["public"]) == public
    run("prove", "their-server", expect=NotFound)


def test_certify_accepts_an_authority_by_its_certificate_or_every_public_one(lab: Home, tmp_path: Path) -> None:
    tls.make_authority(tmp_path, "an institute")
    data("certify", tmp_path / "ca.pem", "--ca")
    data("certify", "system", "--ca")
    own, added = (tls.spki_hash((folder / "ca.pem").read_bytes()) for folder in (lab.tls, tmp_path))
    assert believed(lab).root.ca_keys == [own, added, "system"]
    run("certify", tmp_path / "none.pem", "--ca", expect=UsageError)
    run("certify", "system", "--ca", "--unit", expect=UsageError)


@pytest.mark.parametrize("form", ["text", "public file", "key file"])
def test_certify_takes_a_key_in_every_form(lab: Home, tmp_path: Path, form: str) -> None:
    made = data("new", "code", "--name", "anna")
    public_file = tmp_path / "anna.pub"
    public_file.write_text(made["public"] + "\n")
    given = {"text": made["public"], "public file": public_file, "key file": made["file"]}[form]
    told = data("certify", given, "--project", "curves", "--project", "primes", "--days", "10")
    root = believed(lab).root
    assert told["root_version"] == root.version == 2
    entry = root.code_keys[1]
    assert entry.key == parse_public(made["public"])
    assert entry.projects == ["curves", "primes"]
    assert entry.expires == pytest.approx(time.time() + 10 * DAY_S, abs=60)
    assert entry.name == ("anna" if form != "text" else made["fingerprint"])


def test_certify_renews_under_the_name_it_knows(lab: Home) -> None:
    public = data("new", "code", "--name", "anna")["public"]
    run("certify", public, "--project", "curves", "--name", "anna", "--days", "10")
    run("certify", public, "--project", "curves")
    [entry] = [entry for entry in believed(lab).root.code_keys if entry.name == "anna"]
    assert entry.expires > time.time() + 300 * DAY_S


def test_certify_a_new_unit_key(lab: Home) -> None:
    lab.unit_key.rename(lab.folder / "old.key")
    public = data("new", "unit")["public"]
    run("certify", public, "--unit")
    assert believed(lab).root.unit_keys[-1] == parse_public(public)
    run("revoke", "key", lab.folder / "old.key")
    assert believed(lab).root.unit_keys == [parse_public(public)]
    run("certify", lab.folder / "old.key", "--unit", expect=Conflict)


@pytest.mark.parametrize("options", [[], ["--unit", "--project", "curves"]])
def test_certify_needs_one_purpose(lab: Home, options: list[str]) -> None:
    run("certify", public_text(PrivateKey.generate().public), *options, expect=UsageError)


def test_certify_refuses_what_is_no_key_and_keeps_root_json(lab: Home) -> None:
    before = lab.root_file.read_bytes()
    run("certify", "dsage-ed25519:nonsense", "--project", "curves", expect=UsageError)
    run("certify", "nowhere.pub", "--project", "curves", expect=UsageError)
    assert lab.root_file.read_bytes() == before


def test_certify_does_not_sign_what_a_thief_put_into_root_json(lab: Home) -> None:
    envelope = ceremony.load_root(lab.root_file)
    forged = msgspec.structs.replace(envelope, payload=envelope.payload.replace(b'"lab"', b'"bad"'))
    lab.root_file.write_bytes(msgspec.json.encode(forged))
    public = public_text(PrivateKey.generate().public)
    run("certify", public, "--project", "curves", expect=BadSignature)


def test_revoked_is_revoked(lab: Home) -> None:
    app, public = "ab" * 32, PrivateKey.load(lab.code_key("lab")).public
    run("revoke", "app", app)
    run("revoke", "key", public_text(public))
    root = believed(lab).root
    assert root.version == 3
    assert root.revoked_apps == [app]
    assert root.revoked_keys == [public]
    assert root.code_keys == []
    for odd in ("ab" * 31, "AB" * 32, "x" * 64):
        run("revoke", "app", odd, expect=UsageError)
    run("revoke", "key", lab.root_key, expect=UsageError)


@pytest.mark.parametrize("into_folder", [True, False])
def test_export_root_moves_the_key_and_it_works_from_there(lab: Home, tmp_path: Path, into_folder: bool) -> None:
    public = PrivateKey.load(lab.root_key).public
    stick = tmp_path / "stick"
    stick.mkdir()
    target = stick / ("root.key" if into_folder else "mine.key")
    result = run("export-root", stick if into_folder else target)
    assert result.stdout.strip() == str(target)
    assert f"--root-key {target}" in result.stderr
    assert "code-lab.key" in result.stderr
    assert PrivateKey.load(target).public == public
    assert not lab.root_key.exists()
    run("revoke", "app", "ab" * 32, expect=NotFound)
    run("revoke", "app", "ab" * 32, "--root-key", target)
    assert believed(lab).root.version == 2
    run("export-root", stick, expect=NotFound)


def test_root_json_elsewhere(lab: Home, tmp_path: Path) -> None:
    copy = tmp_path / "root.json"
    copy.write_bytes(lab.root_file.read_bytes())
    run("revoke", "app", "ab" * 32, "--root-file", copy)
    assert ceremony.read(ceremony.load_root(copy)).version == 2
    assert believed(lab).root.version == 1


def test_status_of_a_lab(lab: Home) -> None:
    told = data("status")
    assert told["root_version"] == 1
    assert told["root_key_beside_server"] is True
    roles = {line["role"]: line for line in told["keys"]}
    assert roles.keys() == {"root.json", "root", "unit", "code", "CA", "certificate"}
    assert roles["root"]["where"] == str(lab.root_key)
    assert roles["code"]["projects"] == ["lab"]
    assert roles["code"]["days_left"] == pytest.approx(365, abs=0.1)
    assert not any(line["warning"] for line in told["keys"])
    result = run("status")
    assert "export-root" in result.stderr
    assert roles["unit"]["fingerprint"] in result.stdout


def test_status_after_the_root_key_left(lab: Home, tmp_path: Path) -> None:
    run("export-root", tmp_path / "away.key")
    told = data("status")
    assert told["root_key_beside_server"] is False
    assert next(line for line in told["keys"] if line["role"] == "root")["where"] == "elsewhere"
    assert "export-root" not in run("status").stderr


def test_status_of_an_empty_home(home: Home) -> None:
    assert data("status") == {
        "home": str(home.folder),
        "root_version": None,
        "root_key_beside_server": False,
        "keys": [],
    }


def test_status_tells_of_keys_that_do_not_count(lab: Home) -> None:
    run("new", "code", "--name", "anna")
    assert "code-anna.key is not certified" in run("status").stderr
    run("certify", lab.code_key("anna"), "--project", "curves")
    assert "not certified" not in run("status").stderr
    run("revoke", "key", lab.code_key("anna"))
    assert "revoked" in run("status").stdout


@pytest.mark.parametrize(
    ("days", "words"),
    [(-1.0, "has expired"), (6.0, "URGENT"), (20.0, "in 20 days"), (50.0, "in 50 days"), (70.0, "")],
)
def test_status_warns_ahead(lab: Home, days: float, words: str) -> None:
    key = PrivateKey.load(lab.root_key)
    root = ceremony.read(ceremony.load_root(lab.root_file))
    ending = msgspec.structs.replace(root, expires=time.time() + days * DAY_S)
    lab.root_file.write_bytes(msgspec.json.encode(seal(ending, key)))
    warnings = [line for line in run("status").stderr.splitlines() if line.startswith("Warning")]
    assert len(warnings) == (1 if words else 0)
    assert all(words in line and "root.json" in line for line in warnings)


@pytest.mark.parametrize("project", ["", "a b", "../x", "x" * 65])
def test_a_project_has_a_plain_name(lab: Home, project: str) -> None:
    refused = run("certify", lab.code_key("lab"), "--project", project, expect=UsageError)
    assert "cannot be the name of a project" in str(refused.exception)


def test_renew_signs_again_above_a_version(lab: Home) -> None:
    assert data("renew")["root_version"] == 2
    assert data("renew", "--above", "40")["root_version"] == 41
    assert data("renew", "--above", "7")["root_version"] == 42
    assert believed(lab).root.version == 42


def test_replace_root_keeps_everything_but_the_root_key(lab: Home) -> None:
    before = believed(lab).root
    run("replace-root", "--yes", expect=Conflict)
    lab.root_key.unlink()
    run("replace-root", "--yes")
    after = believed(lab).root
    assert (after.server_id, after.code_keys, after.unit_keys) == (before.server_id, before.code_keys, before.unit_keys)
    assert after.root_key == PrivateKey.load(lab.root_key).public != before.root_key
    with pytest.raises(DSageError):
        Chain(before).advance(ceremony.load_root(lab.root_file), time.time())
    run("certify", lab.code_key("lab"), "--project", "lab")


def test_keys_are_kept_in_one_sealed_file(lab: Home, tmp_path: Path) -> None:
    secret, kept = tmp_path / "secret", tmp_path / "kept"
    secret.write_text("a passphrase of five words\n")
    with_it = ("--passphrase-file", secret)
    names = {"keys/code-lab.key", "keys/root.key", "server/unit.key"}
    assert set(data("backup", kept, *with_it)["keys"]) == names
    run("backup", kept, *with_it, expect=Conflict)
    before = {name: (lab.folder / name).read_bytes() for name in names}
    assert not any(pem in kept.read_bytes() for pem in before.values())
    lab.root_key.unlink()
    run("restore", kept, *with_it)
    assert {name: (lab.folder / name).read_bytes() for name in names} == before
    assert lab.root_key.stat().st_mode & 0o777 == 0o600
    lab.root_key.unlink()
    run("new", "code", "--name", "x")
    PrivateKey.generate().save(lab.root_key)
    other = lab.root_key.read_bytes()
    run("restore", kept, *with_it, expect=Conflict)
    assert lab.root_key.read_bytes() == other
    secret.write_text("another passphrase\n")
    run("restore", kept, *with_it, expect=WrongPassphrase)
    kept.write_bytes(kept.read_bytes()[:-9])
    secret.write_text("a passphrase of five words\n")
    run("restore", kept, *with_it, expect=Damaged)
